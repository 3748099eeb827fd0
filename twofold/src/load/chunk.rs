//! Events in pieces that fit into a request, and those of a piece that are not answered for yet.

use std::iter::zip;

use anyhow::Result;
use bytes::Bytes;
use positions::PositionToken;

use super::event::{Event, Events, Place, ReadError};
use super::lines::too_long;
use super::report::LoadReport;
use crate::client::Receipt;

/// The events of a file in pieces, none larger than the limits.
///
/// Guarantee: every event is in one piece, in order; memory is bounded by one piece and one event more.
pub struct Chunks {
    events: Events,
    max_bytes: usize,
    // What was read and did not fit into the piece before.
    waiting: Option<Result<Event, ReadError>>,
}

impl Chunks {
    /// Pieces of at most `max_bytes`, each event counted with a line end. Nothing is read yet.
    pub fn new(events: Events, max_bytes: usize) -> Self {
        Self { events, max_bytes, waiting: None }
    }

    /// The next piece, of at most `max_events`, at least 1; none at the end of the file. An error comes when all events
    /// before it were given.
    pub fn next_chunk(&mut self, max_events: usize) -> Option<Result<Vec<Event>, ReadError>> {
        let (mut chunk, mut bytes) = (Vec::new(), 0);
        while chunk.len() < max_events.max(1) {
            match self.waiting.take().or_else(|| self.next_event()) {
                Some(Ok(event)) if chunk.is_empty() || bytes + event.json.len() < self.max_bytes => {
                    bytes += event.json.len() + 1;
                    chunk.push(event);
                }
                Some(Err(error)) if chunk.is_empty() => return Some(Err(error)),
                None => break,
                other => {
                    self.waiting = other;
                    break;
                }
            }
        }
        (!chunk.is_empty()).then_some(Ok(chunk))
    }

    fn next_event(&mut self) -> Option<Result<Event, ReadError>> {
        let event = match self.events.next()? {
            Ok(event) => event,
            error => return Some(error),
        };
        if event.json.len() >= self.max_bytes {
            return Some(Err(ReadError::LeftOut { place: event.place, reason: too_long(self.max_bytes) }));
        }
        Some(Ok(event))
    }
}

/// Events of which the collector has not said what became of them, and those of the same piece of which it has.
#[derive(Clone, Debug)]
pub struct Pending {
    events: Vec<Event>,
    // Of the events, which are left.
    waiting: Vec<usize>,
    // Why each of the events was rejected, where it was.
    rejections: Vec<Option<String>>,
}

impl Pending {
    /// All events of a piece.
    pub fn new(events: Vec<Event>) -> Self {
        Self { waiting: (0..events.len()).collect(), rejections: vec![None; events.len()], events }
    }

    /// Whether nothing is left to send.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// How many events are left.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Where the first and the last event stand that are left, and how many there are.
    pub fn range(&self) -> Option<(Place, Place, usize)> {
        let place = |at: &usize| self.events[*at].place;
        Some((place(self.waiting.first()?), place(self.waiting.last()?), self.len()))
    }

    /// The body that sends them all, one a line.
    pub fn body(&self) -> Bytes {
        let mut body = Vec::new();
        for at in &self.waiting {
            body.extend_from_slice(&self.events[*at].json);
            body.push(b'\n');
        }
        body.into()
    }

    /// Takes what the collector says about the lines of [`Self::body`]; those it is not sure about stay.
    ///
    /// # Errors
    /// If its token is not a token.
    pub fn note_receipt(&mut self, receipt: &Receipt, report: &mut LoadReport) -> Result<()> {
        report.accept(receipt.accepted, &PositionToken::decode(&receipt.token)?);
        report.note_unreadable(&receipt.unreadable);
        let mut left = Vec::new();
        for error in &receipt.errors {
            let Some(at) = self.waiting.get(error.index).copied() else { continue };
            if error.stored.is_none() {
                // Several elements of one line are told by its number.
                if left.last() != Some(&at) {
                    left.push(at);
                }
            } else {
                report.reject(self.events[at].place, error.error.clone());
                self.rejections[at] = Some(error.error.clone());
            }
        }
        self.waiting = left;
        Ok(())
    }

    /// Every event in order, with the reason where it was rejected.
    pub fn outcomes(&self) -> impl Iterator<Item = (Place, Option<&str>)> {
        zip(&self.events, &self.rejections).map(|(event, reason)| (event.place, reason.as_deref()))
    }
}
