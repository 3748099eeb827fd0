//! Where a command has its settings from.

use std::path::PathBuf;

use clap::Args;

/// Where settings come from, and the few that have a flag.
#[derive(Clone, Debug, Default, Args)]
pub struct SettingsArguments {
    /// Configuration file; config/default.toml documents every key.
    #[arg(long, env = "TWOFOLD_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Data directory [default: ./twofold-data; demo: a temporary one].
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Address of the HTTP port [default: 127.0.0.1:8080; demo: a free port].
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: Option<String>,
}

/// Arguments of the roles.
#[derive(Clone, Debug, Args)]
pub struct UpArguments {
    /// The pipeline: sources and views in SQL.
    #[arg(long, env = "TWOFOLD_PIPELINE", value_name = "FILE")]
    pub pipeline: PathBuf,
    /// Settings.
    #[command(flatten)]
    pub settings: SettingsArguments,
}
