//! One archiver: the table that it continues, its place in the log, and what it has not committed yet.
//!
//! Guarantee: after an error or a dropped future in any method, the next call goes on where the rows in memory end.
//! Not here: when to poll and when to commit (`run.rs`), the decisions on records (`pending.rs`).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use event_log::{EventLog, EventLogError, LifeLog, LogConsumer, Poll, Record};
use positions::{Backoff, Clock, Erased, IdSource, Offset, PartitionId, SchemaId, TimestampMicros};
use records::RecordsError;
use records::decode::wire::schema_id;
use records::decode::{Decoder, leave_out, naming_of};
use records::master::{ArchivedPartition, MasterDataset, MasterFacts, MasterSnapshot};
use records::registry::{SchemaBook, SchemaRegistry};
use tokio::sync::watch;
use views::SourceDefinition;

use super::append::append;
use super::dead::DeadTopic;
use super::held::Held;
use super::lessons::learn;
use super::tell::{tell_doubts, tell_unreadable, tell_unseen};
use super::watch::ColumnWatch;
use super::{ArchiveSettings, ArchiveState, ArchiveStatus, Jump, Pending, load_erased};
use crate::BatchError;
use crate::metrics::{self, ARCHIVE_COMMITS, ARCHIVE_FAILURES, ARCHIVE_HOLES, ARCHIVE_ROWS};

/// What the archive of one source works with.
pub struct ArchiveComponents {
    /// Where the records come from.
    pub log: Arc<dyn EventLog>,
    /// Where they go.
    pub master: MasterDataset,
    /// The source.
    pub source: Arc<SourceDefinition>,
    /// Where the schemas come from that payloads name; `None` where no registry is configured.
    pub registry: Option<Arc<dyn SchemaRegistry>>,
    /// Tells when a commit is due.
    pub clock: Arc<dyn Clock>,
    /// Names files.
    pub ids: Arc<dyn IdSource>,
    /// Written by the archive alone, read by `/v1/status`.
    pub status: watch::Sender<ArchiveStatus>,
}

/// One archiver at work: the table it continues, its place in the log, and what it has not committed yet.
pub(crate) struct Archiver<'a> {
    components: &'a ArchiveComponents,
    /// The log in the life that the table names.
    log: LifeLog,
    snapshot: MasterSnapshot,
    consumer: Box<dyn LogConsumer>,
    decoder: Decoder,
    /// The schemas that payloads name: those of the facts, and what was learned since.
    book: SchemaBook,
    /// What was erased before the table was opened: of records that are archived again, where it was lost.
    erased: Erased,
    /// The partitions that wait for a schema.
    held: Held,
    /// Whether the consumer stands where `pending` ends. Cleared before every step that moves one of them and set when
    /// both have moved, so that an error or a cancelled future in between means: seek again before reading on.
    is_in_place: bool,
    partitions: BTreeSet<PartitionId>,
    listed_at: TimestampMicros,
    /// What has been read for the next commit.
    pending: Pending,
    /// The commit in flight or to be tried again. Shared with the task that writes it, which only reads it.
    sealed: Option<Arc<Pending>>,
    /// Where rejected records go beside the table, if anywhere.
    dead: Option<DeadTopic>,
    /// What was noticed and told of the declared columns.
    watch: &'a mut ColumnWatch,
}

/// How a commit ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Committed {
    /// The rows are in the table.
    Done,
    /// Another archiver continued the table: what was read is dropped, start again from its newest version.
    Raced,
}

