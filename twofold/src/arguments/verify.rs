//! Arguments of `verify`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use positions::TimestampMicros;

use super::SettingsArguments;
use crate::config::quantity::parse_duration;
use crate::runs::instant::parse_instant;

/// Arguments of `verify`.
#[derive(Clone, Debug, Args)]
pub struct VerifyArguments {
    /// The view; or a file with a receipt, as `twofold explain --receipt` printed it, whose name has a `.` or a `/`; or
    /// `-`: a receipt from standard input.
    #[arg(value_name = "VIEW|RECEIPT")]
    pub subject: String,
    /// Of a receipt: wait so long for the archive to come to its head.
    #[arg(long, value_name = "SPAN", value_parser = parse_duration, default_value = "1m")]
    pub wait: Duration,
    /// Only a stretch of event time, from here on: a date, or an instant such as 2026-01-31T12:00:00Z; the start of a
    /// bucket.
    #[arg(long, value_name = "TIME", value_parser = parse_instant, requires = "to")]
    pub from: Option<TimestampMicros>,
    /// The first instant behind the stretch, likewise.
    #[arg(long, value_name = "TIME", value_parser = parse_instant, requires = "from")]
    pub to: Option<TimestampMicros>,
    /// Print JSON instead of text.
    #[arg(long)]
    pub json: bool,
    /// The pipeline; without it, the present definitions of the lake.
    #[arg(long, env = "TWOFOLD_PIPELINE", value_name = "FILE")]
    pub pipeline: Option<PathBuf>,
    /// Settings.
    #[command(flatten)]
    pub settings: SettingsArguments,
}
