//! The command line: every command and flag, in the words of its help.

mod definitions;
mod explain;
mod import;
mod key;
pub mod repair;
pub mod runs;
mod settings;
mod source;
mod target;
mod test;
mod verify;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::client::OnError;
use crate::config::quantity::parse_duration;

pub use definitions::{
    ApplyArguments, DiffArguments, HowApplied, PlanArguments, RollbackArguments, ValidateArguments, ViewsArguments,
    WholeArguments,
};
pub use explain::ExplainArguments;
pub use import::{ImportArguments, OnBadEvent};
pub use key::{KeyCommand, NewKeyArguments};
pub use settings::{SettingsArguments, UpArguments};
pub use source::{EraseArguments, ResetArguments, ResetFrom, SourceCommand};
pub use target::TargetArguments;
pub use test::TestArguments;
pub use verify::VerifyArguments;

/// Aggregates over an event stream, fresh to the second and exact in the end.
#[derive(Debug, Parser)]
#[command(
    name = "twofold",
    version,
    about,
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong command line or configuration, \
                  3 not done now (apply, batch run, runs start, lake repair, test, verify), 4 no longer verifiable (verify).\n\
                  Settings: --config FILE < environment TWOFOLD_<SECTION>__<KEY> < flags."
)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// How and where logs are written.
    #[command(flatten)]
    pub logs: LogArguments,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run everything in one process: log, archive, both layers, collector and gateway on one port.
    Up(WholeArguments),
    /// Run the collector alone (needs brokers).
    Collector(UpArguments),
    /// Run the archive alone: log to master dataset (needs brokers).
    Archive(UpArguments),
    /// Run a speed worker alone (needs brokers and Redis).
    Speed(UpArguments),
    /// Compute and publish batch views.
    Batch(BatchArguments),
    /// Work at runs alone: takes their tasks, and leads where nobody else does (needs the lake).
    Worker(UpArguments),
    /// Run a gateway alone (needs Redis).
    Gateway(UpArguments),
    /// Run the scheduler of machines that compute large groups together (batch.engine = "ballista"): one of them.
    ///
    /// It keeps nothing that is not elsewhere: started again, it gets the work of the workers again. Its port has
    /// neither TLS nor keys, and belongs into a private network.
    Scheduler(SettingsArguments),
    /// Run one of the machines that compute large groups together (needs the lake, and a scheduler).
    ///
    /// Waits for its scheduler as long as it takes. Its port has neither TLS nor keys, and belongs into a private
    /// network.
    Executor(SettingsArguments),
    /// Say what making the definitions of a pipeline the present ones would change, and what that costs.
    ///
    /// Nothing is changed. Works on the lake alone, whether or not a system runs.
    Plan(PlanArguments),
    /// Make the definitions of a pipeline the present ones, also where newer ones have taken their place.
    ///
    /// It says what `plan` says, and commits. All processes on the lake follow within a second or two, without being
    /// started again; changed views are built beside, and their former definitions answer until that is done. Of two
    /// who apply at once, one is told that the other was first (exit code 3).
    Apply(ApplyArguments),
    /// Go back to the definitions that were present before, as a whole or of one view.
    ///
    /// What was built of them is still there for a time and has to catch up only; called again, it goes forward again.
    Rollback(RollbackArguments),
    /// Show the views of the present definitions: who answers them, what is being built, what each holds.
    Views(ViewsArguments),
    /// Compare two batch versions of a view, group by group.
    Diff(DiffArguments),
    /// Watch realistic traffic go through both layers, with every number checked.
    Demo(DemoArguments),
    /// Send the demo's traffic to a running system whose pipeline is examples/demo/pipeline.sql.
    Generate(GenerateArguments),
    /// Send files of events through the collector.
    ///
    /// Read are JSON lines, JSON arrays and objects one after another, CSV with a header row, Parquet and Arrow, each
    /// plain or packed with gzip, zstd or bzip2. What a file is, its first bytes tell, not its name.
    ///
    /// Loading a file again is safe where the source names event ids: what is there already counts once. Where it names
    /// none, the command says so, and every further load counts all events again.
    Load(LoadArguments),
    /// Put whole files of events into the master dataset of a source, without collector and log.
    ///
    /// For history: read are the files that `load` reads, objects of the store that the lake is in, and Delta tables; a
    /// system may run meanwhile. Views have the events from their next batch version on. A file that is in is skipped,
    /// so that a call that was cut short is gone on with by the next one.
    Import(ImportArguments),
    /// Ask a running system in SQL.
    Query(QueryArguments),
    /// Show what one number of a running system was made of: batch version and files, runs, events; with a receipt that
    /// `twofold verify` can check later.
    Explain(ExplainArguments),
    /// Read a pipeline file and say what it defines, or everything that is wrong with it.
    Validate(ValidateArguments),
    /// Run the unit tests of a pipeline's views, which stand in tests/*.toml beside it: given these events, this view
    /// answers that.
    ///
    /// Each test is run through both layers, in memory: batch alone, realtime alone, and both after random histories.
    /// It starts nothing else and writes nothing. Exit code 1: a test failed, or the pipeline or a test is wrong;
    /// 3: there is no test.
    Test(TestArguments),
    /// Compute the newest version of a view, or what a receipt is about, from the master dataset again, and say what
    /// differs.
    ///
    /// It works on the lake alone, whether or not a system runs, and changes nothing. Exit code 1: a value differs by
    /// more than the class of its measure allows. Of a receipt also 3: not archived yet; 4: no longer verifiable, since
    /// events were erased or lost, or the definition is gone.
    Verify(VerifyArguments),
    /// Show the progress of a running system.
    Status(StatusArguments),
    /// Show the newest records of a source that no event could be read from, and why.
    Rejected(RejectedArguments),
    /// Check directory, ports and stores before a start.
    Doctor(UpArguments),
    /// Say whether the process with these settings answers on its port of this machine, as health checks ask.
    Health(SettingsArguments),
    /// Act on one source.
    #[command(subcommand)]
    Source(SourceCommand),
    /// Make the keys that requests are known by.
    #[command(subcommand)]
    Key(KeyCommand),
    /// Erase events of a source from everything that is stored of it: log, master dataset, views, realtime views.
    ///
    /// Without --yes it says what would be erased. What was erased stays out of whatever is built again from the log;
    /// events that come later count. With the embedded log, stop the system first; with brokers it may run. A call that
    /// was cut short is gone on with by the next one.
    Erase(EraseArguments),
    /// Start, watch and stop runs: computations of batch views that processes share.
    ///
    /// All of it works on the lake alone, whether or not a system runs.
    #[command(subcommand)]
    Runs(runs::RunsCommand),
    /// Act on the tables of the lake.
    #[command(subcommand)]
    Lake(repair::LakeCommand),
    /// Look into the event log: through the running system, or in its data directory when none runs.
    #[command(subcommand)]
    Log(LogCommand),
}

