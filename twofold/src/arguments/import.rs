//! Arguments of `import`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::SettingsArguments;

/// Arguments of `import`.
#[derive(Clone, Debug, Args)]
pub struct ImportArguments {
    /// The files: paths, patterns such as 'logs/*.parquet' in quotes, s3://bucket/key or s3://bucket/folder/*.parquet
    /// of the store that the lake is in, folders of Delta tables.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// The source that the events belong to.
    #[arg(long)]
    pub source: String,
    /// What becomes of events that cannot be decoded.
    #[arg(long, value_enum, default_value_t = OnBadEvent::Keep)]
    pub on_error: OnBadEvent,
    /// Give up on a file after so many rejected records in a row; 0: never.
    #[arg(long, value_name = "COUNT", default_value_t = 1_000)]
    pub give_up_after_bad: u64,
    /// Import files that are in already, or of whose name another one is in, as files of their own. Where the source
    /// names event ids, copies of events count once; where it names none, they count again.
    #[arg(long)]
    pub again: bool,
    /// The pipeline; without it, the present definitions of the lake.
    #[arg(long, env = "TWOFOLD_PIPELINE", value_name = "FILE")]
    pub pipeline: Option<PathBuf>,
    /// Settings.
    #[command(flatten)]
    pub settings: SettingsArguments,
}

/// What becomes of an event of a file that cannot be decoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum OnBadEvent {
    /// It is stored with its reason, counted as rejected, and in no answer.
    #[default]
    Keep,
    /// Its file is not imported.
    Refuse,
}
