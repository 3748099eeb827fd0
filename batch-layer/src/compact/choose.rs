//! Which files are merged, and which are read again: a pure decision on the live files of one version.
//!
//! In: files with their rows, sizes, bounds and readings. Out: disjoint [`Merge`]s, each due now.
//! Guarantee: a file of another reading is due whatever its size, and never after that: what replaces it is of the
//! present one. Of the others, a merge takes at least `min_files` files of one *tier* (equal powers of `min_files` in
//! rows) and makes one of a higher tier, or it fills a file of the wished size, which is never merged again unless it
//! became half as large by being sorted. So each row is rewritten at most once per power, once more, and once for each
//! change of its source; a table at rest comes to rest. Late rows stay apart from those on time: a scan of recent
//! windows goes on to skip them. So do imported ones, which are of other times than what was archived at their offsets.
//! Why so: neighbours in the order of offsets are merged, which is nearly the order of event times, too: both the
//! search for touched buckets (by offset) and the recompute of a bucket (by time) skip most of the large files.
//! Files of another reading come first: every recompute decodes their rows again.

use std::collections::BTreeMap;

use datafusion::scalar::ScalarValue;
use lake::DataFile;
use positions::PartitionId;
use records::decode::column as master_column;
use records::master::reading_of_file;
use views::column;

use crate::CompactSettings;
use crate::master_columns::may_hold_corrected_times;

/// Upper bound on the files of one merge, however small they are.
const MAX_FILES: usize = 1_000;

/// Files to be replaced by one, or, where rows are read again, by one of rows on time and one of late rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Merge {
    /// The files, in the order of their offsets; together at most one and a half times the wished size.
    pub files: Vec<DataFile>,
    /// Whether their rows are read again, as the source is defined now. If not, they stay as they are stored.
    pub is_read_again: bool,
}

impl Merge {
    /// Rows in all files.
    pub fn rows(&self) -> u64 {
        self.files.iter().map(|file| file.rows).sum()
    }

    /// Bytes of all files.
    pub fn size_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size_bytes).sum()
    }
}

/// The merges that are due, as many as one round should carry out: files of another reading than `reading` first (if
/// that is `None`, every file stays in its own), then those of few rows. Pure.
pub fn choose_merges(files: &[DataFile], reading: Option<i32>, settings: &CompactSettings) -> Vec<Merge> {
    let is_other = |file: &&DataFile| reading.is_some_and(|reading| reading_of_file(file) != Some(reading));
    let (other, same): (Vec<&DataFile>, Vec<&DataFile>) = files.iter().partition(is_other);
    let mut merges = merges_of_another_reading(other, settings);
    merges.extend(merges_by_tier(same, settings));
    of_one_round(merges, settings)
}

/// All files, next to each other up to the wished size; a larger one alone.
fn merges_of_another_reading(files: Vec<&DataFile>, settings: &CompactSettings) -> Vec<Merge> {
    let mut lanes: BTreeMap<_, Vec<&DataFile>> = BTreeMap::new();
    for file in files {
        lanes.entry((is_late(file), is_imported(file), may_hold_corrected_times(file))).or_default().push(file);
    }
    let mut merges = Vec::new();
    for mut files in lanes.into_values() {
        files.sort_by_key(|file| (place_of(file), file.path.clone()));
        let mut of_lane: Vec<Merge> = Vec::new();
        let mut bytes = 0;
        for file in files {
            bytes += file.size_bytes;
            match of_lane.last_mut() {
                Some(last) if bytes <= settings.file_bytes && last.files.len() < MAX_FILES => {
                    last.files.push(file.clone());
                }
                _ => {
                    bytes = file.size_bytes;
                    of_lane.push(Merge { files: vec![file.clone()], is_read_again: true });
                }
            }
        }
        merges.extend(of_lane);
    }
    merges
}

/// Files of about as many rows, where there are enough of them, those of few rows first.
fn merges_by_tier(files: Vec<&DataFile>, settings: &CompactSettings) -> Vec<Merge> {
    let fan_in = settings.min_files.max(2);
    let mut tiers: BTreeMap<_, Vec<&DataFile>> = BTreeMap::new();
    // A file of half the size stays: so a merge is never much larger than the wished size.
    for file in files.into_iter().filter(|file| file.size_bytes < settings.file_bytes.div_ceil(2)) {
        tiers.entry((tier_of(file.rows, fan_in), lane_of(file))).or_default().push(file);
    }
    let mut merges = Vec::new();
    for mut files in tiers.into_values() {
        files.sort_by_key(|file| (place_of(file), file.path.clone()));
        let mut chosen: Vec<DataFile> = Vec::new();
        let (mut bytes, mut left) = (0, files.len());
        for file in files {
            bytes += file.size_bytes;
            left -= 1;
            chosen.push(file.clone());
            let is_full = bytes >= settings.file_bytes || chosen.len() >= MAX_FILES.max(fan_in);
            if is_full || (left == 0 && chosen.len() >= fan_in) {
                merges.push(Merge { files: std::mem::take(&mut chosen), is_read_again: false });
                bytes = 0;
            }
        }
    }
    merges
}

/// The first merges, up to the bytes of `min_files` large files: a backlog must not hold up the next publication.
fn of_one_round(merges: Vec<Merge>, settings: &CompactSettings) -> Vec<Merge> {
    let most = settings.file_bytes.saturating_mul(settings.min_files as u64);
    let mut bytes = 0_u64;
    let fits = |merge: &Merge| {
        let is_first = bytes == 0;
        bytes += merge.size_bytes();
        is_first || bytes <= most
    };
    merges.into_iter().take_while(fits).collect()
}

/// What is never merged with another kind: late files; imported ones; files with corrected times, which no bound of
/// theirs prunes; and files of different readings, of which one alone is read as it is stored.
fn lane_of(file: &DataFile) -> (bool, bool, bool, Option<i32>) {
    (is_late(file), is_imported(file), may_hold_corrected_times(file), reading_of_file(file))
}

/// Whether all rows of a file were imported.
fn is_imported(file: &DataFile) -> bool {
    let bounds = file.bounds.get(column::PARTITION);
    let least = bounds.and_then(|(least, _, _)| match least {
        ScalarValue::Int32(least) => *least,
        _ => None,
    });
    least.is_some_and(|least| PartitionId(least).is_imported())
}

/// Whether all rows of a file are late, and none has others beside it in its record: those are with the ones on time.
fn is_late(file: &DataFile) -> bool {
    let is_alone = match file.bounds.get(master_column::ITEM) {
        Some((_, ScalarValue::Int32(Some(largest)), _)) => *largest == 0,
        _ => true,
    };
    is_alone && matches!(file.bounds.get(master_column::LATE), Some((ScalarValue::Boolean(Some(true)), _, _)))
}

/// The power of `fan_in` in the number of rows.
fn tier_of(rows: u64, fan_in: usize) -> u32 {
    rows.checked_ilog(fan_in as u64).unwrap_or(0)
}

/// Where a file stands among others: by its largest offset.
fn place_of(file: &DataFile) -> i64 {
    match file.bounds.get(column::OFFSET) {
        Some((_, ScalarValue::Int64(Some(largest)), _)) => *largest,
        _ => 0,
    }
}
