//! What a run is asked for with, checked against the pipeline before anything is started.
//!
//! Guarantee: pure. What names a view, source or range that cannot be computed is refused here, with the way out, and
//! not by a task of a run minutes later.

use std::time::Duration;

use batch_layer::BatchError;
use batch_layer::recompute::check_range;
use positions::{SourceName, TimestampMicros, ViewName};
use views::{Pipeline, PlannedView};
use workflow::{Priority, RunKind, RunMode, RunSpec, TaskSpec};

use crate::config::Config;
use crate::kappa::not_recomputed;
use crate::workflow::housekeeping::housekeeping_runs_of;
use crate::workflow::specs::{RunRequest, runs_of};

/// The longest idempotency key, in bytes: with the name of a source it fits into an entry many times.
const LONGEST_KEY: usize = 200;
/// More than tasks are ever tried again or done at one time.
pub const MOST: u32 = 1_000;

/// What is asked for, by hand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Views of this source alone.
    pub source: Option<String>,
    /// These views; empty: all.
    pub views: Vec<String>,
    /// Everything again, not only what received rows.
    pub full: bool,
    /// A stretch of event time, `[from, to)`: a backfill.
    pub range: Option<AskedRange>,
    /// No views are computed, but tables are looked after.
    pub housekeeping: bool,
    /// The most tasks of a run at one time.
    pub max_concurrent: Option<u32>,
    /// How often a task is tried again.
    pub retries: Option<u32>,
    /// How long a run may take before somebody is told.
    pub deadline: Option<Duration>,
    /// A second request with the same key is the same runs.
    pub idempotency_key: Option<String>,
}

/// A stretch of event time, `[from, to)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AskedRange {
    /// The first instant.
    pub from: TimestampMicros,
    /// The first one behind it.
    pub to: TimestampMicros,
    /// Leave out buckets that are there already.
    pub only_missing: bool,
}

