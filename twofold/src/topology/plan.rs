//! Which duties there should be, and the steps from those that there are: pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use positions::{SourceName, ViewName};
use views::{Pipeline, PlannedView, SourceDefinition, ViewDefinition};

use crate::role::{Role, Roles};
use crate::stage::Stage;

/// What one stage does for one source.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duty {
    /// The stage.
    pub stage: Stage,
    /// The source; `None`: all of them.
    pub source: Option<SourceName>,
    /// The view, where it has a generation of its own to be kept; `None`: all of the source.
    pub view: Option<ViewName>,
}

impl Duty {
    /// The duty of a stage towards one source.
    pub fn of(stage: Stage, source: &SourceName) -> Self {
        Self { stage, source: Some(source.clone()), view: None }
    }

    /// The duty of the speed layer towards the generation of a view.
    pub fn of_generation(view: &ViewDefinition) -> Self {
        Self { view: Some(view.name.clone()), ..Self::of(Stage::Speed, &view.source.name) }
    }

    /// What the gateway does for all sources.
    pub const ANSWERS: Self = Self { stage: Stage::Gateway, source: None, view: None };

    /// Runs of the workflow, of whichever source.
    pub const RUNS: Self = Self { stage: Stage::Batch, source: None, view: None };

    /// Whether it takes over another subject without having been stopped.
    fn changes_in_place(&self) -> bool {
        matches!(self.stage, Stage::Intake | Stage::Gateway)
    }
}

impl fmt::Display for Duty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.source, &self.view) {
            (Some(source), Some(view)) => write!(f, "{} of {source}, view {view}", self.stage.name()),
            (Some(source), None) => write!(f, "{} of {source}", self.stage.name()),
            (None, _) => f.write_str(self.stage.name()),
        }
    }
}

/// The definitions that a duty is about: those of its source, and of as many views as it has to do with.
#[derive(Clone, Debug)]
pub struct Subject(pub Pipeline);

impl PartialEq for Subject {
    fn eq(&self, other: &Self) -> bool {
        let views = |subject: &Self| -> Vec<_> {
            let views = subject.0.views.iter();
            views.map(|view| (view.name.clone(), view.hash, view.sql.clone())).collect()
        };
        self.0.sources == other.0.sources && views(self) == views(other)
    }
}

/// Duties, each with what it is about.
pub type Duties = BTreeMap<Duty, Subject>;

/// The duties of a process with these roles. Sources whose topic cannot be used are neither archived nor kept in
/// realtime; what is known of them is answered nevertheless. Each view of a source in kappa mode is kept by itself, so
/// that one which changes or is added leaves the others alone.
pub fn desired_duties(pipeline: &Pipeline, roles: &Roles, unusable: &BTreeSet<SourceName>) -> Duties {
    let mut duties = Duties::new();
    let is_usable = |source: &Arc<SourceDefinition>| !unusable.contains(&source.name);
    for source in &pipeline.sources {
        let views: Vec<PlannedView> =
            pipeline.views.iter().filter(|view| view.source.name == source.name).cloned().collect();
        let alone = Pipeline { sources: vec![source.clone()], ..Pipeline::default() };
        let generations = views.iter().filter(|view| view.generation().is_some());
        if roles.has(Role::Speed) && is_usable(source) {
            let subject = |view: &PlannedView| Subject(Pipeline { views: vec![view.clone()], ..alone.clone() });
            duties.extend(generations.map(|view| (Duty::of_generation(view), subject(view))));
        }
        let whole = Pipeline { views, ..alone.clone() };
        let of_source = [
            (Stage::Intake, roles.has(Role::Collector), &alone),
            (Stage::Archive, roles.has(Role::Archive) && is_usable(source), &alone),
            (Stage::Speed, roles.has(Role::Speed) && is_usable(source), &whole),
        ];
        let wanted = of_source.into_iter().filter(|(_, is_wanted, _)| *is_wanted);
        duties.extend(wanted.map(|(stage, _, about)| (Duty::of(stage, &source.name), Subject(about.clone()))));
    }
    if roles.take_part_in_runs() {
        // About no definitions: each task asks for those of the moment.
        duties.insert(Duty::RUNS, Subject(Pipeline::default()));
    }
    if roles.has(Role::Gateway) {
        duties.insert(Duty::ANSWERS, Subject(pipeline.clone()));
    }
    duties
}

/// The steps from the duties that there are to those that there should be. Every stop comes before every start.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Difference {
    /// To be stopped one after the other: in the direction of the data.
    pub stops: Vec<Duty>,
    /// To be started one after the other: in the direction of the data, but intake last, when all behind it stands.
    pub starts: Vec<DutyStart>,
}

/// A duty to start; one that runs takes the subject over in place of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct DutyStart {
    /// The duty.
    pub duty: Duty,
    /// What it is about.
    pub subject: Subject,
}

/// Compares what runs with what should run.
pub fn difference(running: &Duties, desired: &Duties) -> Difference {
    let stops = running.iter().filter(|(duty, subject)| match desired.get(*duty) {
        None => true,
        Some(wanted) => wanted != *subject && !duty.changes_in_place(),
    });
    let stops: Vec<Duty> = stops.map(|(duty, _)| duty.clone()).collect();
    let starts = desired.iter().filter(|(duty, subject)| running.get(*duty) != Some(*subject));
    let start = |(duty, subject): (&Duty, &Subject)| DutyStart { duty: duty.clone(), subject: subject.clone() };
    let mut starts: Vec<DutyStart> = starts.map(start).collect();
    starts.sort_by_key(|start| start.duty.stage == Stage::Intake);
    Difference { stops, starts }
}
