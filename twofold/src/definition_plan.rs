//! What it means to make a pipeline the present definitions: told before anything is changed.
//!
//! In: a pipeline, the registry, the lake and its journal of runs. Out: what is added, changed, kept and dropped, and
//! by which parts; what has to be read for it, and how long that took before; what whoever asks will miss.
//! Guarantee: nothing is written. Rows and bytes are told by the statistics of files, times by what tasks of past runs
//! took; where nothing was measured, nothing is said.
//! Not here: comparing pipelines (`views::PipelineDifference`), how answers would change (`definition_plan/sample.rs`),
//! the words (`definition_plan/words.rs`), making it so (`serving_layer::registry`).

pub mod sample;
pub mod words;

use std::sync::Arc;

use anyhow::{Context, Result};
use batch_layer::RecomputeSettings;
use batch_layer::recompute::{Chosen, Estimate, Mode, RecomputeComponents, plan_recompute};
use lake::Lake;
use positions::DefinitionNumber;
use records::master::MasterDataset;
use serde::Serialize;
use serving_layer::registry::{DefinitionRegistry, DefinitionSet};
use serving_layer::{BatchViewStore, ServingError, Version};
use views::{ChangeKind, NamedChange, PartKind, Pipeline, PipelineDifference, PlannedView, SourceDefinition};
use workflow::{Overview, Workflow};

use crate::environment::{RandomIds, SystemClock};
use crate::gateway_memory::MemoryByView;
use crate::runs::rate::{Rate, estimated_time, measured_rate, side_by_side};

/// What applying a pipeline would do.
#[derive(Clone, Debug, Serialize)]
pub struct DefinitionPlan {
    /// The set that is present, which the plan was made on; `None`: none was registered yet.
    pub planned_on: Option<DefinitionNumber>,
    /// Whether nothing differs.
    pub is_unchanged: bool,
    /// The sources.
    pub sources: Vec<PlannedChange>,
    /// The views.
    pub views: Vec<PlannedChange>,
    /// What has to be read, by source.
    pub reads: Vec<PlannedRead>,
    /// What whoever asks will miss, and what is hardly meant.
    pub warnings: Vec<String>,
}

/// What becomes of a source or a view.
#[derive(Clone, Debug, Serialize)]
pub struct PlannedChange {
    /// Its name.
    pub name: String,
    /// `added`, `changed`, `kept` (written otherwise, nothing is built), `unchanged` or `dropped`.
    pub change: &'static str,
    /// The parts that differ.
    pub parts: Vec<String>,
    /// What the batch view of its present definition holds; `None`: there is none, or it is a source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holds: Option<Held>,
    /// Bytes of its states in the memory of a gateway, as one told; `None`: none was asked, or it is a source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
}

/// What a batch view holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Held {
    /// Rows of states: one for each group of each bucket.
    pub rows: u64,
    /// Bytes of its files, packed.
    pub bytes: u64,
    /// The number of the version.
    pub version: Version,
}

impl DefinitionPlan {
    /// Notes what the views take in the memory of a gateway: the largest of the definitions that it holds of each.
    pub fn note_memory(&mut self, memory: &MemoryByView) {
        for view in &mut self.views {
            view.memory_bytes = memory.get(&view.name).and_then(|by_definition| by_definition.values().max().copied());
        }
    }
}

/// What has to be read of a source to build views.
#[derive(Clone, Debug, Serialize)]
pub struct PlannedRead {
    /// The source.
    pub source: String,
    /// The views.
    pub views: Vec<String>,
    /// How much, by the statistics of files.
    #[serde(flatten)]
    pub estimate: Estimate,
    /// How long it may take; `None`: nothing was measured yet.
    pub estimated_seconds: Option<f64>,
    /// By what that is said.
    pub rate: Option<Rate>,
}

/// Plans on a lake.
#[derive(Clone)]
pub struct Planner {
    registry: DefinitionRegistry,
    lake: Lake,
    workflow: Workflow,
    settings: RecomputeSettings,
}

impl Planner {
    /// For the definitions of a lake; `settings` are those that it will be computed with.
    pub fn new(lake: &Lake, workflow: &Workflow, settings: &RecomputeSettings) -> Self {
        let registry = DefinitionRegistry::new(lake);
        Self { registry, lake: lake.clone(), workflow: workflow.clone(), settings: settings.clone() }
    }

    /// What applying this pipeline would do now.
    ///
    /// # Errors
    /// Where registry, lake or journal cannot be read.
    pub async fn plan(&self, pipeline: &Pipeline) -> Result<DefinitionPlan> {
        let set = self.registry.present().await.context("cannot read the definitions")?;
        let mut warnings = Vec::new();
        let before = match &set {
            Some(set) => self.present_pipeline(set, &mut warnings).await?,
            None => Pipeline::default(),
        };
        let difference = PipelineDifference::between(&before, pipeline);
        let changes = difference.sources.iter().chain(&difference.views);
        warnings.extend(changes.flat_map(|change| change.losses.iter().cloned()));
        warnings.extend(difference.sources.iter().filter_map(|source| mute_source(source, &difference, pipeline)));
        let doubts = pipeline.doubts.iter().filter(|doubt| !pipeline.refusals.contains(doubt));
        warnings.extend(doubts.map(|doubt| format!("line {}: {}; {}", doubt.line, doubt.message, doubt.hint)));
        let mut views = Vec::new();
        for change in &difference.views {
            let holds = match before.view(&change.name) {
                Some(view) => held(&self.lake, view).await?,
                None => None,
            };
            views.push(planned(change, holds));
        }
        let reads = self.reads(pipeline, &difference, &mut warnings).await?;
        Ok(DefinitionPlan {
            planned_on: set.map(|set| set.number),
            is_unchanged: difference.is_empty(),
            sources: difference.sources.iter().map(|change| planned(change, None)).collect(),
            views,
            reads,
            warnings,
        })
    }

