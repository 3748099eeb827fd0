//! Which files are merged: a pure decision on the live files of one version.
//!
//! In: files with their rows, sizes and bounds. Out: disjoint [`Merge`]s, each due now.
//! Guarantee: a merge takes at least `min_files` files of one *tier* (equal powers of `min_files` in rows) and makes
//! one of a higher tier, or it fills a file of the wished size, which is never merged again unless it became half as
//! large by being sorted. So each row is rewritten at most once per power and once more, and a table at rest comes to
//! rest. Late rows stay apart from those on time: a scan of recent windows goes on to skip them.
//! Why so: neighbours in the order of offsets are merged, which is nearly the order of event times, too: both the
//! search for touched buckets (by offset) and the recompute of a bucket (by time) skip most of the large files.

use std::collections::BTreeMap;

use datafusion::scalar::ScalarValue;
use lake::DataFile;
use records::decode::column as master_column;
use records::master::stored_rules;
use views::column;

use crate::CompactSettings;
use crate::master_columns::may_hold_corrected_times;

/// Upper bound on the files of one merge, however small they are.
const MAX_FILES: usize = 1_000;

/// Files to be replaced by one.
#[derive(Clone, Debug, PartialEq)]
pub struct Merge {
    /// The files, in the order of their offsets; together at most one and a half times the wished size.
    pub files: Vec<DataFile>,
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

/// The merges that are due, those of few rows first, as many as one round should carry out. Pure.
pub fn choose_merges(files: &[DataFile], settings: &CompactSettings) -> Vec<Merge> {
    let fan_in = settings.min_files.max(2);
    let mut tiers: BTreeMap<_, Vec<&DataFile>> = BTreeMap::new();
    // A file of half the size stays: so a merge is never much larger than the wished size.
    for file in files.iter().filter(|file| file.size_bytes < settings.file_bytes.div_ceil(2)) {
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
                merges.push(Merge { files: std::mem::take(&mut chosen) });
                bytes = 0;
            }
        }
    }
    of_one_round(merges, settings)
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

/// What is never merged with another kind: late files, files with corrected times, and files of other rules, which no
/// bound of theirs prunes while those are not the rules of the source.
fn lane_of(file: &DataFile) -> (bool, bool, Option<i32>) {
    let is_late = matches!(file.bounds.get(master_column::LATE), Some((ScalarValue::Boolean(Some(true)), _, _)));
    (is_late, may_hold_corrected_times(file), stored_rules(file))
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
