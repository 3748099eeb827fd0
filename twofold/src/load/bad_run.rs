//! How many events in a row were rejected: a file of a wrong kind ends with one error, not with one for each line.

use super::event::Place;

/// The events that were rejected since the last good one of a file.
#[derive(Clone, Debug)]
pub struct BadRun {
    limit: Option<u64>,
    length: u64,
    // Where the run begins and ends, and what is wrong with its first event.
    first: Option<(Place, String)>,
    last: Option<Place>,
    has_good: bool,
}

impl BadRun {
    /// A run that is too long with `limit` events; 0: it may be of any length.
    pub fn new(limit: u64) -> Self {
        Self { limit: (limit > 0).then_some(limit), length: 0, first: None, last: None, has_good: false }
    }

    /// Notes what became of the next event: why it was rejected, or that it is good. Nothing changes any more what is
    /// too long already.
    pub fn note(&mut self, place: Place, rejection: Option<&str>) {
        if self.is_too_long() {
            return;
        }
        match rejection {
            None => *self = Self { has_good: true, ..Self::new(self.limit.unwrap_or_default()) },
            Some(reason) => {
                self.length += 1;
                self.first.get_or_insert_with(|| (place, reason.to_owned()));
                self.last = Some(place);
            }
        }
    }

    /// How many events may be sent at once: no more than the run may have, before the first good one is seen.
    pub fn room(&self) -> usize {
        let room = self.limit.filter(|_| !self.has_good).map(|limit| limit.saturating_sub(self.length));
        room.and_then(|room| usize::try_from(room).ok()).unwrap_or(usize::MAX)
    }

    /// In words, where the run is too long.
    pub fn describe(&self) -> Option<String> {
        let ((first, reason), last) = (self.first.as_ref()?, self.last?);
        let told =
            || format!("{} events in a row were rejected, from {first} to {last}; {first}: {reason}", self.length);
        self.is_too_long().then(told)
    }

    fn is_too_long(&self) -> bool {
        self.limit.is_some_and(|limit| self.length >= limit)
    }
}
