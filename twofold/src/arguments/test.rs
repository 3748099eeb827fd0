//! Arguments of `test`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::config::quantity::parse_duration;

/// Arguments of `test`.
#[derive(Clone, Debug, Args)]
pub struct TestArguments {
    /// The pipeline file, or a folder that holds one as pipeline.sql.
    #[arg(default_value = ".", value_name = "PIPELINE")]
    pub pipeline: PathBuf,
    /// Only tests whose names hold this text.
    #[arg(long, value_name = "TEXT")]
    pub only: Option<String>,
    /// Histories of each test beside those of batch alone and of realtime alone: with events that come later and
    /// twice, in random bursts and partitions, and publications between them.
    #[arg(long, value_name = "COUNT", default_value_t = 5, value_parser = clap::value_parser!(u64).range(..=100_000))]
    pub runs: u64,
    /// Seed of the first of these histories, the next numbers are those of the others. Equal seeds make equal
    /// histories.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Give up a history that has no answer after this long.
    #[arg(long, value_name = "SPAN", default_value = "1m", value_parser = parse_duration)]
    pub time_limit: Duration,
    /// Print what came of the tests as JSON.
    #[arg(long)]
    pub json: bool,
}
