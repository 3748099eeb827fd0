//! What the archive says of the declared columns of its source: in the log once for each, in metrics and status always.

use records::master::MasterSnapshot;
use tokio::sync::watch;
use views::SourceDefinition;

use super::watch::ColumnWatch;
use super::{ArchiveStatus, Pending};
use crate::metrics::{self, ARCHIVE_UNSEEN};

/// Warns of what an archive that opens its table finds there.
pub(super) fn tell_doubts(opened: MasterSnapshot, source: &SourceDefinition) -> MasterSnapshot {
    opened.doubts().iter().for_each(|doubt| tracing::warn!(source = %source.name, "{doubt}"));
    opened
}

/// Counts the values that were lost to NULL, and warns of each column once.
pub(super) fn tell_unreadable(
    source: &SourceDefinition,
    watch: &mut ColumnWatch,
    status: &watch::Sender<ArchiveStatus>,
    committed: &Pending,
) {
    for (&at, &count) in committed.unreadable() {
        let column = source.declared.field(at).name();
        metrics::count_unreadable(source.name.as_str(), column, count);
        status.send_modify(|status| *status.unreadable.entry(column.clone()).or_default() += count);
        if watch.is_newly_lossy(at) {
            tracing::warn!(
                source = %source.name, %column, count,
                "values that the column cannot take are NULL: declare it as they are sent, or let the source's option \
                 strict reject such records; from here on they are only counted, in {}",
                metrics::ARCHIVE_UNREADABLE
            );
        }
    }
}

/// Tells of the columns that no row has given a value while a near key came, and warns of each once.
pub(super) fn tell_unseen(source: &SourceDefinition, watch: &mut ColumnWatch, status: &watch::Sender<ArchiveStatus>) {
    let mut unseen = Vec::new();
    for (found, is_new) in watch.take_unseen(source) {
        if is_new {
            tracing::warn!(
                source = %source.name, column = found.column, keys = ?found.keys, way_out = found.way_out(),
                "no row had a value for the column so far, but payloads have keys that may be meant for it"
            );
        }
        unseen.push(found);
    }
    metrics::set_source(ARCHIVE_UNSEEN, source.name.as_str(), unseen.len() as f64);
    status.send_modify(|status| status.unseen = unseen);
}
