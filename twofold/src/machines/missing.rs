//! The machines of a build that has none.

use std::sync::Arc;

use anyhow::{Error, Result, anyhow};
use batch_layer::PlanEngine;
use lake::Lake;
use positions::IdSource;
use tokio_util::sync::CancellationToken;

use crate::config::{BallistaSection, Config};
use crate::data_dir::DataDir;

/// Nobody: the settings were refused where they ask for somebody.
pub fn engine(_config: &Config, _ids: &dyn IdSource) -> Option<Arc<dyn PlanEngine>> {
    None
}

/// There is none.
///
/// # Errors
/// Always.
pub async fn check_scheduler(_settings: &BallistaSection, _ids: &dyn IdSource) -> Result<bool> {
    Err(not_built())
}

/// There is none.
///
/// # Errors
/// Always.
pub async fn run_scheduler(_config: &Config, _shutdown: CancellationToken) -> Result<()> {
    Err(not_built())
}

/// There is none.
///
/// # Errors
/// Always.
pub async fn run_executor(
    _config: &Config,
    _data_dir: &DataDir,
    _lake: &Lake,
    _shutdown: CancellationToken,
) -> Result<()> {
    Err(not_built())
}

fn not_built() -> Error {
    anyhow!("this build of twofold has no Ballista; build it with its default features")
}
