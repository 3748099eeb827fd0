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
//! Several writers may share the work: each has a stretch of event time of its own, writes the new rows of it, and
//! takes over the carried rows of it. At the commit, small files on either side of a border between two writers become
//! one.
//!
//! Guarantee: rows of replaced buckets are gone, all other rows are there once; files hold rows in bucket order, and
//! the ranges of two files share a bucket at most; a writer more leaves no small file more.
//! Not here: which rows of the two inputs count, and in what order they must come (`bucket_cursor.rs`).
//! Why so: new and carried rows never share a bucket, so merging means taking turns: no comparison of dimensions. Which
//! files are rewritten is a function of the version and of all replaced buckets, so that writers need not speak to each
//! other: a file that lies on a border is read by both sides, each takes its own rows.

use std::collections::{BTreeSet, HashSet};

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::scalar::ScalarValue;
use lake::{DataFile, FileWriter, Snapshot};
use positions::TimestampMicros;
use views::column;

use crate::bucket_cursor::{BucketCursor, Rows, buckets_of};
use crate::{BatchViewSettings, BucketRanges, ServingError};

/// What is replaced in which version.
pub(crate) struct Replacement<'a> {
    pub(crate) base: &'a Snapshot,
    pub(crate) schema: SchemaRef,
    /// By all writers together; `None`: everything.
    pub(crate) replaced: Option<&'a BucketRanges>,
    /// Begins the names of the files that are written.
    pub(crate) name: &'a str,
}

impl Replacement<'_> {
    /// The files of the version that a commit removes, in bucket order.
    pub(crate) fn rewritten(&self, settings: &BatchViewSettings) -> Vec<DataFile> {
        let files = in_bucket_order(self.base.files());
        match self.replaced {
            Some(buckets) => files_to_rewrite(&files, buckets, settings.small_file_rows),
            None => files,
        }
    }

    fn writer<'a>(&'a self, rewritten: &[DataFile], settings: &'a BatchViewSettings) -> Files<'a> {
        let gone: HashSet<&str> = rewritten.iter().map(|file| file.path.as_str()).collect();
        let kept = self.base.files().iter().filter(|file| !gone.contains(file.path.as_str()));
        let starts = kept.map(|file| range_of(file).0).collect();
        Files { replacement: self, settings, starts, last_bucket: i64::MIN, open: None, done: Vec::new() }
    }
}

/// Writes the files of the stretch `[from, to)` of event time; nobody sees them before they are committed.
pub(crate) async fn write(
    replacement: &Replacement<'_>,
    (from, to): (TimestampMicros, TimestampMicros),
    rows: SendableRecordBatchStream,
    settings: &BatchViewSettings,
) -> Result<Vec<DataFile>, ServingError> {
    let rewritten = replacement.rewritten(settings);
    let mut writer = replacement.writer(&rewritten, settings);
    let everything = BucketRanges::everything();
    let new = replacement.replaced.unwrap_or(&everything).within(from, to);
    let mut rows = BucketCursor::new(rows, Rows::New(&new));
    match replacement.replaced {
        None => drain(&mut rows, &mut writer).await?,
        Some(replaced) => {
            let here = that_reach_into(&rewritten, from, to);
            let carried = replacement.base.stream(&here, None)?;
            let mut carried = BucketCursor::new(carried, Rows::Carried(replaced, from, to));
            merge(&mut rows, &mut carried, &mut writer).await?;
        }
    }
    writer.finish().await
}

/// The files of all writers, in bucket order: small ones that lie side by side, and that different writers wrote, are
/// read once more and become one.
pub(crate) async fn join_small(
    replacement: &Replacement<'_>,
    parts: Vec<Vec<DataFile>>,
    settings: &BatchViewSettings,
) -> Result<Vec<DataFile>, ServingError> {
    let mut writer = replacement.writer(&replacement.rewritten(settings), settings);
    let everything = BucketRanges::everything();
    let mut whole = Vec::new();
    for neighbours in small_neighbours(parts, &writer) {
        let writers: HashSet<usize> = neighbours.iter().map(|(part, _)| *part).collect();
        let files: Vec<DataFile> = neighbours.into_iter().map(|(_, file)| file).collect();
        if writers.len() < 2 {
            whole.extend(files);
            continue;
        }
        let mut rows = BucketCursor::new(replacement.base.stream_written(&files)?, Rows::New(&everything));
        drain(&mut rows, &mut writer).await?;
        writer.close().await?;
    }
    whole.extend(writer.finish().await?);
    Ok(whole)
}

