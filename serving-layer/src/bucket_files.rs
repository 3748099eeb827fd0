//! Which files a publication rewrites, and how sorted rows become files of bounded size.
//!
//! ```text
//!  files of the version:   [b1 .. b4]  [b5 .. b5]  [b6 .. b9]        replaced: b5, b10
//!                              |           |            +-- tiny, directly before b10: rewritten too
//!                            stays      rewritten
//!  carried rows (not b5) --+
//!                          +--> merged by bucket --> files, closed at a bound
//!  new rows (b5, b10) -----+
//! ```
//!
//! Guarantee: rows of replaced buckets are gone, all other rows are there once; files hold rows in bucket order, and
//! the ranges of two files share a bucket at most.
//! Not here: which rows of the two inputs count, and in what order they must come (`bucket_cursor.rs`).
//! Why so: new and carried rows never share a bucket, so merging means taking turns: no comparison of dimensions.

use std::collections::BTreeSet;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::scalar::ScalarValue;
use lake::{Change, DataFile, FileWriter, Snapshot};
use positions::TimestampMicros;
use views::column;

use crate::bucket_cursor::{BucketCursor, Rows, buckets_of};
use crate::{BatchViewSettings, ServingError};

/// What is replaced in which version.
pub(crate) struct Replacement<'a> {
    pub(crate) base: &'a Snapshot,
    pub(crate) schema: SchemaRef,
    /// `None`: everything.
    pub(crate) replaced: Option<&'a [TimestampMicros]>,
    pub(crate) nonce: u128,
}

/// Writes the files of a publication; nobody sees them before the change is committed.
pub(crate) async fn write(
    replacement: &Replacement<'_>,
    rows: SendableRecordBatchStream,
    settings: &BatchViewSettings,
) -> Result<Change, ServingError> {
    let buckets: Option<BTreeSet<i64>> =
        replacement.replaced.map(|replaced| replaced.iter().map(|bucket| bucket.0).collect());
    let files = in_bucket_order(replacement.base.files());
    let rewritten = match &buckets {
        Some(buckets) => files_to_rewrite(&files, buckets, settings.small_file_rows),
        None => files,
    };
    let kept = |file: &&DataFile| !rewritten.iter().any(|other| other.path == file.path);
    let starts = replacement.base.files().iter().filter(kept).map(|file| range_of(file).0).collect();
    let mut writer = Files { replacement, settings, starts, last_bucket: i64::MIN, open: None, done: Vec::new() };
    let mut new = BucketCursor::new(rows, Rows::New(buckets.as_ref()));
    match &buckets {
        None => drain(&mut new, &mut writer).await?,
        Some(buckets) => {
            let carried = replacement.base.stream(&rewritten, None)?;
            let mut carried = BucketCursor::new(carried, Rows::Carried(buckets));
            merge(&mut new, &mut carried, &mut writer).await?;
        }
    }
    let remove = rewritten.into_iter().map(|file| file.path).collect();
    Ok(Change { add: writer.finish().await?, remove, changes_data: true })
}

/// Files ordered by their least bucket, then their largest.
pub(crate) fn in_bucket_order(files: &[DataFile]) -> Vec<DataFile> {
    let mut files = files.to_vec();
    files.sort_by(|one, other| range_of(one).cmp(&range_of(other)).then_with(|| one.path.cmp(&other.path)));
    files
}

/// The files whose range holds a replaced bucket, and tiny ones directly before one. `files` in bucket order.
fn files_to_rewrite(files: &[DataFile], buckets: &BTreeSet<i64>, small_rows: u64) -> Vec<DataFile> {
    let is_hit = |file: &DataFile| {
        let (least, most) = range_of(file);
        buckets.range(least..=most).next().is_some()
    };
    let is_absorbed = |at: usize| {
        // No replaced bucket lies in it, so the next one above it comes before the file that follows, or is in it.
        let (_, most) = range_of(&files[at]);
        let following = files.get(at + 1).map_or(i64::MAX, |next| range_of(next).1);
        files[at].rows < small_rows && buckets.range(most..).next().is_some_and(|bucket| *bucket <= following)
    };
    let indices = (0..files.len()).filter(|at| is_hit(&files[*at]) || is_absorbed(*at));
    indices.map(|at| files[at].clone()).collect()
}

