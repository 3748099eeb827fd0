//! One import at work: the table that it continues, what is in, and what is to be committed next.
//!
//! Guarantee: a commit is of whole files, on exactly one predecessor. Behind whoever committed first it is tried again
//! as it is, unless that was an import which moved the end of the same partition or brought one of the files.

use lake::DataFile;
use positions::{Archived, Counters, Incarnation, Offset, PartitionId, PositionToken};
use records::RecordsError;
use records::decode::ImportDecoder;
use records::imported_list::{ImportedFile, ImportedFiles};
use records::master::{MasterFacts, MasterSnapshot};

use super::components::{FileId, ImportComponents};
use super::part::Work;
use super::reading::{FileOutcome, Reading};
use crate::BatchError;

/// How often a commit is tried, behind others that commit to the master dataset.
const ATTEMPTS: usize = 64;

/// Records, and files, after which what was read is to be committed: what is redone after a crash.
const COMMIT_RECORDS: u64 = 2_000_000;
const COMMIT_FILES: usize = 100;

/// What is known of a file before it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// It is not in, and none of its name.
    New,
    /// It is in, under this name or another.
    In,
    /// Another file of its name is in.
    Changed,
}

/// How a commit ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    /// The files are in.
    Done,
    /// Another import came first: nothing of the files is in. Call [`Import::begin_apart`], and read them again.
    Raced,
}

/// See the module.
pub struct Import {
    components: ImportComponents,
    /// Has all columns of the source.
    on: MasterSnapshot,
    known: ImportedFiles,
    decoder: ImportDecoder,
    partition: PartitionId,
    /// Where the partition ends in `on`.
    start: Archived,
    /// Behind what was read since.
    end: Archived,
    /// What was read since.
    counters: Counters,
    read: Vec<ImportedFile>,
    files: Vec<DataFile>,
}

impl Import {
    /// Opens the table, or creates it, and reads which files are in.
    ///
    /// # Errors
    /// [`BatchError::NotImported`]: the source takes its time from records, or an older version lost the list of what
    /// is in. Others are those of the store.
    pub async fn open(components: ImportComponents) -> Result<Self, BatchError> {
        if components.source.is_timed_by_record() {
            let reason = "the source takes the time of its events from the records of its topic, and a file has none; \
                          `twofold load` sends it through the collector"
                .to_owned();
            return Err(BatchError::NotImported { file: components.source.name.to_string(), reason });
        }
        let on = open_table(&components).await?;
        let list = components.master.imported();
        let known = list.load(on.facts.imports.as_ref()).await.map_err(RecordsError::from)?;
        let decoder = ImportDecoder::new(components.source.clone());
        let last = last_partition(&on);
        if last.is_some() && on.facts.imports.is_none() {
            return Err(list_lost(&components));
        }
        let partition = free_partition(&components, &on, last.unwrap_or(PartitionId::FIRST_IMPORTED)).await?;
        let start = end_of(&on, partition);
        let (counters, read, files) = (Counters::default(), Vec::new(), Vec::new());
        Ok(Self { components, on, known, decoder, partition, start, end: start, counters, read, files })
    }

    /// What is known of a file, those that were read and not committed among it.
    pub fn known(&self, file: &FileId) -> Known {
        let is_read = self.read.iter().any(|read| read.identity == file.identity);
        let read = self.read.iter().rev().find(|read| read.name == file.name).map(|read| read.identity.as_str());
        if is_read || self.known.contains(&file.identity) {
            Known::In
        } else if read.or(self.known.identity_of(&file.name)).is_some() {
            Known::Changed
        } else {
            Known::New
        }
    }

