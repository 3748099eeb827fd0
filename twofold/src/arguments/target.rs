//! Which running system a command speaks to.

use std::path::PathBuf;

use clap::Args;

use crate::trust::Trust;

/// Which running system is meant.
#[derive(Clone, Debug, Args)]
pub struct TargetArguments {
    /// Address of the system; without it the one that runs on the data directory.
    #[arg(long, env = "TWOFOLD_ADDRESS", hide_env_values = true, value_name = "URL")]
    pub address: Option<String>,
    /// Data directory of the running system.
    #[arg(long, default_value = "twofold-data", value_name = "DIR")]
    pub data_dir: PathBuf,
    /// Whom to believe, and what to show.
    #[command(flatten)]
    pub trust: Trust,
    /// File that holds the key to show, where the system asks for one; or the key itself in TWOFOLD_KEY.
    #[arg(long, env = "TWOFOLD_KEY_FILE", value_name = "FILE")]
    pub key_file: Option<PathBuf>,
}
