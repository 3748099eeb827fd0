//! A short line in front of a few places: who runs, who waits, who is turned away.
//!
//! Guarantee: nobody waits while a place is free; a freed place goes to the clients in turn, and within a client to who
//! came first. Where the line is full, a client that has fewer waiting than another one is let in for the newest of
//! that other one. Pure: no clock, no task.
//! Not here: how long one waits, and what a client that leaves means (`places.rs`).

use std::collections::{BTreeMap, VecDeque};

/// One who waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// What becomes of one who comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entered {
    /// Has a place.
    Runs,
    /// Stands in line. The one who was `displaced` is turned away for it.
    Waits {
        /// What the newcomer is called by.
        ticket: Ticket,
        /// The newest of the client that had most waiting.
        displaced: Option<Ticket>,
    },
    /// Is turned away: the line is full.
    Full,
}

/// Places and the line in front of them; `C` tells clients apart.
#[derive(Debug)]
pub struct FairQueue<C> {
    places: usize,
    line_length: usize,
    running: usize,
    waiting: usize,
    // No client without a ticket: what is kept is bounded by the line.
    lines: BTreeMap<C, VecDeque<Ticket>>,
    called_last: Option<C>,
    next_ticket: u64,
}

impl<C: Ord + Clone> FairQueue<C> {
    /// So many may run, and so many more may wait.
    pub fn new(places: usize, line_length: usize) -> Self {
        let lines = BTreeMap::new();
        Self { places, line_length, running: 0, waiting: 0, lines, called_last: None, next_ticket: 0 }
    }

    /// Comes, to run at once where a place is free.
    pub fn enter(&mut self, client: &C) -> Entered {
        if self.running < self.places {
            self.running += 1;
            return Entered::Runs;
        }
        // Without any place nobody would ever be called.
        if self.places == 0 || self.line_length == 0 {
            return Entered::Full;
        }
        let mut displaced = None;
        if self.waiting >= self.line_length {
            displaced = self.displace_for(client);
            if displaced.is_none() {
                return Entered::Full;
            }
        }
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.waiting += 1;
        self.lines.entry(client.clone()).or_default().push_back(ticket);
        Entered::Waits { ticket, displaced }
    }

    /// Gives a place back. Who is called has it from now on.
    pub fn finish(&mut self) -> Option<Ticket> {
        let Some(client) = self.next_client() else {
            self.running = self.running.saturating_sub(1);
            return None;
        };
        let ticket = self.take(&client, VecDeque::pop_front);
        self.called_last = Some(client);
        ticket
    }

    /// Leaves the line. `false`: is not in it any more, but called or turned away.
    pub fn leave(&mut self, client: &C, ticket: Ticket) -> bool {
        let taken = self.take(client, |line| {
            let at = line.iter().position(|other| *other == ticket)?;
            line.remove(at)
        });
        taken.is_some()
    }

    /// How many stand in line.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// How many have a place.
    pub fn running(&self) -> usize {
        self.running
    }

    /// The one behind the client that was called last, in a circle.
    fn next_client(&self) -> Option<C> {
        let behind = |last: &C| self.lines.keys().find(|client| *client > last);
        let next = self.called_last.as_ref().and_then(behind).or_else(|| self.lines.keys().next());
        next.cloned()
    }

    /// Makes room by the newest of the client that has most waiting, where `client` will still have no more than it.
    fn displace_for(&mut self, client: &C) -> Option<Ticket> {
        let own = self.lines.get(client).map_or(0, VecDeque::len);
        let (largest, length) = self.lines.iter().map(|(client, line)| (client, line.len())).max_by_key(|of| of.1)?;
        let largest = (length > own + 1).then(|| largest.clone())?;
        self.take(&largest, VecDeque::pop_back)
    }

    fn take(&mut self, client: &C, from: impl FnOnce(&mut VecDeque<Ticket>) -> Option<Ticket>) -> Option<Ticket> {
        let line = self.lines.get_mut(client)?;
        let ticket = from(line)?;
        if line.is_empty() {
            self.lines.remove(client);
        }
        self.waiting -= 1;
        Some(ticket)
    }
}
