//! The batch-view store: one table per view version (name and definition hash), one commit per publication.
//!
//! In: versions by number, or the newest. Out: their facts and states. What older versions need is deleted here, too.
//! Guarantee: a reader sees a version as it was published, whole.
//! The table `views/<name>-<hash>` has the columns `_bucket`, dimensions, one state column per measure.
//! After a crash or a lost race: files without a commit, which nobody sees and `expire` deletes.
//! Not here: publishing (`publication.rs`), which rows go into which file (`bucket_files.rs`), computing states
//! (`batch-layer`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::BooleanArray;
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::catalog::TableProvider;
use futures::TryStreamExt;
use lake::{Change, DataFile, LakeError, Snapshot, Table, Version};
use positions::{Counters, Cut, DefinitionHash, Hole, PartitionId, RecomputeId, TimestampMicros};
use serde::{Deserialize, Serialize};
use views::{ViewDefinition, column, utc_micros};

use crate::bucket_cursor::buckets_of;
use crate::bucket_files;
use crate::{BatchViewSettings, BucketRanges, Folded, ServingError};

/// The facts of a publication.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchFacts {
    /// The definition that the states were computed with.
    pub definition: DefinitionHash,
    /// Everything below is in this version.
    pub cut: Cut,
    /// The version of the master dataset that was read. Its stored name is after the folder of that table, `raw/`.
    #[serde(rename = "raw_version")]
    pub master_version: Version,
    /// The recompute that made it.
    pub recompute: RecomputeId,
    /// When it was published, by the publisher's clock.
    pub published_at: TimestampMicros,
    /// Whether everything was recomputed, or the touched buckets only.
    pub is_full: bool,
    /// Counters below the cut, by partition.
    pub counters: BTreeMap<PartitionId, Counters>,
    /// What below the cut was lost before it was archived. Earlier versions stored each as a list of its three fields,
    /// which is read as well.
    pub holes: Vec<Hole>,
    /// How many entries of the list of what was erased the states are without (`records::ErasedList`).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub erased: u64,
    /// The task that published it; `None`: a round that is no run of the workflow, or an earlier version of Twofold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publisher: Option<Publisher>,
    /// Where its buckets are coarser than those of the view.
    #[serde(default, skip_serializing_if = "Folded::is_nothing")]
    pub folded: Folded,
}

/// A task of a run, and which attempt at it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publisher {
    /// The run, as its journal names it.
    pub run: String,
    /// The task, unique in the run.
    pub task: String,
    /// The attempt, from 1.
    pub attempt: u32,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// One published version. Cheap to clone.
#[derive(Clone, Debug)]
pub struct BatchVersion {
    /// The table's snapshot.
    pub snapshot: Snapshot,
    /// Its facts.
    pub facts: Arc<BatchFacts>,
}

impl BatchVersion {
    /// Its number in the view's table.
    pub fn number(&self) -> Version {
        self.snapshot.version()
    }
}

/// The batch views of one view definition.
#[derive(Clone, Debug)]
pub struct BatchViewStore {
    table: Table,
    pub(crate) view: Arc<ViewDefinition>,
    pub(crate) settings: BatchViewSettings,
}

impl BatchViewStore {
    /// The table of a view definition, with default settings. Does no IO.
    pub fn new(lake: &lake::Lake, view: impl Into<Arc<ViewDefinition>>) -> Self {
        Self::with_settings(lake, view, BatchViewSettings::default())
    }

    /// The table of a view definition. Does no IO.
    pub fn with_settings(lake: &lake::Lake, view: impl Into<Arc<ViewDefinition>>, settings: BatchViewSettings) -> Self {
        let view = view.into();
        let table = lake.table(&format!("views/{}-{}", view.name, view.hash));
        Self { table, view, settings }
    }

    /// The columns of the table: `_bucket`, then those of `ViewDefinition::states`.
    pub fn schema(&self) -> SchemaRef {
        let bucket = Arc::new(Field::new(column::BUCKET, utc_micros(), true));
        let states = self.view.states.fields().iter().cloned();
        Arc::new(Schema::new(std::iter::once(bucket).chain(states).collect::<Vec<_>>()))
    }

    /// The newest published version; `None` before the first.
    ///
    /// # Errors
    /// [`ServingError::Lake`]: the object store failed.
    pub async fn newest(&self) -> Result<Option<BatchVersion>, ServingError> {
        let snapshot = self.table.open().await?;
        snapshot.map_or(Ok(None), published)
    }

