//! Schemas that records name: what waits for one that is not known, and learning it.
//!
//! ```text
//!  polled records --> those before the first of each partition that waits --> chunks
//!                              |
//!                     the partition waits --> lesson, beside the turns --> the partition is read on from there
//! ```
//!
//! Guarantee: nothing is decoded, dropped or passed over before its schema is known; other partitions go on meanwhile.
//! As-of of a partition that waits stands still. Everything here can be lost without harm.
//! Not here: asking a registry (`records::registry`), why a record waits for ever rather than be rejected
//! (`records::decode::wire`).

use std::collections::BTreeMap;
use std::sync::Arc;

use event_log::Record;
use positions::SchemaId;
use records::decode::wire::{Waiting, split_readable};
use records::registry::RegistryError;
use tracing::{info, warn};

use crate::context::Context;
use crate::metrics;
use crate::ownership::Ownership;
use crate::partition::{Partition, Running};

/// The schemas that could not be learned, and why.
pub(crate) type EndedLesson = BTreeMap<SchemaId, RegistryError>;

/// The records that can be decoded now, and of each other partition the first that waits for its schema.
pub(crate) fn readable(context: &Context, records: Vec<Record>) -> (Vec<Record>, Vec<Waiting>) {
    let source = &context.components.source;
    context.book.want(source, &records);
    split_readable(source, &context.book.schemas(), records)
}

/// Has partitions wait for their schemas: behind the records before those that wait, which were sorted into chunks.
pub(crate) fn hold_back(ownership: &mut Ownership, waiting: Vec<Waiting>) {
    for waiting in waiting {
        let partition = ownership.partitions.get_mut(&waiting.partition);
        if let Some(running) = partition.and_then(Partition::running_mut).filter(|running| is_next(running, waiting)) {
            running.waiting = Some(waiting);
            // The log delivered more than is read: that it came to its end says nothing.
            running.read_to_end_at = None;
        }
    }
}

/// Whether a record is one that the partition takes now; the log may repeat what was read before.
fn is_next(running: &Running, waiting: Waiting) -> bool {
    running.is_sought && running.is_readable() && waiting.offset >= running.read_from
}

/// A look for the schemas that are missing, if one is due. It may take long: the caller does it beside the work, and
/// tells [`note_lesson`] what it returns.
pub(crate) fn next_lesson(
    context: &Arc<Context>,
    ownership: &Ownership,
) -> Option<impl Future<Output = EndedLesson> + Send + 'static> {
    let waiting = ownership.partitions.values().filter_map(Partition::running).filter_map(|running| running.waiting);
    context.book.want_ids(waiting.map(|waiting| waiting.id));
    if !context.book.is_wanting() || !ownership.schemas.is_due(context.now()) {
        return None;
    }
    let context = Arc::clone(context);
    Some(async move {
        // The archive may have learned it, also from a registry that is gone by now. A store that does not answer is
        // told of by those who need it; here the registry is asked instead.
        if let Ok(Some(master)) = context.master().await {
            context.book.note(&master.facts.schemas);
        }
        context.book.learn().await
    })
}

/// Takes in what was learned: partitions whose schemas are known now are read on.
pub(crate) fn note_lesson(context: &Context, ownership: &mut Ownership, missing: &EndedLesson) {
    let (source, known) = (&context.components.source.name, context.book.schemas());
    let running = ownership.partitions.values_mut().filter_map(Partition::running_mut);
    for running in running.filter(|running| running.waiting.is_some_and(|waiting| known.knows(waiting.id))) {
        running.waiting = None;
    }
    if missing.is_empty() {
        info!(%source, "schemas learned");
        ownership.schemas.note_success();
        return;
    }
    let waiting = ownership.partitions.values().filter_map(Partition::running).filter_map(|running| running.waiting);
    for waiting in waiting {
        let error = match missing.get(&waiting.id) {
            Some(error) => waiting.because(error),
            None => waiting.because("others were asked for first"),
        };
        warn!(%source, %error, "realtime of the partition stands still; trying again");
    }
    metrics::count(metrics::FAILURES, source, 1);
    ownership.schemas.note_failure(context.now(), context.settings.backoff);
}
