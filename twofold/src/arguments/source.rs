//! The command lines of what is done to one source.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand, ValueEnum};

use super::settings::SettingsArguments;
use crate::config::quantity::parse_duration;

/// What to do to a source.
#[derive(Debug, Subcommand)]
pub enum SourceCommand {
    /// Begin the next life of a topic that was replaced or lost records.
    ///
    /// A source stops when its topic is not the one that is archived any more. This commits to the master dataset that
    /// the topic of the moment follows the archived one: nothing archived is lost, what was never archived is a hole
    /// that answers name. Both layers then count the topic from its start. With the embedded log, stop the system
    /// first.
    Reset(ResetArguments),
}

/// Arguments of `source reset`.
#[derive(Debug, Args)]
pub struct ResetArguments {
    /// The source.
    pub source: String,
    /// Count the topic from its first record, or from the next that comes: where it is the archived topic that lost its
    /// newest records, what is left of it was counted already.
    #[arg(long, value_enum, default_value_t = ResetFrom::Start)]
    pub from: ResetFrom,
    /// The pipeline; without it, the present definitions of the lake.
    #[arg(long, env = "TWOFOLD_PIPELINE", value_name = "FILE")]
    pub pipeline: Option<PathBuf>,
    /// Settings.
    #[command(flatten)]
    pub settings: SettingsArguments,
}

/// Arguments of `erase`.
#[derive(Debug, Args)]
pub struct EraseArguments {
    /// The source.
    #[arg(long)]
    pub source: String,
    /// Erase the events for which this SQL condition on the source's columns is true, as in "user_id = 'u17'";
    /// `_partition` and `_offset` name a record.
    #[arg(long = "where", value_name = "CONDITION", value_parser = NonEmptyStringValueParser::new())]
    pub condition: Option<String>,
    /// Erase the rejected records whose payload holds this text, which no condition on columns finds. An empty one,
    /// which all hold, is refused.
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    pub containing: Option<String>,
    /// Erase the events of the days of UTC that are older than this, counted from the newest record, as in 90d; of
    /// rejected records the time of the record counts. Views lose them as well.
    #[arg(long, value_name = "AGE", value_parser = parse_duration)]
    pub older_than: Option<Duration>,
    /// Do it. With neither condition, text nor age, only go on with what was begun.
    #[arg(long)]
    pub yes: bool,
    /// The pipeline; without it, the present definitions of the lake.
    #[arg(long, env = "TWOFOLD_PIPELINE", value_name = "FILE")]
    pub pipeline: Option<PathBuf>,
    /// Settings.
    #[command(flatten)]
    pub settings: SettingsArguments,
}

/// From which record on the topic of the next life counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ResetFrom {
    /// From its first one: it is another topic.
    Start,
    /// From the next one that comes: what it holds is archived already, as where it lost its newest records.
    End,
}
