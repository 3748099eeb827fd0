//! Learning the schemas that records name, as far as their partitions wait for them.

use std::collections::BTreeMap;

use event_log::Record;
use records::RecordsError;
use records::decode::wire::{Waiting, first_waiting, split_readable};
use records::registry::SchemaBook;
use views::SourceDefinition;

/// So often schemas are asked for before what was polled is taken as far as it can be read.
const MAX_LESSONS: usize = 16;

/// Learns the schemas that records name: those that can be read now, and why others have to wait.
///
/// Asked for are those that partitions wait for, and what waits behind them afterwards: ids that mean nothing in one
/// partition keep no other waiting.
pub(super) async fn learn(
    book: &SchemaBook,
    source: &SourceDefinition,
    records: Vec<Record>,
) -> (Vec<Record>, Vec<RecordsError>) {
    let mut failures = BTreeMap::new();
    for _ in 0..MAX_LESSONS {
        let waiting = first_waiting(source, &book.schemas(), &records);
        if waiting.iter().all(|waiting| failures.contains_key(&waiting.id)) {
            break;
        }
        book.want_ids(waiting.iter().map(|waiting| waiting.id));
        failures.extend(book.learn().await);
    }
    let (readable, waiting) = split_readable(source, &book.schemas(), records);
    let explain = |waiting: &Waiting| match failures.get(&waiting.id) {
        Some(error) => waiting.because(error),
        None => waiting.because("others were asked for first"),
    };
    (readable, waiting.iter().map(explain).collect())
}
