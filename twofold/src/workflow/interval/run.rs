//! The loop of `batch.interval` and `batch.housekeeping_interval`: looks at what is due, and starts a run of what has
//! something new, or something to be done.
//!
//! Guarantee: nothing is started while all runs are paused, or a recompute by hand holds others off
//! (`batch_layer::hold`). A look costs what the first step of a recompute does, and reads no row; what cannot be looked
//! at is told in the status, and looked at again soon.
//! Former definitions that still answer have runs of their own, whatever schedules name their views: each is computed
//! over its own definition of the source, whatever that reads today, and no more once the present one answers.
//! Why also by definitions that others took the place of: in a rolling upgrade they answer until the new ones do.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use batch_layer::BatchContext;
use batch_layer::hold::HoldWatch;
use batch_layer::recompute::{News, report_round};
use lake::Lake;
use positions::{Clock, DefinitionHash, IdSource, SourceName, ViewName};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, info, warn};
use views::{Pipeline, PlannedView, SourceDefinition};
use workflow::{Priority, Refused, RunId, RunKind, RunMode, State, Workflow, WorkflowError};

use super::{INTERVAL, Pace};
use crate::config::Config;
use crate::definitions::{Definitions, Registered, RunningDefinitions};
use crate::schedules::unscheduled_views;
use crate::wiring::SharedComponents;
use crate::workflow::housekeeping::{HousekeepingPace, due_housekeeping};
use crate::workflow::looks::Looks;
use crate::workflow::news::look;
use crate::workflow::specs::{RunRequest, run_of_former, runs_of};

/// Between two looks whether a hold is over, and between two tries to read the journal first.
const HELD_PAUSE: Duration = Duration::from_secs(1);
/// Longer than anything that is waited for: a change ends it.
const LONG: Duration = Duration::from_secs(3_600);

/// The present views of a source, or one former definition.
type PaceName = (SourceName, Option<(ViewName, DefinitionHash)>);

/// Views that are computed together.
struct Group {
    name: PaceName,
    source: Arc<SourceDefinition>,
    views: Vec<PlannedView>,
}

/// What the loop works with, and what it knows.
pub struct Interval {
    workflow: Workflow,
    lake: Lake,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
    config: Arc<Config>,
    definitions: Definitions,
    registered: watch::Receiver<Registered>,
    looks: Arc<Looks>,
    paces: BTreeMap<PaceName, Pace>,
    housekeeping: HousekeepingPace,
    hold: HoldWatch,
}

impl Interval {
    /// That of a process with these components, with its definitions and what the registry says of them; what is found
    /// is told to `looks`.
    pub fn new(
        shared: &SharedComponents,
        defined: (Definitions, watch::Receiver<Registered>),
        looks: Arc<Looks>,
    ) -> Self {
        let (workflow, lake, config) = (shared.workflow.clone(), shared.lake.clone(), Arc::clone(&shared.config));
        let seams = (Arc::clone(&shared.clock), Arc::clone(&shared.ids));
        Self::of((workflow, lake), config, seams, defined, looks)
    }

    /// The same of parts.
    pub fn of(
        (workflow, lake): (Workflow, Lake),
        config: Arc<Config>,
        (clock, ids): (Arc<dyn Clock>, Arc<dyn IdSource>),
        (definitions, registered): (Definitions, watch::Receiver<Registered>),
        looks: Arc<Looks>,
    ) -> Self {
        Self {
            workflow,
            lake,
            clock,
            ids,
            housekeeping: HousekeepingPace::new(beside(&config), Instant::now()),
            config,
            definitions,
            registered,
            looks,
            paces: BTreeMap::new(),
            hold: HoldWatch::default(),
        }
    }
}

/// Starts what is due. Never ends by itself.
pub async fn compute_at_intervals(mut interval: Interval) {
    let (mut definitions, mut registered) = (interval.definitions.clone(), interval.registered.clone());
    let mut changes = interval.workflow.changes();
    // What is at work is followed, and not begun again.
    while let Err(error) = interval.workflow.refresh().await {
        debug!(%error, "the journal of runs cannot be read yet; trying again");
        sleep(HELD_PAUSE).await;
    }
    loop {
        changes.mark_unchanged();
        let next = interval.step().await.unwrap_or_else(|| Instant::now() + LONG);
        tokio::select! {
            biased;
            () = definitions.changed() => {}
            Ok(()) = registered.changed() => {}
            _ = changes.changed() => {}
            () = sleep_until(next) => {}
        }
    }
}

