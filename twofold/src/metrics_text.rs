//! The recorder behind `/metrics`, one per process and shared by all systems in it, and the text that it renders, with
//! what the operating system knows of the process behind it.
//!
//! The one place that knows the exporter.

use std::sync::Mutex;

use anyhow::{Context, Result};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

use crate::{metric_catalogue, notify, process_metrics};

// Written once, by the first system of the process; tests start several.
static RECORDER: Mutex<Option<PrometheusHandle>> = Mutex::new(None);

/// The text of `/metrics`, from the recorder of the process; empty without one.
#[derive(Clone, Default)]
pub struct MetricsText(Option<PrometheusHandle>);

impl MetricsText {
    /// The metrics in Prometheus text format.
    pub fn render(&self) -> String {
        self.0.as_ref().map(|recorder| recorder.render() + &process_metrics::render()).unwrap_or_default()
    }
}

/// Installs the recorder where it is missing, and gives out its text.
///
/// # Errors
/// If another recorder was installed by somebody else.
pub fn install_recorder() -> Result<MetricsText> {
    let mut recorder = RECORDER.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let handle = match recorder.as_ref() {
        Some(handle) => handle.clone(),
        None => {
            let handle = PrometheusBuilder::new().install_recorder().context("cannot install the metrics recorder")?;
            metric_catalogue::describe();
            notify::metrics::announce();
            handle
        }
    };
    *recorder = Some(handle.clone());
    Ok(MetricsText(Some(handle)))
}