/// What to see of the event log.
#[derive(Debug, Subcommand)]
pub enum LogCommand {
    /// Show the records of a source, and those that come.
    Tail(TailArguments),
}

/// Arguments of `log tail`.
#[derive(Debug, Args)]
pub struct TailArguments {
    /// The source.
    pub source: String,
    /// Begin at this offset of each partition [default: a few records before the end].
    #[arg(long, value_name = "OFFSET", value_parser = clap::value_parser!(i64).range(0..))]
    pub from: Option<i64>,
    /// Show this partition alone.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(i32).range(0..))]
    pub partition: Option<i32>,
    /// Most records per read, 1 to 1,000.
    #[arg(long, value_name = "COUNT", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub limit: u16,
    /// Show what there is, and end.
    #[arg(long)]
    pub no_follow: bool,
    /// The pipeline: where no system runs, it tells the topic of the source [default: one of the same name].
    #[arg(long, env = "TWOFOLD_PIPELINE", value_name = "FILE")]
    pub pipeline: Option<PathBuf>,
    /// The system.
    #[command(flatten)]
    pub target: TargetArguments,
}

/// How and where logs are written.
#[derive(Clone, Debug, Args)]
pub struct LogArguments {
    /// Form of log lines, on standard error.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// What to log, for example `info` or `info,speed_layer=debug`.
    #[arg(long, global = true, env = "TWOFOLD_LOG", value_name = "FILTER")]
    pub log: Option<String>,
}

/// Form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Arguments of `batch`.
#[derive(Debug, Args)]
pub struct BatchArguments {
    /// What the batch layer is to do.
    #[command(subcommand)]
    pub command: BatchCommand,
}

/// What the batch layer is to do.
#[derive(Debug, Subcommand)]
pub enum BatchCommand {
    /// Compute and publish once.
    ///
    /// May run beside a system: what is due is held off meanwhile, in every process on the same lake, and what is lost
    /// to another publisher nevertheless is computed again. Exit code 0: published, or there is nothing to publish yet,
    /// for one of three reasons (no data, nothing new, waits for a silence). 3: another publisher kept being first; or,
    /// with `--full`, a view was not published.
    Run {
        /// The pipeline; without it, the present definitions of the lake.
        #[arg(long, env = "TWOFOLD_PIPELINE", value_name = "FILE")]
        pipeline: Option<PathBuf>,
        /// Settings.
        #[command(flatten)]
        settings: SettingsArguments,
        /// Recompute everything, not only the buckets that received events.
        #[arg(long)]
        full: bool,
        /// Only this view (may be repeated).
        #[arg(long, value_name = "NAME")]
        view: Vec<String>,
    },
    /// Compute and publish again and again, at the configured interval.
    Loop(UpArguments),
}