impl Interval {
    /// Starts what is due now. Returns when something is due next, if nothing changes.
    async fn step(&mut self) -> Option<Instant> {
        let (now, set, state) = (Instant::now(), self.definitions.current(), self.workflow.state());
        let due = self.due(&set, &state, now);
        if state.is_paused {
            return None;
        }
        let is_housekeeping_due = self.housekeeping.is_due(&state, now);
        if due.is_empty() && !is_housekeeping_due {
            return self.next();
        }
        let mut is_held = false;
        for group in due {
            is_held |= self.begin(group).await;
        }
        // Whoever asks by hand would lose the race.
        if is_held || is_housekeeping_due && self.hold.look(&self.lake, Instant::now()).await {
            return Some(Instant::now() + HELD_PAUSE);
        }
        if is_housekeeping_due {
            self.begin_housekeeping(set).await;
            self.housekeeping.begin(Instant::now());
        }
        self.next()
    }

    /// What is due, with the views that are.
    fn due(&mut self, set: &RunningDefinitions, state: &State, now: Instant) -> Vec<Group> {
        let mut groups = groups_of(set, &self.config);
        self.paces.retain(|name, _| groups.iter().any(|group| group.name == *name));
        let is_present = |view: &ViewName| {
            let mut present = groups.iter().filter(|group| group.name.1.is_none()).flat_map(|group| &group.views);
            present.any(|kept| kept.name == *view)
        };
        self.looks.keep(is_present);
        let being_built = being_built(set, &self.registered.borrow());
        for group in &mut groups {
            let source = &group.source.name;
            let batch = &self.config.batch;
            let interval = if group.name.1.is_some() { beside(&self.config) } else { batch.interval };
            let new = || Pace::new(interval, batch.backoff, state.last_run);
            let is_new = !self.paces.contains_key(&group.name);
            let pace = self.paces.entry(group.name.clone()).or_insert_with(new);
            let named: Vec<(ViewName, DefinitionHash)> =
                group.views.iter().map(|view| (view.name.clone(), view.hash)).collect();
            pace.keep(&named, now);
            if is_new {
                pace.adopt(state, source);
            }
            pace.follow(state, source, now);
            // What realtime keeps of a new definition begins above its first cut: it takes a later one to answer.
            if group.name.1.is_none() {
                let former = set.former.iter().map(|former| &former.view.name);
                let new = being_built.iter().filter(|view| pace.is_computed(view));
                let hastened: Vec<&ViewName> = former.chain(new).collect();
                hastened.into_iter().for_each(|view| pace.hasten(view, self.config.archive.commit_interval, now));
            }
            let due = pace.due(now);
            group.views.retain(|view| due.contains(&view.name));
        }
        groups.retain(|group| !group.views.is_empty());
        groups
    }

    fn next(&self) -> Option<Instant> {
        self.paces.values().filter_map(Pace::next).chain([self.housekeeping.next()]).min()
    }

    /// Looks for what is new of these views, and starts a run of those that have something. Returns whether somebody
    /// who asks by hand holds that off; a look finds what is wrong with the store all the same, and first.
    async fn begin(&mut self, mut group: Group) -> bool {
        let last = self.workflow.state().last_run;
        let news = self.look(&group).await;
        let now = Instant::now();
        let is_former = group.name.1.is_some();
        let Some(pace) = self.paces.get_mut(&group.name) else { return false };
        // Of a view, its present definition is told.
        if !is_former {
            report_round(&news.round, 0.0);
        }
        for (view, outcome) in &news.round {
            match outcome {
                Ok(_) => pace.rest(view, now),
                Err(_) => pace.fail(view, now),
            }
            match outcome {
                Ok(_) if is_former => {}
                Ok(_) => self.looks.note_nothing(view, last),
                Err(error) if is_former => warn!(%view, %error, "a former definition cannot be looked at"),
                Err(error) => self.looks.note_failed(view, error.to_string()),
            }
        }
        group.views.retain(|view| news.views.contains(&view.name));
        if group.views.is_empty() {
            return false;
        }
        if self.hold.look(&self.lake, Instant::now()).await {
            return true;
        }
        if !is_former {
            news.views.iter().for_each(|view| self.looks.forget(view));
        }
        let started = self.start(&group).await;
        let Some(pace) = self.paces.get_mut(&group.name) else { return false };
        match started {
            Some(run) => pace.begin(run),
            None => news.views.iter().for_each(|view| pace.fail(view, now)),
        }
        false
    }