    /// The newest `count` versions, newest first. Two small requests where the first of `known` is still the newest.
    /// Fewer where older ones have expired.
    ///
    /// # Errors
    /// [`ServingError::Lake`]: the object store failed.
    pub async fn newest_versions(
        &self,
        count: usize,
        known: &[BatchVersion],
    ) -> Result<Vec<BatchVersion>, ServingError> {
        let (mut snapshots, older) = match known.first() {
            Some(newest) => (self.table.newer(&newest.snapshot).await?, known),
            None => (self.open_newest(count).await?, known),
        };
        snapshots.reverse();
        let mut versions = Vec::with_capacity(count);
        for snapshot in snapshots.into_iter().take(count) {
            versions.extend(published(snapshot)?);
        }
        versions.extend(older.iter().take(count.saturating_sub(versions.len())).cloned());
        Ok(versions)
    }

    /// One version by its number, or `None` where it was not published or is no longer in the log.
    ///
    /// # Errors
    /// [`ServingError::Lake`]: the object store failed.
    pub async fn version(&self, version: Version) -> Result<Option<BatchVersion>, ServingError> {
        let snapshot = self.table.open_at(version).await?;
        snapshot.map_or(Ok(None), published)
    }

    /// Reads all states of a version into memory, without `_bucket`: columns of `ViewDefinition::states`, ordered by
    /// bucket, then as published.
    ///
    /// # Errors
    /// [`ServingError::TooLarge`] where they need more than `limit_bytes`; at least `needed_bytes` are needed.
    pub async fn load(&self, version: &BatchVersion, limit_bytes: usize) -> Result<Vec<RecordBatch>, ServingError> {
        let files = bucket_files::in_bucket_order(version.snapshot.files());
        self.load_files(version, (&files, None), limit_bytes).await
    }