/// The least and the largest bucket of a file; everything where it is unknown.
fn range_of(file: &DataFile) -> (i64, i64) {
    let micros = |value: &ScalarValue| match value {
        ScalarValue::TimestampMicrosecond(micros, _) => *micros,
        _ => None,
    };
    let bounds = file.bounds.get(column::BUCKET);
    let range = bounds.and_then(|(min, max, _)| Some((micros(min)?, micros(max)?)));
    range.unwrap_or((i64::MIN, i64::MAX))
}

/// Takes turns between two inputs that share no bucket.
async fn merge(
    new: &mut BucketCursor<'_>,
    carried: &mut BucketCursor<'_>,
    files: &mut Files<'_>,
) -> Result<(), ServingError> {
    loop {
        let takes_new = match (new.peek().await?, carried.peek().await?) {
            (None, None) => return Ok(()),
            (Some(_), None) => return drain(new, files).await,
            (None, Some(_)) => return drain(carried, files).await,
            (Some(new), Some(carried)) => new < carried,
        };
        let rows = if takes_new { new.take_bucket() } else { carried.take_bucket() };
        if let Some(rows) = rows {
            files.write(rows).await?;
        }
    }
}

async fn drain(input: &mut BucketCursor<'_>, files: &mut Files<'_>) -> Result<(), ServingError> {
    while input.peek().await?.is_some() {
        if let Some(rest) = input.take_rest() {
            files.write(rest).await?;
        }
    }
    Ok(())
}

/// The files of a publication, one after the other.
struct Files<'a> {
    replacement: &'a Replacement<'a>,
    settings: &'a BatchViewSettings,
    /// Where the files begin that stay: no new file reaches over one of them.
    starts: BTreeSet<i64>,
    last_bucket: i64,
    open: Option<FileWriter>,
    done: Vec<DataFile>,
}

impl Files<'_> {
    /// Appends rows, starting a file where the open one is full or a file that stays comes in between.
    async fn write(&mut self, rows: RecordBatch) -> Result<(), ServingError> {
        // Columns by position: the engine may call NOT NULL what is nullable here.
        let mut rows = RecordBatch::try_new(self.replacement.schema.clone(), rows.columns().to_vec())?;
        while rows.num_rows() > 0 {
            let buckets = buckets_of(&rows)?;
            if self.starts.range(self.last_bucket..buckets[0]).next().is_some() {
                self.close().await?;
            }
            let until = self.starts.range(buckets[0]..).next().copied().unwrap_or(i64::MAX);
            let together = buckets.partition_point(|bucket| *bucket <= until);
            let mut file = match self.open.take() {
                Some(file) => file,
                None => self.start()?,
            };
            let left = self.settings.max_file_rows.max(1).saturating_sub(file.rows());
            let fitting = together.min(usize::try_from(left).unwrap_or(usize::MAX));
            self.last_bucket = buckets[fitting - 1];
            file.write(&rows.slice(0, fitting)).await?;
            rows = rows.slice(fitting, rows.num_rows() - fitting);
            let is_full =
                file.rows() >= self.settings.max_file_rows || file.size_bytes() >= self.settings.max_file_bytes;
            self.open = Some(file);
            if is_full {
                self.close().await?;
            }
        }
        Ok(())
    }

    fn start(&self) -> Result<FileWriter, ServingError> {
        let name = format!("{:032x}-{:05}", self.replacement.nonce, self.done.len());
        Ok(self.replacement.base.file_writer(&name, self.replacement.schema.clone())?)
    }

    async fn close(&mut self) -> Result<(), ServingError> {
        if let Some(file) = self.open.take() {
            self.done.push(file.finish().await?);
        }
        Ok(())
    }

    async fn finish(mut self) -> Result<Vec<DataFile>, ServingError> {
        self.close().await?;
        Ok(self.done)
    }
}