/// Why nothing is started.
#[derive(Debug, thiserror::Error)]
pub enum AskedError {
    /// A name that the pipeline does not have.
    #[error("there is no {what} `{name}`; the pipeline has: {}", .known.join(", "))]
    Unknown {
        /// What it would be.
        what: &'static str,
        /// The name.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// What does not fit together.
    #[error("{0}")]
    Bad(String),
    /// A range that cannot be computed of a view.
    #[error(transparent)]
    Range(#[from] BatchError),
}

impl Asked {
    /// The runs, each with its first tasks.
    ///
    /// # Errors
    /// What is wrong with what is asked for.
    pub fn runs(&self, pipeline: &Pipeline, config: &Config) -> Result<Vec<(RunSpec, Vec<TaskSpec>)>, AskedError> {
        if self.housekeeping {
            return self.housekeeping_runs(pipeline, config);
        }
        runs_of(pipeline, &self.request(pipeline)?, config).map_err(|error| AskedError::Bad(format!("{error:#}")))
    }

    /// All housekeeping of the sources that are meant, by hand.
    fn housekeeping_runs(
        &self,
        pipeline: &Pipeline,
        config: &Config,
    ) -> Result<Vec<(RunSpec, Vec<TaskSpec>)>, AskedError> {
        if self.full || self.range.is_some() || !self.views.is_empty() {
            let told = "housekeeping is of sources: leave views, a range and `full` out".to_owned();
            return Err(AskedError::Bad(told));
        }
        self.check_source(pipeline)?;
        self.check_numbers()?;
        let mut runs = housekeeping_runs_of(pipeline, &[], config);
        runs.retain(|(spec, _)| self.source.as_ref().is_none_or(|source| spec.source.as_str() == source));
        for (at, (spec, _)) in runs.iter_mut().enumerate() {
            spec.priority = Priority::ByHand;
            spec.retries = self.retries.unwrap_or(spec.retries);
            spec.max_concurrent = self.max_concurrent.or(spec.max_concurrent);
            spec.deadline = self.deadline;
            spec.idempotency_key = self.idempotency_key.as_ref().map(|key| format!("{key}/{at}"));
        }
        Ok(runs)
    }

    /// The request for runs.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn request(&self, pipeline: &Pipeline) -> Result<RunRequest, AskedError> {
        self.check_names(pipeline)?;
        self.check_numbers()?;
        if let Some(range) = self.range {
            self.check_range(pipeline, range)?;
        }
        let mode = match self.range {
            Some(AskedRange { from, to, only_missing }) => RunMode::Buckets { from, to, only_missing },
            None if self.full => RunMode::Full,
            None => RunMode::Incremental,
        };
        let is_backfill = self.range.is_some();
        Ok(RunRequest {
            source: self.source.as_ref().map(SourceName::new),
            views: self.views.iter().map(ViewName::new).collect(),
            mode,
            kind: if is_backfill { RunKind::Backfill } else { RunKind::Recompute },
            priority: if is_backfill { Priority::Backfill } else { Priority::ByHand },
            retries: self.retries,
            max_concurrent: self.max_concurrent,
            idempotency_key: self.idempotency_key.clone(),
            deadline: self.deadline,
            schedule: None,
        })
    }

    fn check_source(&self, pipeline: &Pipeline) -> Result<(), AskedError> {
        let sources = || pipeline.sources.iter().map(|source| source.name.as_str());
        match self.source.as_ref().filter(|name| !sources().any(|known| known == name.as_str())) {
            Some(name) => Err(unknown("source", name, sources())),
            None => Ok(()),
        }
    }

    fn check_names(&self, pipeline: &Pipeline) -> Result<(), AskedError> {
        self.check_source(pipeline)?;
        let of_source = |view: &&PlannedView| {
            self.source.as_ref().is_none_or(|source| view.source.name.as_str() == source.as_str())
        };
        let views = || pipeline.views.iter().filter(of_source).map(|view| view.name.as_str());
        if let Some(name) = self.views.iter().find(|name| !views().any(|known| known == name.as_str())) {
            return Err(unknown("view", name, views()));
        }
        if views().next().is_none() {
            return Err(AskedError::Bad("there is no view to compute".to_owned()));
        }
        let is_named = |view: &&PlannedView| self.views.iter().any(|name| name == view.name.as_str());
        let asked = pipeline.views.iter().filter(of_source).filter(|view| self.views.is_empty() || is_named(view));
        let (computed, left): (Vec<&PlannedView>, Vec<_>) = asked.partition(|view| view.source.is_recomputed());
        match left.first() {
            Some(view) if computed.is_empty() || !self.views.is_empty() => Err(AskedError::Bad(not_recomputed(view))),
            _ => Ok(()),
        }
    }

    fn check_numbers(&self) -> Result<(), AskedError> {
        if self.max_concurrent.is_some_and(|most| !(1..=MOST).contains(&most)) {
            return Err(AskedError::Bad(format!("`max_concurrent` must be 1 to {MOST}")));
        }
        if self.retries.is_some_and(|retries| retries > MOST) {
            return Err(AskedError::Bad(format!("`retries` must be 0 to {MOST}")));
        }
        if self.deadline.is_some_and(|deadline| deadline.is_zero()) {
            return Err(AskedError::Bad("`deadline` must be longer than nothing".to_owned()));
        }
        let is_key =
            |key: &str| (1..=LONGEST_KEY).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
        if self.idempotency_key.as_deref().is_some_and(|key| !is_key(key)) {
            let told =
                format!("an idempotency key must be 1 to {LONGEST_KEY} letters, digits and signs without blanks");
            return Err(AskedError::Bad(told));
        }
        Ok(())
    }

    fn check_range(&self, pipeline: &Pipeline, range: AskedRange) -> Result<(), AskedError> {
        if self.full {
            return Err(AskedError::Bad("a range is computed, or everything: leave one of them out".to_owned()));
        }
        if self.views.is_empty() {
            return Err(AskedError::Bad("a range is computed of views that are named: name them".to_owned()));
        }
        for view in pipeline.views.iter().filter(|view| self.views.iter().any(|name| name == view.name.as_str())) {
            check_range(view, range.from, range.to)?;
        }
        Ok(())
    }
}

fn unknown<'a>(what: &'static str, name: &str, known: impl Iterator<Item = &'a str>) -> AskedError {
    AskedError::Unknown { what, name: name.to_owned(), known: known.map(str::to_owned).collect() }
}
