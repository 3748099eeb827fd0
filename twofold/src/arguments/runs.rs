//! Arguments of `runs`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use positions::TimestampMicros;

use super::SettingsArguments;
use crate::config::quantity::parse_duration;
use crate::runs::asked::MOST;
use crate::runs::filter::{StateFilter, parse_state};
use crate::runs::instant::parse_instant;

/// What to do with runs.
#[derive(Clone, Debug, Subcommand)]
pub enum RunsCommand {
    /// List runs, the newest first, and the processes that take part.
    List(ListArguments),
    /// Show a run: its tasks, how far they are, and the buckets of a backfill.
    Show(ShowArguments),
    /// Start a run for each source that has such views, or find the one that does the same already.
    ///
    /// Processes that take part do it: those of `twofold up`, `twofold batch loop` and `twofold worker`. Exit code with
    /// --wait: 0 done, 1 failed, 3 not done (cancelled, or paused).
    Start(StartArguments),
    /// Compute the buckets of a stretch of event time once more.
    ///
    /// Without --yes it says what would be computed, and starts nothing. A failed task is not tried again by itself:
    /// `twofold runs retry` does what failed, and nothing that is done.
    Backfill(BackfillArguments),
    /// From now on no task of a run is taken, without a number none of any run; what is at work goes on to its end.
    Pause(SomeRunArguments),
    /// End a pause of a run, without a number that of all; runs that were paused one by one stay so.
    Resume(SomeRunArguments),
    /// End a run: none of its tasks is taken any more, and nothing more of it is published.
    Cancel(RunArguments),
    /// Do again what failed, was skipped or cancelled in a run, and nothing that is done.
    Retry(RunArguments),
    /// Watch a run, without a number all that have not ended, until they have.
    Watch(WatchArguments),
}

/// Arguments of `runs list`.
#[derive(Clone, Debug, Args)]
pub struct ListArguments {
    /// Most runs to show, 1 to 1,000.
    #[arg(long, value_name = "COUNT", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub limit: u16,
    /// Only runs that stand there: all, open (not ended), queued, running, paused, done, failed, cancelled.
    #[arg(long, value_name = "STATE", default_value = "all", value_parser = parse_state)]
    pub state: StateFilter,
    /// Only runs of this source.
    #[arg(long, value_name = "NAME")]
    pub source: Option<String>,
    /// Only runs that compute this view.
    #[arg(long, value_name = "NAME")]
    pub view: Option<String>,
    /// Only runs that were asked for at this date or instant (2026-01-31T12:00:00Z), or later.
    #[arg(long, value_name = "TIME", value_parser = parse_instant)]
    pub since: Option<TimestampMicros>,
    /// Only runs with lower numbers: those behind the last one of a list before.
    #[arg(long, value_name = "RUN", value_parser = clap::value_parser!(u64).range(1..))]
    pub before: Option<u64>,
    /// Print all that is known of them as JSON instead of a table.
    #[arg(long)]
    pub json: bool,
    /// Settings.
    #[command(flatten)]
    pub settings: SettingsArguments,
}

/// Arguments of `runs show`.
#[derive(Clone, Debug, Args)]
pub struct ShowArguments {
    /// The number of the run.
    #[arg(value_name = "RUN", value_parser = clap::value_parser!(u64).range(1..))]
    pub run: u64,
    /// Most tasks to show, 1 to 20,000.
    #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=20_000))]
    pub tasks: u16,
    /// Print all that is known of it as JSON instead of tables.
    #[arg(long)]
    pub json: bool,
    /// The pipeline; without it, the present definitions of the lake.
    #[arg(long, env = "TWOFOLD_PIPELINE", value_name = "FILE")]
    pub pipeline: Option<PathBuf>,
    /// Settings.
    #[command(flatten)]
    pub settings: SettingsArguments,
}

/// Arguments of `runs start`.
#[derive(Clone, Debug, Args)]
pub struct StartArguments {
    /// Only this view (may be repeated).
    #[arg(long, value_name = "NAME")]
    pub view: Vec<String>,
    /// Only views of this source; with --housekeeping, only its tables.
    #[arg(long, value_name = "NAME")]
    pub source: Option<String>,
    /// Compute everything, not only the buckets that received events.
    #[arg(long)]
    pub full: bool,
    /// Compute nothing, but look after the tables now: merge small files, fold old buckets, delete what is old.
    #[arg(long, conflicts_with_all = ["view", "full"])]
    pub housekeeping: bool,
    /// Say what would be computed and what that costs, or with --housekeeping what is due, and start nothing.
    #[arg(long, conflicts_with = "wait")]
    pub dry_run: bool,
    /// A second start with the same key is the same run.
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
    /// Notices tell of a run that takes longer, for example `1h`.
    #[arg(long, value_name = "SPAN", value_parser = parse_duration)]
    pub deadline: Option<Duration>,
    /// How a run goes on.
    #[command(flatten)]
    pub shown: FollowArguments,
}

/// Arguments of `runs backfill`.
#[derive(Clone, Debug, Args)]
pub struct BackfillArguments {
    /// The view (may be repeated).
    #[arg(long, value_name = "NAME", required = true)]
    pub view: Vec<String>,
    /// Where the stretch begins: a date, or an instant such as 2026-01-31T12:00:00Z; the start of a bucket.
    #[arg(long, value_name = "TIME", value_parser = parse_instant)]
    pub from: TimestampMicros,
    /// The first instant behind the stretch, likewise; `--from 2026-01-01 --to 2026-02-01` is January.
    #[arg(long, value_name = "TIME", value_parser = parse_instant)]
    pub to: TimestampMicros,
    /// Leave out buckets that the view has rows of.
    #[arg(long)]
    pub only_missing: bool,
    /// Tasks at one time at most.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST)))]
    pub max_concurrent: Option<u32>,
    /// Start it; without this it is only said what would be computed.
    #[arg(long)]
    pub yes: bool,
    /// How a run goes on.
    #[command(flatten)]
    pub shown: FollowArguments,
}

/// What happens behind a start.
#[derive(Clone, Debug, Args)]
pub struct FollowArguments {
    /// Watch until all has ended. Given up, runs go on.
    #[arg(long)]
    pub wait: bool,
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

/// A run.
#[derive(Clone, Debug, Args)]
pub struct RunArguments {
    /// The number of the run.
    #[arg(value_name = "RUN", value_parser = clap::value_parser!(u64).range(1..))]
    pub run: u64,
    /// Settings.
    #[command(flatten)]
    pub settings: SettingsArguments,
}

/// A run, or all of them.
#[derive(Clone, Debug, Args)]
pub struct SomeRunArguments {
    /// The number of the run.
    #[arg(value_name = "RUN", value_parser = clap::value_parser!(u64).range(1..))]
    pub run: Option<u64>,
    /// Settings.
    #[command(flatten)]
    pub settings: SettingsArguments,
}

/// Arguments of `runs watch`.
#[derive(Clone, Debug, Args)]
pub struct WatchArguments {
    /// The number of the run.
    #[arg(value_name = "RUN", value_parser = clap::value_parser!(u64).range(1..))]
    pub run: Option<u64>,
    /// Print a line of JSON at each change instead of bars.
    #[arg(long)]
    pub json: bool,
    /// Settings.
    #[command(flatten)]
    pub settings: SettingsArguments,
}