/// Files in bucket order with the number of their writer: small ones that lie side by side together, others alone.
fn small_neighbours(parts: Vec<Vec<DataFile>>, writer: &Files<'_>) -> Vec<Vec<(usize, DataFile)>> {
    let mut files: Vec<(usize, DataFile)> = parts
        .into_iter()
        .enumerate()
        .flat_map(|(part, files)| files.into_iter().map(move |file| (part, file)))
        .collect();
    files.sort_by_key(|(part, file)| (*part, range_of(file)));
    let mut groups: Vec<Vec<(usize, DataFile)>> = Vec::new();
    for (part, file) in files {
        let is_beside = |(_, last): &(usize, DataFile)| {
            let is_small = writer.is_small(last) && writer.is_small(&file);
            is_small && !writer.has_kept_between(range_of(last).1, range_of(&file).0)
        };
        match groups.last_mut().filter(|group| group.last().is_some_and(is_beside)) {
            Some(group) => group.push((part, file)),
            None => groups.push(vec![(part, file)]),
        }
    }
    groups
}

/// Files ordered by their least bucket, then their largest.
pub(crate) fn in_bucket_order(files: &[DataFile]) -> Vec<DataFile> {
    let mut files = files.to_vec();
    files.sort_by(|one, other| range_of(one).cmp(&range_of(other)).then_with(|| one.path.cmp(&other.path)));
    files
}

/// The files among `files` that may hold buckets of `[from, to)`, in their order.
pub(crate) fn that_reach_into(files: &[DataFile], from: TimestampMicros, to: TimestampMicros) -> Vec<DataFile> {
    let reaches_in = |file: &&DataFile| {
        let (least, most) = range_of(file);
        least < to.0 && from.0 <= most
    };
    files.iter().filter(reaches_in).cloned().collect()
}

/// The files whose range holds a replaced bucket, and tiny ones directly before one. `files` in bucket order.
fn files_to_rewrite(files: &[DataFile], buckets: &BucketRanges, small_rows: u64) -> Vec<DataFile> {
    let next_from = |bucket: i64| buckets.next_from(TimestampMicros(bucket)).map(|next| next.0);
    let is_absorbed = |at: usize| {
        // No replaced bucket lies in it, so the next one above it comes before the file that follows, or is in it.
        let (_, most) = range_of(&files[at]);
        let following = files.get(at + 1).map_or(i64::MAX, |next| range_of(next).1);
        files[at].rows < small_rows && next_from(most).is_some_and(|bucket| bucket <= following)
    };
    let indices = (0..files.len()).filter(|at| may_hold(&files[*at], buckets) || is_absorbed(*at));
    indices.map(|at| files[at].clone()).collect()
}

/// Whether one of these buckets lies in the range of a file.
pub(crate) fn may_hold(file: &DataFile, buckets: &BucketRanges) -> bool {
    let (least, most) = range_of(file);
    buckets.next_from(TimestampMicros(least)).is_some_and(|next| next.0 <= most)
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
            if self.has_kept_between(self.last_bucket, buckets[0]) {
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

    /// Whether a file that stays begins in `[from, to)`.
    fn has_kept_between(&self, from: i64, to: i64) -> bool {
        from < to && self.starts.range(from..to).next().is_some()
    }

    fn is_small(&self, file: &DataFile) -> bool {
        let few_bytes = u64::try_from(self.settings.max_file_bytes / 2).unwrap_or(u64::MAX);
        file.rows < self.settings.small_file_rows && file.size_bytes < few_bytes
    }

    fn start(&self) -> Result<FileWriter, ServingError> {
        let name = format!("{}-{:05}", self.replacement.name, self.done.len());
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
