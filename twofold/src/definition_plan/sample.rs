//! How answers would change: the present and the planned definitions of changed views, computed from the newest events
//! and compared.
//!
//! Guarantee: nothing is written; so much is read as the caller says, for each view. What cannot be sampled says why.
//! Not here: computing (`batch_layer::recompute::sample`).

use std::fmt::Write as _;

use anyhow::{Context, Result, ensure};
use batch_layer::BatchError;
use batch_layer::recompute::{Sampled, sample};
use indicatif::{HumanBytes, HumanCount};
use serde::Serialize;
use views::{Pipeline, PlannedView};

use super::{DefinitionPlan, Planner};
use crate::compared::{Compared, WORST};
use crate::runs::instant::instant_text;

/// How the answers of a changed view would differ.
#[derive(Clone, Debug, Serialize)]
pub struct PlannedSample {
    /// The view.
    pub view: String,
    /// What was read; null where nothing was.
    pub read: Option<SampleRead>,
    /// What differs, likewise.
    pub compared: Option<Compared>,
    /// Why nothing was; null where something was.
    pub reason: Option<String>,
}

/// What a sample was computed from.
#[derive(Clone, Debug, Serialize)]
pub struct SampleRead {
    /// The first instant of event time; null: it begins with the first event.
    pub from: Option<String>,
    /// The first instant behind it; null: it ends with the last event.
    pub to: Option<String>,
    /// Rows, about.
    pub rows: u64,
    /// Bytes of files, about.
    pub bytes: u64,
}

impl Planner {
    /// A sample of each view that a plan changes, each of at most `limit_bytes` of files.
    ///
    /// # Errors
    /// Where the registry cannot be read, or holds others than those that were planned on.
    pub async fn samples(
        &self,
        pipeline: &Pipeline,
        plan: &DefinitionPlan,
        limit_bytes: u64,
    ) -> Result<Vec<PlannedSample>> {
        let unread = "cannot read the definitions";
        let Some(set) = self.registry.present().await.context(unread)? else { return Ok(Vec::new()) };
        let is_planned_on = plan.planned_on == Some(set.number);
        ensure!(is_planned_on, "others registered definitions meanwhile: plan again");
        let Some(before) = self.registry.pipeline(&set, set.number).await.context(unread)? else {
            return Ok(Vec::new());
        };
        let mut samples = Vec::new();
        for change in plan.views.iter().filter(|change| change.change == "changed") {
            let (Some(former), Some(newer)) = (before.view(&change.name), pipeline.view(&change.name)) else {
                continue;
            };
            samples.push(planned_sample(&change.name, self.sample([former, newer], limit_bytes).await));
        }
        Ok(samples)
    }

    async fn sample(&self, [former, newer]: [&PlannedView; 2], limit_bytes: u64) -> Result<Sampled, BatchError> {
        let [of_former, of_newer] = [former, newer].map(|view| self.components(&view.source, vec![view.clone()]));
        sample([(&of_former, former), (&of_newer, newer)], limit_bytes, WORST, &self.settings).await
    }
}

fn planned_sample(view: &str, sampled: Result<Sampled, BatchError>) -> PlannedSample {
    let view = view.to_owned();
    match sampled {
        Ok(found) => {
            let (from, to) = (found.from.and_then(instant_text), found.to.and_then(instant_text));
            let read = SampleRead { from, to, rows: found.rows, bytes: found.bytes };
            let compared = Compared::new(&found.comparable, found.comparison);
            PlannedSample { view, read: Some(read), compared: Some(compared), reason: None }
        }
        Err(error) => PlannedSample { view, read: None, compared: None, reason: Some(error.to_string()) },
    }
}

/// Samples in words.
pub fn describe_samples(samples: &[PlannedSample]) -> String {
    let mut text = String::new();
    for sample in samples {
        let _ = match (&sample.read, &sample.reason) {
            (Some(read), _) => {
                let (rows, bytes) = (HumanCount(read.rows), HumanBytes(read.bytes));
                let from =
                    read.from.as_ref().map_or_else(|| "all events".to_owned(), |from| format!("events from {from}"));
                let to = read.to.as_ref().map(|to| format!(" to {to}")).unwrap_or_default();
                writeln!(text, "sample of view {}: {from}{to}, about {rows} rows in {bytes}", sample.view)
            }
            (None, reason) => writeln!(text, "no sample: {}", reason.as_deref().unwrap_or(&sample.view)),
        };
        sample.compared.iter().for_each(|compared| compared.describe(&mut text, 2));
    }
    text
}