    /// The pipeline of the present set. One that this version cannot read is told, and compared as if it were empty.
    async fn present_pipeline(&self, set: &DefinitionSet, warnings: &mut Vec<String>) -> Result<Pipeline> {
        let number = set.number.0;
        let reason = match self.registry.pipeline(set, set.number).await {
            Ok(Some(pipeline)) => return Ok(pipeline),
            Ok(None) => "the version that registered them kept no text".to_owned(),
            Err(error @ ServingError::Corrupt { .. }) => error.to_string(),
            Err(error) => return Err(error).context("cannot read the present definitions"),
        };
        warnings.push(format!("definitions {number} cannot be compared with, and all is shown as added: {reason}"));
        Ok(Pipeline::default())
    }

    /// What has to be read for the views that are to be built.
    async fn reads(
        &self,
        pipeline: &Pipeline,
        difference: &PipelineDifference,
        warnings: &mut Vec<String>,
    ) -> Result<Vec<PlannedRead>> {
        let to_build: Vec<&str> = difference.to_build().collect();
        let mut reads = Vec::new();
        if to_build.is_empty() {
            return Ok(reads);
        }
        let overview = self.workflow.overview().await.context("cannot read the journal of runs")?;
        for source in &pipeline.sources {
            let views: Vec<PlannedView> = pipeline
                .views_of(&source.name)
                .into_iter()
                .filter(|view| to_build.contains(&view.name.as_str()))
                .cloned()
                .collect();
            if views.is_empty() {
                continue;
            }
            let names: Vec<String> = views.iter().map(|view| view.name.to_string()).collect();
            let components = self.components(source, views);
            // Of a definition that was there before, only what came since has to be read.
            match plan_recompute(&components, Mode::Incremental, &self.settings).await {
                Ok(chosen) => reads.push(planned_read(&overview, source, names, &chosen)),
                Err(error) => {
                    warnings.push(format!("what is to be read of source {} is not known: {error}", source.name))
                }
            }
        }
        Ok(reads)
    }

    fn components(&self, source: &Arc<SourceDefinition>, views: Vec<PlannedView>) -> RecomputeComponents {
        RecomputeComponents {
            lake: self.lake.clone(),
            master: MasterDataset::new(&self.lake, Arc::clone(source)),
            views,
            clock: Arc::new(SystemClock),
            ids: Arc::new(RandomIds),
        }
    }
}

/// What the newest batch version of a view holds; `None`: none was published.
///
/// # Errors
/// If its table cannot be read.
pub async fn held(lake: &Lake, view: &PlannedView) -> Result<Option<Held>> {
    let newest = BatchViewStore::new(lake, view.clone()).newest().await;
    let newest = newest.with_context(|| format!("cannot read the batch view of {}", view.name))?;
    Ok(newest.map(|version| {
        let files = version.snapshot.files();
        let (rows, bytes) = (files.iter().map(|file| file.rows).sum(), files.iter().map(|file| file.size_bytes).sum());
        Held { rows, bytes, version: version.number() }
    }))
}

fn planned(change: &NamedChange, holds: Option<Held>) -> PlannedChange {
    let parts = change.parts.iter().map(ToString::to_string).collect();
    PlannedChange { name: change.name.clone(), change: change.kind.as_str(), parts, holds, memory_bytes: None }
}

fn planned_read(overview: &Overview, source: &SourceDefinition, views: Vec<String>, chosen: &Chosen) -> PlannedRead {
    let mut estimate = Estimate::default();
    let mut groups = 0;
    for open in &chosen.plans {
        let of_plan = open.plan().estimate();
        estimate.buckets += of_plan.buckets;
        estimate.rows += of_plan.rows;
        estimate.bytes += of_plan.bytes;
        groups += open.plan().groups.len();
    }
    // A replay is no task, and goes at another pace.
    let rate = measured_rate(&overview.state, &source.name).filter(|_| source.is_recomputed());
    let together = side_by_side(overview, None, groups);
    let time = rate.filter(|_| groups > 0).map(|rate| estimated_time(rate, estimate.bytes, together));
    let estimated_seconds = time.map(|time| time.as_secs_f64());
    PlannedRead { source: source.name.to_string(), views, estimate, estimated_seconds, rate }
}

/// What is to be said where views of a source cannot be answered by their former definitions while they are built.
fn mute_source(source: &NamedChange, difference: &PipelineDifference, pipeline: &Pipeline) -> Option<String> {
    let has_moved = source.parts.iter().any(|part| part.kind == PartKind::Reading && part.name == "topic");
    let of_source = |change: &&NamedChange| {
        let view = pipeline.view(&change.name);
        change.kind == ChangeKind::Changed && view.is_some_and(|view| view.source.name.as_str() == source.name)
    };
    let views: Vec<&str> = difference.views.iter().filter(of_source).map(|change| change.name.as_str()).collect();
    (has_moved && !views.is_empty()).then(|| {
        format!(
            "source {} is read from another topic: until they are built, {} do not answer",
            source.name,
            views.join(", ")
        )
    })
}