    async fn look(&self, group: &Group) -> News {
        let looked = look(&self.lake, (&self.clock, &self.ids), &group.source, group.views.clone());
        looked.await.unwrap_or_else(|error| {
            let error = Arc::new(error);
            let failed = group.views.iter().map(|view| (view.name.clone(), Err(Arc::clone(&error))));
            News { round: failed.collect(), ..News::default() }
        })
    }

    /// The run that was started, or is there already.
    async fn start(&self, group: &Group) -> Option<RunId> {
        let source = &group.source.name;
        let asked = request(source, group.views.iter().map(|view| view.name.clone()).collect());
        let (mut spec, tasks) = match (&group.name.1, group.views.first()) {
            (Some(_), Some(view)) => run_of_former(view, &asked, &self.config),
            _ => {
                let (sources, views) = (vec![Arc::clone(&group.source)], group.views.clone());
                match runs_of(&Pipeline { sources, views, ..Pipeline::default() }, &asked, &self.config) {
                    Ok(mut runs) => runs.pop()?,
                    Err(error) => {
                        warn!(%source, error = format!("{error:#}"), "what is due cannot be started");
                        return None;
                    }
                }
            }
        };
        // A view that fails for good is tried again at its own pace, and keeps no other from its next version.
        spec.cause_key = None;
        match self.workflow.start(spec, &tasks).await {
            Ok(start) => {
                info!(run = %start.run(), %source, "run of what is new started");
                Some(start.run())
            }
            Err(error) => {
                warn!(%source, %error, "run of what is new was not started; trying again");
                None
            }
        }
    }

    /// Looks what is due of housekeeping, and starts runs of it.
    async fn begin_housekeeping(&mut self, set: RunningDefinitions) {
        let context = BatchContext {
            lake: self.lake.clone(),
            pipeline: set.pipeline,
            clock: Arc::clone(&self.clock),
            ids: Arc::clone(&self.ids),
        };
        for (spec, tasks) in due_housekeeping(&context, &self.definitions, &self.config).await {
            let Some(spec) = self.housekeeping.start(spec, &self.workflow.state(), Instant::now()) else { continue };
            let source = spec.source.clone();
            match self.workflow.start(spec, &tasks).await {
                Ok(start) => info!(run = %start.run(), %source, "run of housekeeping started"),
                Err(WorkflowError::Refused(Refused::SameFailure { run, .. })) => {
                    debug!(%run, %source, "housekeeping would fail as it did");
                }
                Err(error) => warn!(%source, %error, "run of housekeeping was not started; trying again"),
            }
        }
    }
}

/// From one look at housekeeping, or at a former definition, to the next: however seldom views are computed, what the
/// realtime store keeps for former definitions has an end.
fn beside(config: &Config) -> Duration {
    config.batch.housekeeping_interval.min(config.batch.interval)
}

/// The views whose present definition does not answer yet, as the registry said last.
fn being_built(set: &RunningDefinitions, registered: &Registered) -> Vec<ViewName> {
    let is_known = registered.number == Some(set.number);
    registered.being_built.iter().filter(|_| is_known).map(ViewName::new).collect()
}

/// The views that no schedule names, by source, and each former definition that still answers.
fn groups_of(set: &RunningDefinitions, config: &Config) -> Vec<Group> {
    let unscheduled = unscheduled_views(config, &set.pipeline);
    let mut groups = Vec::new();
    for source in &set.pipeline.sources {
        let views = unscheduled.iter().filter(|view| view.source.name == source.name);
        let views: Vec<PlannedView> = views.map(|view| (*view).clone()).collect();
        if !views.is_empty() {
            groups.push(Group { name: (source.name.clone(), None), source: Arc::clone(source), views });
        }
        // One in kappa mode is kept by the speed layer alone, as long as it answers.
        let former = set.former.iter().map(|former| &former.view).filter(|view| view.source.is_recomputed());
        for view in former.filter(|view| view.source.name == source.name) {
            let name = (source.name.clone(), Some((view.name.clone(), view.hash)));
            groups.push(Group { name, source: Arc::clone(&view.source), views: vec![view.clone()] });
        }
    }
    groups
}

fn request(source: &SourceName, views: Vec<ViewName>) -> RunRequest {
    RunRequest {
        source: Some(source.clone()),
        views,
        mode: RunMode::Incremental,
        kind: RunKind::Recompute,
        priority: Priority::Scheduled,
        retries: None,
        max_concurrent: None,
        idempotency_key: None,
        deadline: None,
        schedule: Some(INTERVAL.to_owned()),
    }
}
