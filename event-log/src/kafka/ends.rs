//! Whether a partition was read to its end, and when that was known.
//!
//! In: the positions that a consumer has delivered up to, librdkafka's `PartitionEOF` events, and the broker's answers
//! to a question asked at most once a second. Out: partitions that were at their end, with the age of the evidence.
//! Guarantee: no answer, no end. While the broker is gone, hangs or is unreachable nothing is told, whatever librdkafka
//! said before.
//! Why a question, and not the event alone: the event comes once per end that is reached. It does not come again while
//! a topic is quiet, when the connection may be dead as well, and never while every fetch brings records.
//! Why the broker's end of the log is a goal only: by itself it proves nothing of what was delivered.
//! It must be read up to from a place below it, or the event must say that a fetch found nothing more; the
//! answer then only proves that the connection lives. It travels on the connection of the fetches, in order, so that
//! what was fetched before it has been delivered by the poll after it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::FutureExt;
use positions::{Offset, PartitionId};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::tails::Tail;

/// The time between two questions.
const INTERVAL: Duration = Duration::from_secs(1);

/// Where the log ends, by partition; partitions that the broker refused to tell are absent.
pub(super) type LogEnds = BTreeMap<PartitionId, Offset>;

/// What is known of the ends of the partitions that one consumer reads.
#[derive(Default)]
pub(super) struct Ends {
    // A fetch found nothing more, and nothing was delivered since.
    at_eof: BTreeSet<PartitionId>,
    asked_at: Option<Instant>,
    question: Option<Question>,
    // Answers whose place was not reached yet.
    goals: BTreeMap<PartitionId, Goal>,
}

struct Question {
    asked_at: Instant,
    // Where the consumer stood; `None` after a seek, which makes the answer void.
    from: Option<BTreeMap<PartitionId, Offset>>,
    answer: JoinHandle<Option<LogEnds>>,
}

struct Goal {
    asked_at: Instant,
    /// `None` where the told end is of no use: behind it lies what was read already, or it is the one told for nothing.
    end: Option<Offset>,
}

/// A partition that was at the end of an answer.
pub(super) struct Reached {
    /// How long ago the question was asked.
    pub(super) age: Duration,
    /// How far a reader comes before that end, where the answer told one.
    pub(super) tail: Option<Tail>,
}

impl Ends {
    /// The consumer reads elsewhere: nothing that was known says anything about it.
    pub(super) fn forget(&mut self) {
        self.at_eof.clear();
        self.goals.clear();
        if let Some(question) = &mut self.question {
            question.from = None;
        }
    }

    /// librdkafka said that a fetch found nothing more.
    pub(super) fn note_eof(&mut self, partition: PartitionId) {
        self.at_eof.insert(partition);
    }

    /// A record was delivered.
    pub(super) fn note_record(&mut self, partition: PartitionId) {
        self.at_eof.remove(&partition);
    }

    /// The partitions that have reached the end of an answer; each answer once. `is_drained`: the last poll left
    /// nothing behind that was fetched before it.
    pub(super) fn take_reached(
        &mut self,
        positions: &BTreeMap<PartitionId, Offset>,
        is_drained: bool,
    ) -> BTreeMap<PartitionId, Reached> {
        let mut reached = BTreeMap::new();
        let at_eof = &self.at_eof;
        self.goals.retain(|partition, goal| {
            let next = positions.get(partition).copied();
            let is_passed = goal.end.is_some_and(|end| next.is_some_and(|next| next >= end));
            let is_reached = is_passed || (is_drained && at_eof.contains(partition));
            if is_reached {
                let tail = goal.end.zip(next).map(|(end, next)| Tail { end, readable: next.min(end) });
                reached.insert(*partition, Reached { age: goal.asked_at.elapsed(), tail });
            }
            !is_reached
        });
        self.take_answer();
        reached
    }

    /// Notes an answer that has come. What it says is looked at after the next poll, which delivers what came before
    /// it.
    fn take_answer(&mut self) {
        let Some(answer) = self.question.as_mut().and_then(|question| (&mut question.answer).now_or_never()) else {
            return;
        };
        let Some(question) = self.question.take() else { return };
        let (Some(from), Ok(Some(ends))) = (question.from, answer) else { return };
        for (partition, end) in ends {
            let Some(start) = from.get(&partition) else { continue };
            // 0 is also what brokers tell that do not find the last record of a partition.
            let end = (end > Offset(0) && *start <= end).then_some(end);
            // An older goal that was not reached yet stands: a reader that lags is right as of then.
            if self.goals.get(&partition).is_none_or(|known| known.end.is_none()) {
                self.goals.insert(partition, Goal { asked_at: question.asked_at, end });
            }
        }
    }

    /// Whether the broker should be asked again.
    pub(super) fn is_due(&self) -> bool {
        self.question.is_none() && self.asked_at.is_none_or(|asked_at| asked_at.elapsed() >= INTERVAL)
    }

    /// Notes a question that is asked now, while the consumer stands at `from`.
    pub(super) fn note_question(
        &mut self,
        from: BTreeMap<PartitionId, Offset>,
        ask: impl FnOnce() -> JoinHandle<Option<LogEnds>>,
    ) {
        // Before it is sent: what the answer tells is not older.
        let asked_at = Instant::now();
        self.asked_at = Some(asked_at);
        self.question = Some(Question { asked_at, from: Some(from), answer: ask() });
    }
}