/// Arguments of `demo`.
#[derive(Clone, Debug, Args)]
pub struct DemoArguments {
    /// Settings.
    #[command(flatten)]
    pub settings: SettingsArguments,
    /// Events a second.
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    pub rate: u32,
    /// Equal seeds make equal traffic.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Pages of the site.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub pages: u32,
    /// End after this span, for example `60s`; without it the demo runs until ctrl-c.
    #[arg(long = "for", value_name = "SPAN", value_parser = parse_duration)]
    pub span: Option<Duration>,
}

/// Arguments of `generate`.
#[derive(Clone, Debug, Args)]
pub struct GenerateArguments {
    /// Lines a second.
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    pub rate: u32,
    /// Equal seeds make equal visits, at different times; without one, a seed is drawn and printed.
    #[arg(long)]
    pub seed: Option<u64>,
    /// End after this span, for example `60s`; without it traffic flows until ctrl-c or SIGTERM.
    #[arg(long = "for", value_name = "SPAN", value_parser = parse_duration)]
    pub span: Option<Duration>,
    /// Which running system is meant.
    #[command(flatten)]
    pub target: TargetArguments,
}

/// Arguments of `load`.
#[derive(Clone, Debug, Args)]
pub struct LoadArguments {
    /// The files, or patterns such as 'logs/*.gz' in quotes; `-` is standard input.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// The source that the events belong to.
    #[arg(long)]
    pub source: String,
    /// Events a second at most.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub rate: Option<u64>,
    /// What becomes of events that cannot be decoded: kept in the log with their reason, or left out.
    #[arg(long, value_enum, default_value_t = OnError::Keep)]
    pub on_error: OnError,
    /// Give up after no event has been taken for this long; until then, events are sent again.
    #[arg(long, value_name = "SPAN", default_value = "2m", value_parser = parse_duration)]
    pub give_up_after: Duration,
    /// Give up on a file after so many rejected events in a row; 0: never.
    #[arg(long, value_name = "COUNT", default_value_t = 1_000)]
    pub give_up_after_bad: u64,
    /// Which running system is meant.
    #[command(flatten)]
    pub target: TargetArguments,
}

/// Arguments of `query`.
#[derive(Clone, Debug, Args)]
pub struct QueryArguments {
    /// A SELECT over the views.
    pub sql: String,
    /// Print the answer as JSON instead of a table.
    #[arg(long)]
    pub json: bool,
    /// Which running system is meant.
    #[command(flatten)]
    pub target: TargetArguments,
}

/// Arguments of `status`.
#[derive(Clone, Debug, Args)]
pub struct StatusArguments {
    /// Print everything that is known as JSON instead of tables.
    #[arg(long)]
    pub json: bool,
    /// Which running system is meant.
    #[command(flatten)]
    pub target: TargetArguments,
}

/// Arguments of `rejected`.
#[derive(Clone, Debug, Args)]
pub struct RejectedArguments {
    /// The source.
    pub source: String,
    /// Most records to show, 1 to 100.
    #[arg(long, value_name = "COUNT", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub limit: u16,
    /// Show the records of this kind of reason alone, as the counts name it; for example `wrong_type`.
    #[arg(long, value_name = "KIND")]
    pub reason: Option<String>,
    /// Have all records of the source judged again now, after its definition or this program was mended: a full
    /// recompute of its views by the batch role of the running system. Waits for its end, says how many came back.
    #[arg(long, conflicts_with_all = ["limit", "reason"])]
    pub read_again: bool,
    /// Print the answer as JSON instead of tables.
    #[arg(long)]
    pub json: bool,
    /// Which running system is meant.
    #[command(flatten)]
    pub target: TargetArguments,
}

impl Command {
    /// Whether the command runs until it is stopped, and tells of its life in the log.
    pub fn is_server(&self) -> bool {
        match self {
            Self::Up(_) | Self::Collector(_) | Self::Archive(_) | Self::Speed(_) => true,
            Self::Worker(_) | Self::Gateway(_) => true,
            Self::Scheduler(_) | Self::Executor(_) => true,
            Self::Batch(batch) => matches!(batch.command, BatchCommand::Loop(_)),
            _ => false,
        }
    }
}