impl<'a> Archiver<'a> {
    /// Opens (or creates) the table and reads on from the positions that it holds. `watch` outlives the archiver, so
    /// that a column is warned of once.
    pub(crate) async fn open(
        components: &'a ArchiveComponents,
        settings: &ArchiveSettings,
        watch: &'a mut ColumnWatch,
    ) -> Result<Archiver<'a>, BatchError> {
        let mut snapshot = tell_doubts(components.master.create().await?, &components.source);
        let topic = &components.source.topic;
        let log = LifeLog::new(Arc::clone(&components.log), snapshot.facts.life.clone());
        let partitions = log.partitions(topic).await?;
        check_partitions(topic, &snapshot.facts, &partitions)?;
        for (partition, known) in snapshot.facts.of_log() {
            log.check_fingerprint(topic, *partition, &known.archived.end).await?;
        }
        let erased = load_erased(&components.master, &components.source.name, &mut snapshot.facts).await?;
        let pending = Pending::new(&snapshot.facts, components.source.border);
        let consumer = log.consumer(topic, None).await?;
        let listed_at = components.clock.now();
        let dead = DeadTopic::new(Arc::clone(&components.log), Arc::clone(&components.source));
        let book = SchemaBook::new(components.registry.clone());
        book.note(&snapshot.facts.schemas);
        let mut archiver = Self {
            components,
            log,
            snapshot,
            consumer,
            decoder: Decoder::new(Arc::clone(&components.source)),
            book,
            erased,
            held: Held::default(),
            is_in_place: false,
            partitions,
            listed_at,
            pending,
            sealed: None,
            dead: settings.dead_topics.then_some(dead),
            watch,
        };
        archiver.publish_status(ArchiveState::Running);
        archiver.release();
        archiver.learn_archived().await?;
        Ok(archiver)
    }

    /// Reads once from the log into memory. On an error, and when cancelled, what was read is read again.
    pub(crate) async fn poll(&mut self, settings: &ArchiveSettings) -> Result<(), BatchError> {
        if self.held.release_due(self.components.clock.now()) {
            self.is_in_place = false;
        }
        if !self.is_in_place {
            let open = self.partitions.iter().copied().filter(|partition| !self.held.holds(*partition)).collect();
            self.consumer.seek(&self.pending.starts(&open)).await?;
        }
        self.is_in_place = false;
        match self.consumer.poll(settings.poll).await {
            Ok(Poll::Records(records)) => {
                let waiting = self.take(records).await?;
                if !waiting.is_empty() {
                    self.hold_back(&waiting, settings.backoff);
                    return Ok(());
                }
            }
            // Without a group nothing is assigned.
            Ok(Poll::Assigned(_)) => {}
            Err(EventLogError::Expired { topic, partition, asked, low }) => {
                if low <= self.pending.position(partition).offset {
                    return Err(EventLogError::AnotherTopic { topic, partition, offset: asked }.into());
                }
                self.declare_hole(partition, low);
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
        self.is_in_place = true;
        Ok(())
    }

    /// Looks for new partitions, which start at 0.
    pub(crate) async fn list_partitions(&mut self) -> Result<(), BatchError> {
        let topic = &self.components.source.topic;
        let found = self.log.partitions(topic).await?;
        self.listed_at = self.components.clock.now();
        check_partitions(topic, &self.snapshot.facts, &found)?;
        if found != self.partitions {
            tracing::info!(source = %self.components.source.name, partitions = found.len(), "topic has new partitions");
            self.partitions = found;
            self.is_in_place = false;
        }
        Ok(())
    }

    /// Whether the partitions were last listed longer ago than `interval`.
    pub(crate) fn is_listing_due(&self, interval: Duration) -> bool {
        self.components.clock.now().micros_since(self.listed_at) >= positions::micros(interval)
    }

    /// Whether what was read must be committed before more is read.
    pub(crate) fn is_commit_due(&self, settings: &ArchiveSettings) -> bool {
        self.pending.is_due(self.components.clock.now(), settings)
    }

    /// Whether a commit is in flight, or has to be tried again.
    pub(crate) fn has_sealed(&self) -> bool {
        self.sealed.is_some()
    }

    /// Closes what was read for a commit, if there is anything and no other commit is left to do.
    pub(crate) fn seal(&mut self) {
        if self.sealed.is_none() && !self.pending.is_empty() {
            let next = Pending::new(self.pending.facts(), self.components.source.border);
            self.sealed = Some(Arc::new(std::mem::replace(&mut self.pending, next)));
        }
    }

    /// Appends the rejected records of what was sealed to their topic, where there is one; before the commit. On a
    /// retryable error call again: what was appended is not appended again.
    pub(crate) async fn append_dead(&mut self) -> Result<(), BatchError> {
        let (Some(dead), Some(sealed)) = (&mut self.dead, &self.sealed) else { return Ok(()) };
        dead.append(sealed.batches(), self.components.clock.now()).await
    }

    /// The work that commits what was sealed, if anything; report its outcome to [`Self::finish_commit`]. May be asked
    /// for again. A conflict is reported only where positions moved: behind a compaction the same rows are appended
    /// once more, whatever it counted anew.
    pub(crate) fn commit(&self) -> Option<impl Future<Output = Result<MasterSnapshot, RecordsError>> + Send + 'static> {
        let sealed = Arc::clone(self.sealed.as_ref()?);
        let (master, snapshot) = (self.components.master.clone(), self.snapshot.clone());
        let ids = Arc::clone(&self.components.ids);
        Some(async move { append(&master, snapshot, &sealed, ids.as_ref()).await })
    }

    /// Takes the outcome of a commit. On an error the rows are kept: commit them again.
    pub(crate) fn finish_commit(
        &mut self,
        outcome: Result<MasterSnapshot, RecordsError>,
    ) -> Result<Committed, BatchError> {
        match outcome {
            Ok(next) => Ok(self.continue_from(next)),
            Err(RecordsError::Conflict { .. }) => Ok(Committed::Raced),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether every partition is read.
    pub(crate) fn state(&self) -> ArchiveState {
        self.held.reason().map_or(ArchiveState::Running, |error| ArchiveState::Retrying { error: error.to_owned() })
    }

    /// Publishes where the archive stands, for `/v1/status`.
    pub(crate) fn publish_status(&self, state: ArchiveState) {
        self.components.status.send_modify(|status| {
            status.state = state;
            status.version = Some(self.snapshot.snapshot.version());
            if status.facts != self.snapshot.facts {
                status.facts = self.snapshot.facts.clone();
            }
            let sealed = self.sealed.as_deref();
            status.pending_rows = self.pending.rows() + sealed.map_or(0, Pending::rows);
            status.pending_bytes = self.pending.bytes() + sealed.map_or(0, Pending::bytes);
        });
    }

    fn continue_from(&mut self, next: MasterSnapshot) -> Committed {
        let source = &self.components.source.name;
        let mut committed = Committed::Done;
        if let Some(sealed) = self.sealed.take() {
            // What was read since stands behind the facts that were sealed.
            if next.facts != *sealed.facts() && !self.pending.count_again(sealed.facts(), &next.facts) {
                committed = Committed::Raced;
            }
            let rows = sealed.rows();
            tracing::debug!(%source, version = next.snapshot.version().0, rows, "archived");
            metrics::count(ARCHIVE_COMMITS, source.as_str(), 1);
            metrics::count(ARCHIVE_ROWS, source.as_str(), rows);
            for (&kind, &count) in sealed.rejected() {
                metrics::count_rejected(source.as_str(), kind, count);
            }
            tell_unreadable(&self.components.source, self.watch, &self.components.status, &sealed);
            tell_unseen(&self.components.source, self.watch, &self.components.status);
        }
        if let Some(dead) = &mut self.dead {
            dead.finish_commit();
        }
        self.snapshot = next;
        self.release();
        self.components.status.send_modify(|status| status.committed_at = Some(self.components.clock.now()));
        committed
    }

    /// Tells the log what the table holds for good: it need not keep that.
    fn release(&self) {
        let committed = self.snapshot.facts.of_log();
        let committed = committed.map(|(partition, facts)| (*partition, facts.archived.end.offset)).collect();
        self.log.release(&self.components.source.topic, &committed);
    }

    /// Takes records; returns those that wait for a schema, the first of each partition, before which all were taken.
    async fn take(&mut self, records: Vec<Record>) -> Result<Vec<RecordsError>, BatchError> {
        let records = self.pending.unread(records);
        let (mut records, waiting) = learn(&self.book, &self.components.source, records).await;
        leave_out(&self.decoder, &self.book.schemas(), &self.erased, &mut records)?;
        if !records.is_empty() {
            self.take_readable(&records).await?;
            self.held.note_read(records.iter().map(|record| record.partition));
        }
        Ok(waiting)
    }

    /// Reads on without these partitions, until the next attempt.
    fn hold_back(&mut self, waiting: &[RecordsError], backoff: Backoff) {
        let source = &self.components.source.name;
        for error in waiting {
            tracing::warn!(%source, %error, "archive of the partition waits, trying again; others go on");
            metrics::count(ARCHIVE_FAILURES, source.as_str(), 1);
        }
        let held = waiting.iter().filter_map(|error| match error {
            RecordsError::SchemaMissing { partition, .. } => Some((*partition, error.to_string())),
            _ => None,
        });
        self.held.hold(held.collect(), self.components.clock.now(), backoff);
    }

    async fn take_readable(&mut self, records: &[Record]) -> Result<(), BatchError> {
        for jump in self.pending.jumps(records) {
            self.explain(jump).await?;
        }
        let source = &self.components.source;
        let (rows, unreadable) = self.decoder.decode_with(&self.book.schemas(), records)?;
        self.watch.note(source, records, &rows);
        self.pending.take(records, rows, self.components.clock.now())?;
        self.pending.note_unreadable(&unreadable);
        self.note_schemas(records.iter().filter_map(|record| schema_id(source, &record.payload)));
        Ok(())
    }

    /// Learns the schemas that rows name which were archived by another definition: a recompute reads them again by the
    /// facts alone. Costs a look where nothing changed.
    async fn learn_archived(&mut self) -> Result<(), BatchError> {
        let source = &self.components.source;
        if !source.format.has_schemas() {
            self.pending.note_schemas_for(None);
            return Ok(());
        }
        let naming = naming_of(source);
        if self.snapshot.facts.schemas_for == Some(naming) {
            return Ok(());
        }
        let ids = self.snapshot.schema_ids().await?;
        self.book.want_ids(ids.iter().copied());
        while self.book.is_wanting() {
            let missing = self.book.learn().await;
            if let Some((id, error)) = missing.first_key_value() {
                let others = missing.keys().skip(1).map(SchemaId::to_string).collect::<Vec<_>>().join(", ");
                let others = if others.is_empty() { others } else { format!("; nor are ids {others} known") };
                return Err(RecordsError::ArchivedSchemaMissing { id: *id, reason: format!("{error}{others}") }.into());
            }
            // Only so many are asked for at a time.
            self.book.want_ids(ids.iter().copied());
        }
        let is_news = ids.iter().any(|id| !self.snapshot.facts.schemas.contains_key(id));
        self.note_schemas(ids);
        self.pending.note_schemas_for(Some(naming));
        if is_news {
            self.pending.commit_facts(self.components.clock.now());
        }
        Ok(())
    }

    /// Has the facts of the next commit hold these schemas.
    fn note_schemas(&mut self, ids: impl IntoIterator<Item = SchemaId>) {
        let known = self.book.schemas();
        for id in ids {
            if let Some(schema) = known.stored(id) {
                self.pending.note_schema(id, schema);
            }
        }
    }

    /// A jump is a hole where the log's start has passed it, and otherwise offsets that no record ever had.
    async fn explain(&mut self, jump: Jump) -> Result<(), BatchError> {
        let bounds = self.log.bounds(&self.components.source.topic, jump.partition).await?;
        if bounds.low > jump.from {
            self.declare_hole(jump.partition, bounds.low.min(jump.to));
        }
        Ok(())
    }

    fn declare_hole(&mut self, partition: PartitionId, to: Offset) {
        let source = &self.components.source.name;
        let from = self.pending.position(partition).offset;
        tracing::error!(
            %source, %partition, %from, %to,
            "records expired before they were archived; a hole is recorded and shown in every answer that touches it"
        );
        metrics::count(ARCHIVE_HOLES, source.as_str(), (to.0 - from.0).unsigned_abs());
        self.pending.declare_hole(partition, to, self.components.clock.now());
    }
}

/// A topic never loses a partition of which something was archived in its present life, unless it is another topic.
fn check_partitions(topic: &str, facts: &MasterFacts, found: &BTreeSet<PartitionId>) -> Result<(), BatchError> {
    let is_begun =
        |partition, known: &ArchivedPartition| known.archived.end.offset > facts.life.start(partition).offset;
    let mut known = facts.of_log();
    match known.find(|(partition, known)| is_begun(**partition, known) && !found.contains(partition)) {
        Some((partition, known)) => Err(BatchError::PartitionGone {
            topic: topic.to_owned(),
            partition: *partition,
            archived: known.archived.end.offset.0,
        }),
        None => Ok(()),
    }
}
