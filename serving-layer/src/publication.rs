//! Publishing: states of some buckets become the next version of a view, by one writer or by several.
//!
//! ```text
//!  write_part  [from, b1)  ----> files ---+
//!  write_part  [b1, b2)    ----> files ---+--> publish_parts: one commit on exactly the version that all wrote for
//!  write_part  [b2, to)    ----> files ---+
//! ```
//!
//! Guarantee: a publication is one commit on exactly the version it was computed from, and never moves a cut back. A
//! part may be written again under another name, by anybody: what is not committed nobody sees, and `expire` deletes
//! it. Whether a commit may still be made is asked directly before it.
//! Not here: which rows go into which file (`bucket_files.rs`), what a version is (`batch_views.rs`).

use datafusion::execution::SendableRecordBatchStream;
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt, TryStreamExt};
use lake::{Change, DataFile, LakeError, Snapshot, WrittenFile};
use positions::TimestampMicros;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use crate::batch_views::BatchViewStore;
use crate::bucket_files::{self, Replacement};
use crate::{BatchFacts, BatchVersion, BucketRanges, ServingError};

/// Files that are looked at at the same time.
const CONCURRENT_READS: usize = 16;

/// Whether a commit may still be made, asked directly before it: whoever works under a lease asks
/// whether it still holds.
pub type MayCommit<'a> = dyn Fn() -> BoxFuture<'a, bool> + Send + Sync + 'a;

/// For whoever needs nobody's leave: always true.
pub fn always<'a>() -> BoxFuture<'a, bool> {
    Box::pin(std::future::ready(true))
}

/// The share of one writer in a publication. All shares together are all of event time.
#[derive(Clone, Copy, Debug)]
pub struct PublicationPart<'a> {
    /// What the publication replaces, all shares together; `None`: everything.
    pub replaced: Option<&'a BucketRanges>,
    /// The share begins here: at the start of a bucket, or of time.
    pub from: TimestampMicros,
    /// It ends before this: the start of a bucket, or the end of time.
    pub to: TimestampMicros,
    /// Begins the names of its files, in letters a-z, digits, `-` and `_`: nothing else was ever written under it.
    pub name: &'a str,
}

/// What one writer wrote, as it is told to the process that publishes. Nobody sees it before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrittenPart {
    /// Where its share began.
    pub from: TimestampMicros,
    /// Where it ended.
    pub to: TimestampMicros,
    /// Its files, rising by event time.
    pub files: Vec<WrittenFile>,
    /// Stands for the files of the version before of which its writer took over the rows that are carried.
    rewritten: u64,
}

/// The parts of a publication, and what its commit says.
pub struct Publication<'a, 'm> {
    /// As all writers of parts were told.
    pub replaced: Option<&'a BucketRanges>,
    /// All parts, rising by event time; there may be none where nothing is replaced.
    pub parts: &'a [WrittenPart],
    /// The facts of the version.
    pub facts: BatchFacts,
    /// Begins the names of files in which small ones were joined: nothing else was ever written under it.
    pub name: &'a str,
    /// Drawn for this commit.
    pub nonce: u128,
    /// Asked directly before the commit.
    pub may_commit: &'a MayCommit<'m>,
}

impl BatchViewStore {
    /// Publishes states in one commit on exactly `on` (`None`: before the first version).
    ///
    /// `rows` have the columns of [`Self::schema`], sorted by `_bucket` and dimensions, `_bucket` never null.
    /// They replace the rows of `replaced` buckets (`None`: of all buckets); other buckets are carried over. Only files
    /// that hold a replaced bucket (and tiny neighbours) are rewritten. Memory: one file in the making.
    ///
    /// # Errors
    /// [`ServingError::Conflict`]: another version is the newest, or its cut is not at or below this one.
    /// [`ServingError::Lake`] with `Unreachable`: it is unknown whether the publication happened.
    /// [`ServingError::Engine`]: the stream of rows failed; nothing was published.
    pub async fn publish(
        &self,
        on: Option<&BatchVersion>,
        replaced: Option<&[TimestampMicros]>,
        rows: SendableRecordBatchStream,
        facts: BatchFacts,
        nonce: u128,
    ) -> Result<BatchVersion, ServingError> {
        self.check_facts(on, &facts)?;
        let base = self.base(on).await?;
        let next = |bucket: TimestampMicros| TimestampMicros(bucket.0.saturating_add(1));
        let replaced = replaced.map(|all| all.iter().map(|bucket| (*bucket, next(*bucket))).collect::<BucketRanges>());
        let name = format!("{nonce:032x}");
        let replacement = self.replacement(&base, replaced.as_ref(), &name);
        let whole = (TimestampMicros(i64::MIN), TimestampMicros(i64::MAX));
        let add = bucket_files::write(&replacement, whole, rows, &self.settings).await?;
        let change = self.change(&replacement, add);
        self.commit(&base, change, facts, nonce).await
    }

