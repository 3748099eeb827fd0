//! The arguments of `twofold lake`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::arguments::SettingsArguments;

/// What to do to the lake.
#[derive(Debug, Subcommand)]
pub enum LakeCommand {
    /// Say what happened to the tables of the lake, and mend what can be mended.
    ///
    /// Looks for what other tools committed to our tables, for versions that cannot be read, and for files that are
    /// gone. Without --yes nothing is changed. What other tools did is left out; a version that cannot be read is
    /// replaced by the last one that can, and what was archived since is read from the log again; rows of files that
    /// are gone are read from the log again. Each table is mended by one commit, so that the system may run meanwhile;
    /// only to read the embedded log, stop it first. Exit code 3: there is something to mend.
    Repair(RepairArguments),
}

/// Arguments of `lake repair`.
#[derive(Debug, Args)]
pub struct RepairArguments {
    /// Look at this table alone, for example raw/visits (may be repeated) [default: all].
    #[arg(long, value_name = "FOLDER")]
    pub table: Vec<String>,
    /// Look at the master dataset of this source alone (may be repeated).
    #[arg(long, value_name = "NAME")]
    pub source: Vec<String>,
    /// Do it, instead of saying what would be done.
    #[arg(long)]
    pub yes: bool,
    /// Give up the records that neither a file nor the log holds any more: answers name them as holes.
    #[arg(long, requires = "yes")]
    pub accept_loss: bool,
    /// The pipeline, where files of a master dataset are gone; without it, the present definitions of
    /// the lake.
    #[arg(long, env = "TWOFOLD_PIPELINE", value_name = "FILE")]
    pub pipeline: Option<PathBuf>,
    /// Settings.
    #[command(flatten)]
    pub settings: SettingsArguments,
}
