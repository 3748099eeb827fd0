//! Arguments of the commands that are about definitions.

use std::path::PathBuf;

use clap::Args;

use super::settings::{SettingsArguments, UpArguments};
use super::target::TargetArguments;
use crate::config::quantity::parse_size;
use crate::version_diff::VersionedView;

/// Arguments of `up`.
#[derive(Clone, Debug, Args)]
pub struct WholeArguments {
    /// Pipeline and settings.
    #[command(flatten)]
    pub up: UpArguments,
    /// Make the definitions of the pipeline the present ones, also where newer ones have taken their place; without it,
    /// a process that starts with such definitions runs the newer ones.
    #[arg(long)]
    pub apply: bool,
}

/// Arguments of `validate`.
#[derive(Clone, Debug, Args)]
pub struct ValidateArguments {
    /// The pipeline file.
    pub pipeline: PathBuf,
    /// Configuration file it will run with: warns where pipeline and settings fit badly together.
    #[arg(long, env = "TWOFOLD_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Arguments of `plan`.
#[derive(Clone, Debug, Args)]
pub struct PlanArguments {
    /// The pipeline file.
    pub pipeline: PathBuf,
    /// Compute changed views by both definitions from the newest events, and say how answers differ.
    #[arg(long)]
    pub sample: bool,
    /// Most bytes of files to read for the sample of a view.
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = parse_size, requires = "sample")]
    pub sample_size: u64,
    /// Print the plan as JSON.
    #[arg(long)]
    pub json: bool,
    /// Address of a running system, which is asked what views take in its memory; without it, the one that runs on the
    /// data directory, where there is one.
    #[arg(long, env = "TWOFOLD_ADDRESS", hide_env_values = true, value_name = "URL")]
    pub address: Option<String>,
    /// Settings.
    #[command(flatten)]
    pub settings: SettingsArguments,
}

/// Arguments of `apply`.
#[derive(Clone, Debug, Args)]
pub struct ApplyArguments {
    /// Pipeline and settings.
    #[command(flatten)]
    pub up: UpArguments,
    /// How it is done.
    #[command(flatten)]
    pub how: HowApplied,
}

/// Arguments of `rollback`.
#[derive(Clone, Debug, Args)]
pub struct RollbackArguments {
    /// The view that goes back alone; without it, the whole set.
    pub view: Option<String>,
    /// Settings.
    #[command(flatten)]
    pub settings: SettingsArguments,
    /// How it is done.
    #[command(flatten)]
    pub how: HowApplied,
}

/// How definitions come to be served.
#[derive(Clone, Copy, Debug, Args)]
pub struct HowApplied {
    /// Let the new definitions of all views answer in one step, once the last of them is built; without it, each view
    /// as soon as it is.
    #[arg(long)]
    pub together: bool,
    /// Wait until the new definitions answer, and show how far they are.
    #[arg(long)]
    pub wait: bool,
}

/// Arguments of `views`.
#[derive(Clone, Debug, Args)]
pub struct ViewsArguments {
    /// Print the answer as JSON.
    #[arg(long)]
    pub json: bool,
    /// Address of a running system, which is asked what views take in its memory; without it, the one that runs on the
    /// data directory, where there is one.
    #[arg(long, env = "TWOFOLD_ADDRESS", hide_env_values = true, value_name = "URL")]
    pub address: Option<String>,
    /// Settings.
    #[command(flatten)]
    pub settings: SettingsArguments,
}

/// Arguments of `diff`.
#[derive(Clone, Debug, Args)]
pub struct DiffArguments {
    /// The first version, as in hits_by_page@12; or in hits_by_page@3:12, the version 12 of the view as definitions 3
    /// have it.
    #[arg(value_name = "VIEW@VERSION", value_parser = VersionedView::parse)]
    pub before: VersionedView,
    /// The second version, likewise.
    #[arg(value_name = "VIEW@VERSION", value_parser = VersionedView::parse)]
    pub after: VersionedView,
    /// Compare by these dimensions alone, with commas between them: versions of one definition.
    #[arg(long, value_name = "NAMES")]
    pub by: Option<String>,
    /// Most groups to show; of versions of two definitions, for each measure.
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    pub limit: usize,
    /// Most groups that a version of one definition may have.
    #[arg(long, value_name = "COUNT", default_value_t = 100_000)]
    pub most: usize,
    /// Print all groups that differ as JSON.
    #[arg(long)]
    pub json: bool,
    /// Configuration file that says where the lake is: versions of two definitions are read there.
    #[arg(long, env = "TWOFOLD_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Which running system is meant.
    #[command(flatten)]
    pub target: TargetArguments,
}
