//! Settings of the tables; values only.

/// How tables are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LakeSettings {
    /// A checkpoint is written each time the version is a multiple of this; at least 1.
    pub checkpoint_interval: u32,
    /// Rows in one row group of a data file: the unit in which a scan skips rows.
    pub row_group_rows: usize,
    /// The zstd level of data files: 1 is fast, 3 is a tenth smaller.
    pub compression_level: i32,
}

impl Default for LakeSettings {
    fn default() -> Self {
        Self { checkpoint_interval: 20, row_group_rows: 128 * 1024, compression_level: 1 }
    }
}