    /// As [`Self::load`], of the files of a version alone that `other` has not got: what a publication wrote, or, the
    /// other way round, what it replaced. Carried rows in them are there, too.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub async fn load_beside(
        &self,
        version: &BatchVersion,
        other: &BatchVersion,
        limit_bytes: usize,
    ) -> Result<Vec<RecordBatch>, ServingError> {
        let mut files = bucket_files::in_bucket_order(version.snapshot.files());
        files.retain(|file| !other.snapshot.is_live(&file.path));
        self.load_files(version, (&files, None), limit_bytes).await
    }

    /// Reads the states of some buckets of a version into memory, as [`Self::load`].
    ///
    /// # Errors
    /// As [`Self::load`].
    pub async fn load_buckets(
        &self,
        version: &BatchVersion,
        buckets: &BucketRanges,
        limit_bytes: usize,
    ) -> Result<Vec<RecordBatch>, ServingError> {
        self.load_files(version, (&self.files_of(version, buckets), Some(buckets)), limit_bytes).await
    }

    /// The states in some files of a version, those of `buckets` alone where it is given: then the buckets are read and
    /// counted, too.
    async fn load_files(
        &self,
        version: &BatchVersion,
        (files, buckets): (&[DataFile], Option<&BucketRanges>),
        limit_bytes: usize,
    ) -> Result<Vec<RecordBatch>, ServingError> {
        let states = Arc::clone(&self.view.states);
        let columns: Vec<&str> = states.fields().iter().map(|field| field.name().as_str()).collect();
        let mut stream = version.snapshot.stream(files, buckets.is_none().then_some(columns.as_slice()))?;
        let before_states = usize::from(buckets.is_some());
        let mut batches = Vec::new();
        let mut needed_bytes = 0;
        let failed = |error| LakeError::engine(self.table.folder(), error);
        while let Some(mut batch) = stream.try_next().await.map_err(failed)? {
            if let Some(buckets) = buckets {
                let is_asked = |bucket: &i64| Some(buckets.contains(TimestampMicros(*bucket)));
                let asked: BooleanArray = buckets_of(&batch)?.iter().map(is_asked).collect();
                batch = filter_record_batch(&batch, &asked)?;
            }
            needed_bytes += batch.get_array_memory_size();
            if needed_bytes > limit_bytes {
                let view = self.view.name.to_string();
                return Err(ServingError::TooLarge { view, needed_bytes, limit_bytes });
            }
            batches.push(RecordBatch::try_new(Arc::clone(&states), batch.columns()[before_states..].to_vec())?);
        }
        Ok(batches)
    }

    /// The buckets in `[from, to)` that a version has rows of. Reads one column of the files that may hold such rows.
    ///
    /// # Errors
    /// [`ServingError::Lake`]: the object store failed.
    pub async fn buckets_within(
        &self,
        version: &BatchVersion,
        from: TimestampMicros,
        to: TimestampMicros,
    ) -> Result<BTreeSet<TimestampMicros>, ServingError> {
        let files = bucket_files::that_reach_into(version.snapshot.files(), from, to);
        let mut stream = version.snapshot.stream(&files, Some(&[column::BUCKET]))?;
        let failed = |error| LakeError::engine(self.table.folder(), error);
        let mut found = BTreeSet::new();
        while let Some(batch) = stream.try_next().await.map_err(failed)? {
            let buckets = buckets_of(&batch)?.chunk_by(|one, next| one == next);
            let buckets = buckets.map(|same| TimestampMicros(same[0]));
            found.extend(buckets.filter(|bucket| from <= *bucket && *bucket < to));
        }
        Ok(found)
    }

    /// The files of a version that may hold rows of `buckets`, as a table of the query engine with the columns of
    /// [`Self::schema`]; `None` where there is none. Other buckets may be in them, too. Does no IO.
    ///
    /// # Errors
    /// [`ServingError::Lake`]: a defect, since all files are those of the version.
    pub fn scan(
        &self,
        version: &BatchVersion,
        buckets: &BucketRanges,
    ) -> Result<Option<Arc<dyn TableProvider>>, ServingError> {
        let files = self.files_of(version, buckets);
        if files.is_empty() { Ok(None) } else { Ok(Some(version.snapshot.scan(&files)?)) }
    }

    /// The files that [`Self::scan`] reads.
    pub fn files_of(&self, version: &BatchVersion, buckets: &BucketRanges) -> Vec<DataFile> {
        let mut files = bucket_files::in_bucket_order(version.snapshot.files());
        files.retain(|file| bucket_files::may_hold(file, buckets));
        files
    }

    /// Deletes what only versions older than the newest `keep` (and the few that share their checkpoint) need, and
    /// files of lost publications; nothing that is younger than `grace`, which must be longer than the slowest reader,
    /// and nothing of a publication at work, however slow. What can be opened afterwards can be read.
    ///
    /// # Errors
    /// [`ServingError::Lake`]: the object store failed; call again.
    pub async fn expire(
        &self,
        keep: usize,
        grace: Duration,
        now: TimestampMicros,
    ) -> Result<lake::Vacuumed, ServingError> {
        let Some(newest) = self.table.open().await? else { return Ok(lake::Vacuumed::default()) };
        let oldest = newest.version().oldest_of_newest(keep);
        Ok(self.table.vacuum(oldest, grace, now.system_time()).await?)
    }

    /// Facts that nothing can be published with on `on` are refused before anything is computed or read.
    pub(crate) fn check_facts(&self, on: Option<&BatchVersion>, facts: &BatchFacts) -> Result<(), ServingError> {
        if facts.definition != self.view.hash {
            let reason = format!("the states were computed with definition {}", facts.definition);
            return Err(LakeError::Refused { table: self.table.folder().to_owned(), reason }.into());
        }
        match on {
            Some(on) if !facts.cut.is_at_or_above(&on.facts.cut) => Err(self.conflict()),
            _ => Ok(()),
        }
    }

    /// The snapshot to commit on.
    pub(crate) async fn base(&self, on: Option<&BatchVersion>) -> Result<Snapshot, ServingError> {
        let Some(on) = on else {
            let created = self.table.create(self.schema()).await?;
            return if created.facts::<BatchFacts>()?.is_none() { Ok(created) } else { Err(self.conflict()) };
        };
        // The commit itself decides; asking first saves the work of a publication that has lost already.
        let newest = self.table.refresh(&on.snapshot).await?;
        if newest.version() == on.snapshot.version() { Ok(newest) } else { Err(self.conflict()) }
    }

    pub(crate) async fn commit(
        &self,
        base: &Snapshot,
        change: Change,
        facts: BatchFacts,
        nonce: u128,
    ) -> Result<BatchVersion, ServingError> {
        match self.table.commit(base, change, &facts, nonce).await {
            Ok(snapshot) => Ok(BatchVersion { snapshot, facts: Arc::new(facts) }),
            Err(LakeError::Conflict { .. }) => Err(self.conflict()),
            Err(error) => Err(error.into()),
        }
    }

    /// The newest `count` versions of the log, oldest first.
    async fn open_newest(&self, count: usize) -> Result<Vec<Snapshot>, ServingError> {
        let Some(newest) = self.table.open().await? else { return Ok(Vec::new()) };
        let oldest = newest.version().oldest_of_newest(count).max(Version(1));
        for version in (oldest.0..newest.version().0).map(Version) {
            // A version that is no longer in the log: the next one may be.
            let Some(oldest) = self.table.open_at(version).await? else { continue };
            let newer = self.table.newer(&oldest).await?;
            return Ok(std::iter::once(oldest).chain(newer).collect());
        }
        Ok(vec![newest])
    }

    fn conflict(&self) -> ServingError {
        ServingError::Conflict { view: self.view.name.to_string() }
    }
}

/// A snapshot as a published version; version 0 is the empty table and was not published.
fn published(snapshot: Snapshot) -> Result<Option<BatchVersion>, ServingError> {
    let facts: Option<BatchFacts> = snapshot.facts()?;
    Ok(facts.map(|facts| BatchVersion { snapshot, facts: Arc::new(facts) }))
}
