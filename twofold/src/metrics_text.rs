//! The recorder behind `/metrics`: one per process, shared by all systems in it.

use std::sync::Mutex;

use anyhow::{Context, Result};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
// Written once, by the first system of the process; tests start several.
static RECORDER: Mutex<Option<PrometheusHandle>> = Mutex::new(None);

/// Installs the recorder where it is missing, and gives it out.
///
/// # Errors
/// If another recorder was installed by somebody else.
pub fn install_recorder() -> Result<PrometheusHandle> {
    let mut recorder = RECORDER.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let handle = match recorder.as_ref() {
        Some(handle) => handle.clone(),
        None => PrometheusBuilder::new().install_recorder().context("cannot install the metrics recorder")?,
    };
    *recorder = Some(handle.clone());
    Ok(handle)
}
