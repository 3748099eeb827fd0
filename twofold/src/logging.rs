//! Log lines on standard error, as text or JSON.

use std::io::IsTerminal;

use anyhow::{Context, Result};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

use crate::arguments::{LogArguments, LogFormat};
use crate::console::LogLines;

/// What is logged where nothing else is said: our own lifecycle, and only trouble from the libraries below.
const SERVER_FILTER: &str = "warn,twofold=info,lake=info,event_log=info,records=info,edge=info,collector=info,\
                             serving_layer=info,batch_layer=info,workflow=info,speed_layer=info,query_gateway=info";

/// In front of the filter of a server: which requests are noted is said by `access.audit`, not by how much else is
/// logged. Whoever names the target in a filter of their own has the last word.
const AUDIT: &str = "audit=info";

/// Commands that print an answer keep quiet about how they came to it.
const QUIET_FILTER: &str = "error,twofold=warn,event_log=warn";

/// Starts logging for the process.
///
/// # Errors
/// If the filter cannot be understood, or logging was started before.
pub fn start_logging(arguments: &LogArguments, is_server: bool) -> Result<()> {
    let default = if is_server { SERVER_FILTER } else { QUIET_FILTER };
    let filter = arguments.log.as_deref().unwrap_or(default);
    let read = if is_server { with_audit(filter) } else { EnvFilter::try_new(filter) };
    let filter = read.with_context(|| format!("`--log {filter}` is not a log filter"))?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(|| LogLines);
    let started = match arguments.log_format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("logging cannot be started: {error}"))
}

fn with_audit(filter: &str) -> Result<EnvFilter, ParseError> {
    // What an empty filter lets through by itself.
    let filter = if filter.is_empty() { "error" } else { filter };
    EnvFilter::try_new(format!("{AUDIT},{filter}"))
}