    /// Writes the files of one part of a publication on `on`: nobody sees them before [`Self::publish_parts`] names
    /// them. `rows` as in [`Self::publish`], of replaced buckets of the part alone. Memory: one file in the making.
    ///
    /// # Errors
    /// [`ServingError::Conflict`]: `on` is not the newest version any more, so that nothing can be published on it.
    /// [`ServingError::Engine`]: the stream of rows failed.
    pub async fn write_part(
        &self,
        on: Option<&BatchVersion>,
        part: &PublicationPart<'_>,
        rows: SendableRecordBatchStream,
    ) -> Result<WrittenPart, ServingError> {
        let base = self.base(on).await?;
        let replacement = self.replacement(&base, part.replaced, part.name);
        let files = bucket_files::write(&replacement, (part.from, part.to), rows, &self.settings).await?;
        let rewritten = self.rewritten(&replacement);
        let files = files.iter().map(WrittenFile::from).collect();
        Ok(WrittenPart { from: part.from, to: part.to, files, rewritten })
    }

    /// Commits the parts on exactly the version that all of them were written for.
    ///
    /// # Errors
    /// As [`Self::publish`]. [`ServingError::Lake`] with `Refused`: the parts do not belong together, or not to this.
    /// [`ServingError::Withdrawn`]: `may_commit` said no; nothing was published.
    pub async fn publish_parts(
        &self,
        on: Option<&BatchVersion>,
        publication: Publication<'_, '_>,
    ) -> Result<BatchVersion, ServingError> {
        let Publication { replaced, parts, facts, name, nonce, may_commit } = publication;
        self.check_facts(on, &facts)?;
        let base = self.base(on).await?;
        let replacement = self.replacement(&base, replaced, name);
        self.check_parts(&replacement, parts)?;
        let parts = read_parts(&base, parts).await?;
        let add = bucket_files::join_small(&replacement, parts, &self.settings).await?;
        let change = self.change(&replacement, add);
        if !may_commit().await {
            return Err(ServingError::Withdrawn { view: self.view.name.to_string() });
        }
        self.commit(&base, change, facts, nonce).await
    }

    /// Parts that leave something out, or whose writers saw other files as rewritten, would lose rows or double them.
    fn check_parts(&self, replacement: &Replacement<'_>, parts: &[WrittenPart]) -> Result<(), ServingError> {
        if parts.is_empty() && replacement.replaced.is_some_and(BucketRanges::is_empty) {
            return Ok(());
        }
        let (start, end) = (TimestampMicros(i64::MIN), TimestampMicros(i64::MAX));
        let is_begun = parts.first().is_some_and(|first| first.from == start);
        let is_ended = parts.last().is_some_and(|last| last.to == end);
        let is_whole = is_begun && is_ended && parts.windows(2).all(|two| two[0].to == two[1].from);
        let rewritten = self.rewritten(replacement);
        let reason = if !is_whole {
            "the parts of a publication are not all of event time, once"
        } else if parts.iter().any(|part| part.rewritten != rewritten) {
            "the parts of a publication rewrite other files than it does: another release of Twofold wrote them"
        } else {
            return Ok(());
        };
        let table = replacement.base.table().folder().to_owned();
        Err(LakeError::Refused { table, reason: reason.to_owned() }.into())
    }

    /// A number that stands for the files that are rewritten.
    fn rewritten(&self, replacement: &Replacement<'_>) -> u64 {
        let mut paths = Xxh3::new();
        for file in replacement.rewritten(&self.settings) {
            paths.update(file.path.as_bytes());
            paths.update(b"\n");
        }
        paths.digest()
    }

    fn replacement<'a>(
        &self,
        base: &'a Snapshot,
        replaced: Option<&'a BucketRanges>,
        name: &'a str,
    ) -> Replacement<'a> {
        Replacement { base, schema: self.schema(), replaced, name }
    }

    fn change(&self, replacement: &Replacement<'_>, add: Vec<DataFile>) -> Change {
        let remove = replacement.rewritten(&self.settings).into_iter().map(|file| file.path).collect();
        Change { add, remove, changes_data: true }
    }
}

/// The files of each part, as they are to be committed.
async fn read_parts(base: &Snapshot, parts: &[WrittenPart]) -> Result<Vec<Vec<DataFile>>, LakeError> {
    let reads: Vec<_> = parts.iter().flat_map(|part| &part.files).map(|file| base.data_file(file)).collect();
    let files: Vec<DataFile> = stream::iter(reads).buffered(CONCURRENT_READS).try_collect().await?;
    let mut files = files.into_iter();
    Ok(parts.iter().map(|part| files.by_ref().take(part.files.len()).collect()).collect())
}