    /// The names on the list that begin with `start`, each with the identity of the last file of that name.
    pub fn named_below<'a>(&'a self, start: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.known.named_below(start)
    }

    /// How many files are in.
    pub fn files_in(&self) -> u64 {
        self.known.so_far().map_or(0, |so_far| so_far.files)
    }

    /// The partition that the files go into.
    pub fn partition(&self) -> PartitionId {
        self.partition
    }

    /// The token of everything that is committed, for who waits until a view has it.
    pub fn token(&self) -> PositionToken {
        let mut token = PositionToken::default();
        token.cover(&self.components.source.name, self.partition, self.start.end.offset);
        token
    }

    /// Whether it is time to commit.
    pub fn is_commit_due(&self) -> bool {
        let records = (self.end.end.offset.0 - self.start.end.offset.0).unsigned_abs();
        records >= COMMIT_RECORDS || self.read.len() >= COMMIT_FILES
    }

    /// Commits what was read, if anything. On an error it is not known whether it is in: open anew and look.
    ///
    /// # Errors
    /// Those of the store, and [`BatchError::NotImported`] where others keep committing.
    pub async fn commit(&mut self) -> Result<Committed, BatchError> {
        if self.read.is_empty() {
            return Ok(Committed::Done);
        }
        for _ in 0..ATTEMPTS {
            let (list, ids) = (self.components.master.imported(), &self.components.ids);
            let known = list.write(&self.known, &self.read, ids.next_id()).await.map_err(RecordsError::from)?;
            let facts = self.facts(&known);
            let appended =
                self.components.master.append_imported(&self.on, self.files.clone(), facts, ids.next_id()).await;
            match appended {
                Ok(next) => {
                    (self.on, self.known, self.start) = (next, known, self.end);
                    self.forget();
                    return Ok(Committed::Done);
                }
                Err(RecordsError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            if !self.go_on().await? {
                return Ok(Committed::Raced);
            }
        }
        let reason = "others keep committing to the master dataset; run the command again".to_owned();
        Err(BatchError::NotImported { file: self.read[0].name.clone(), reason })
    }

    /// Forgets what was read, and goes on in a partition that no other import has.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn begin_apart(&mut self) -> Result<(), BatchError> {
        self.forget();
        self.on = open_table(&self.components).await?;
        let list = self.components.master.imported();
        self.known = list.load(self.on.facts.imports.as_ref()).await.map_err(RecordsError::from)?;
        let next = |last: PartitionId| PartitionId(last.0 + 1);
        let first = last_partition(&self.on).map_or(PartitionId::FIRST_IMPORTED, next);
        self.partition = free_partition(&self.components, &self.on, first).await?;
        (self.start, self.end) = (end_of(&self.on, self.partition), end_of(&self.on, self.partition));
        Ok(())
    }

    pub(super) fn components(&self) -> &ImportComponents {
        &self.components
    }

    /// What the parts of the next file need, and where its records go.
    pub(super) fn begin(&self) -> (Work, Reading) {
        let work = Work {
            master: self.components.master.clone(),
            on: self.on.clone(),
            decoder: self.decoder.clone(),
            partition: self.partition,
            now: self.components.clock.now(),
        };
        (work, Reading::new(&self.components, self.end))
    }

    /// Takes a file that was read to its end.
    pub(super) fn take(&mut self, file: FileId, reading: Reading) -> FileOutcome {
        let (from, outcome) = (self.end.end.offset, reading.outcome);
        self.end = reading.archived;
        self.counters += reading.counters;
        self.files.extend(reading.files);
        let to = self.end.end.offset;
        let (rows, rejected, partition) = (outcome.rows, outcome.rejected, self.partition);
        self.read.push(ImportedFile { name: file.name, identity: file.identity, partition, from, to, rows, rejected });
        outcome
    }

    /// The facts behind `on` with what was read.
    fn facts(&self, known: &ImportedFiles) -> MasterFacts {
        let mut facts = self.on.facts.clone();
        facts.rows += self.counters.rows;
        facts.imports = known.so_far().cloned();
        if self.end != self.start {
            let partition = facts.partition_mut(self.partition);
            partition.archived = self.end;
            partition.counters += self.counters;
        }
        facts
    }

    /// Looks at who committed first: whether what was read can go behind it as it is.
    async fn go_on(&mut self) -> Result<bool, BatchError> {
        let newest = self.components.master.refresh(&self.on).await?;
        if newest.facts.imports != self.on.facts.imports {
            let list = self.components.master.imported();
            let known = list.load(newest.facts.imports.as_ref()).await.map_err(RecordsError::from)?;
            // One that is imported again was in before.
            let is_brought =
                |read: &ImportedFile| known.contains(&read.identity) && !self.known.contains(&read.identity);
            if end_of(&newest, self.partition) != self.start || self.read.iter().any(is_brought) {
                return Ok(false);
            }
            self.known = known;
        }
        self.on = newest;
        Ok(true)
    }

    fn forget(&mut self) {
        (self.end, self.counters) = (self.start, Counters::default());
        self.read.clear();
        self.files.clear();
    }
}

/// The newest version, with all columns of the source.
async fn open_table(components: &ImportComponents) -> Result<MasterSnapshot, BatchError> {
    let mut on = components.master.create().await?;
    for _ in 0..ATTEMPTS {
        match components.master.with_all_columns(&on, components.ids.next_id()).await {
            Err(RecordsError::Conflict { .. }) => on = components.master.refresh(&on).await?,
            opened => return Ok(opened?),
        }
    }
    Err(RecordsError::Conflict { table: on.snapshot.table().folder().to_owned() }.into())
}

fn last_partition(on: &MasterSnapshot) -> Option<PartitionId> {
    on.facts.partitions.keys().next_back().copied().filter(|last| last.is_imported())
}

/// The first partition from `first` on of which nothing was erased behind its end. The list of what was erased outlives
/// a table that was lost or brought back from a copy: there it would name other records than those that it was made of.
async fn free_partition(
    components: &ImportComponents,
    on: &MasterSnapshot,
    first: PartitionId,
) -> Result<PartitionId, BatchError> {
    let erased = components.master.erased().load().await.map_err(RecordsError::from)?;
    let is_named = |partition: PartitionId| {
        erased.is_within((partition, partition), (end_of(on, partition).end.offset, Offset(i64::MAX)))
    };
    let mut partition = first;
    while is_named(partition) {
        partition = PartitionId(partition.0 + 1);
    }
    Ok(partition)
}

/// Without the list every file would be imported once more.
fn list_lost(components: &ImportComponents) -> BatchError {
    let reason =
        "its master dataset holds imported files, and the list of them is gone: an older version of Twofold, which \
                  knows of none, has committed to it since; end that one, and bring the lake back from a copy of before"
            .to_owned();
    BatchError::NotImported { file: components.source.name.to_string(), reason }
}

/// Where a partition ends; its start, where nothing is in it.
fn end_of(on: &MasterSnapshot, partition: PartitionId) -> Archived {
    let known = on.facts.partitions.get(&partition);
    known.map_or_else(|| Archived::start(Incarnation::default()), |known| known.archived)
}
