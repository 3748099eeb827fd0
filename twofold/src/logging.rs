//! Log lines on standard error, as text or JSON.

use tracing_subscriber::EnvFilter;

use anyhow::{Context, Result};

use crate::arguments::{LogArguments, LogFormat};

/// What is logged where nothing else is said: our lifecycle, and only trouble from the libraries below.
const SERVER_FILTER: &str = "info,tansu_broker=warn,tansu_storage=warn,tansu_service=warn,librdkafka=warn,delta_kernel=warn,deltalake_core=warn";

/// Commands that print an answer keep quiet about how they came to it.
const QUIET_FILTER: &str = "warn,tansu_broker=error,tansu_storage=error,tansu_service=error,librdkafka=error";

/// Starts logging for the process.
///
/// # Errors
/// If the filter cannot be understood, or logging was started before.
pub fn start_logging(arguments: &LogArguments, is_server: bool) -> Result<()> {
    let default = if is_server { SERVER_FILTER } else { QUIET_FILTER };
    let filter = arguments.log.as_deref().unwrap_or(default);
    let filter = EnvFilter::try_new(filter).with_context(|| format!("--log `{filter}` is no log filter"))?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match arguments.log_format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("logging cannot be started: {error}"))
}
