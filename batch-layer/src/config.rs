//! Settings of the batch layer. Values only: the binary reads files and environment.

use std::path::PathBuf;
use std::time::Duration;

use positions::Backoff;

/// Settings of one recompute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecomputeSettings {
    /// Memory for grouping, sorting and the removal of copies; what needs more goes to `spill_folder`.
    pub memory_bytes: usize,
    /// Where intermediate data goes that does not fit; `None`: the folder for temporary files of the system.
    pub spill_folder: Option<PathBuf>,
    /// Most bytes in `spill_folder`.
    pub spill_limit_bytes: u64,
    /// Threads that read, group and sort.
    pub target_partitions: usize,
    /// Where several tasks share a recompute, each reads files of at most about this many bytes, unless one bucket has
    /// more.
    pub task_bytes: u64,
}

impl Default for RecomputeSettings {
    fn default() -> Self {
        Self {
            memory_bytes: 512 << 20,
            spill_folder: None,
            spill_limit_bytes: 100 << 30,
            target_partitions: std::thread::available_parallelism().map_or(2, usize::from),
            task_bytes: 256 << 20,
        }
    }
}

/// Settings of the compaction of master datasets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompactSettings {
    /// Whether files are merged at all.
    pub is_on: bool,
    /// Files are merged until they have about this many bytes: also the memory that one in the making takes.
    pub file_bytes: u64,
    /// So many files of about one size are merged into one, at least 2; fewer where they fill a file of `file_bytes`.
    pub min_files: usize,
}

impl Default for CompactSettings {
    fn default() -> Self {
        Self { is_on: true, file_bytes: 128 << 20, min_files: 8 }
    }
}

/// Settings of what is done for batch views and master datasets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchSettings {
    /// From the end of one recompute of a view that no schedule names to the next.
    pub interval: Duration,
    /// Wait after a recompute in which a view failed, never longer than `interval`.
    pub backoff: Backoff,
    /// From one look at what is due of housekeeping to the next; no more than `interval`.
    pub housekeeping_interval: Duration,
    /// How each recompute computes.
    pub recompute: RecomputeSettings,
    /// Wait between two looks for files of tables that are gone, and for what other tools did to them.
    pub table_check_interval: Duration,
    /// Which files of the master dataset become larger ones; sorted within the memory of `recompute`.
    pub compact: CompactSettings,
    /// Buckets of views become coarser once they ended so long ago; `None`: never.
    pub fold_after: Option<Duration>,
    /// Published versions kept per view, so that queries and rollbacks find them, at least 2; and sets of definitions.
    pub keep_versions: usize,
    /// Wait between two removals of old versions and of files that no version names.
    pub cleanup_interval: Duration,
    /// A file is deleted only after it has been out of use for this long: longer than the longest query.
    pub cleanup_grace: Duration,
}

impl Default for BatchSettings {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(60),
            backoff: Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(60) },
            housekeeping_interval: Duration::from_secs(60),
            recompute: RecomputeSettings::default(),
            table_check_interval: Duration::from_secs(60),
            compact: CompactSettings::default(),
            fold_after: None,
            keep_versions: 10,
            cleanup_interval: Duration::from_secs(600),
            cleanup_grace: Duration::from_secs(3600),
        }
    }
}
