//! `twofold plan` and `twofold apply`: say what making the definitions of a pipeline the present ones means, and do it.
//!
//! Not here: the plan (`definition_plan.rs`), what running processes make of it (`following.rs`).

pub(super) mod run;

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use lake::Lake;
use positions::DefinitionNumber;
use serde::Serialize;
use serving_layer::registry::{Applied, DefinitionRegistry, Flip};
use views::{Pipeline, PlannedView};
use workflow::Workflow;

use super::runs::draw::json_line;
use super::{NotDone, open_lake, with_key};
use crate::arguments::{ApplyArguments, HowApplied, PlanArguments, SettingsArguments};
use crate::client::Client;
use crate::compared::{Compared, WORST};
use crate::config::Config;
use crate::console::say;
use crate::definition_plan::sample::{PlannedSample, describe_samples};
use crate::definition_plan::words::describe;
use crate::definition_plan::{DefinitionPlan, Planner, held};
use crate::environment::{RandomIds, SystemClock};
use crate::gateway_memory::{MemoryByView, ask_memory};
use crate::pipeline_file::read_runnable;
use crate::stored_versions::{DefinedViews, StoredVersion, compare_stored};
use crate::trust::Trust;

/// The definitions of a lake, whether or not a system runs on it.
pub(super) struct OpenedDefinitions {
    pub(super) lake: Lake,
    pub(super) registry: DefinitionRegistry,
    pub(super) workflow: Workflow,
    config: Config,
}

impl OpenedDefinitions {
    /// Finds the lake that the settings name.
    pub(super) async fn open(settings: &SettingsArguments) -> Result<Self> {
        let (config, _, lake) = open_lake(settings).await?;
        let workflow = Workflow::new(&lake, Arc::new(SystemClock), Arc::new(RandomIds));
        Ok(Self { registry: DefinitionRegistry::new(&lake), lake, workflow, config })
    }

    fn planner(&self) -> Planner {
        Planner::new(&self.lake, &self.workflow, &self.config.batch.recompute)
    }

    /// Compares two batch versions, which may be of two definitions; each may take `batch.memory`.
    pub(super) async fn compare(&self, versions: [&StoredVersion; 2], worst: usize) -> Result<Compared> {
        compare_stored(&self.lake, versions, self.config.batch.recompute.memory_bytes, worst).await
    }

    /// What views take in the memory of a gateway; empty where no address is named and none is found or answers.
    pub(super) async fn memory(&self, address: Option<&str>) -> Result<MemoryByView> {
        let ask = async {
            let client = Client::find(address, &self.config.system.data_dir, &Trust::default())?;
            ask_memory(&with_key(client, None)?).await
        };
        match (ask.await, address) {
            (Err(error), Some(_)) => Err(error),
            (asked, _) => Ok(asked.unwrap_or_default()),
        }
    }

    /// Says what making this pipeline the present set means, makes it so, and waits where that is asked for.
    pub(super) async fn apply(&self, pipeline: &Pipeline, how: HowApplied) -> Result<()> {
        let plan = self.planner().plan(pipeline).await?;
        say(&describe(&plan));
        let former = if how.wait { self.former(&plan).await? } else { BTreeMap::new() };
        let flip = if how.together { Flip::Together } else { Flip::OneByOne };
        let applied = self.registry.apply(pipeline, plan.planned_on, flip).await;
        match applied.context("cannot register the view definitions")? {
            Applied::Already(number) => say(&format!("definitions {} are the present ones already\n", number.0)),
            Applied::Now(number) => {
                say(&format!(
                    "definitions {} are the present ones now: processes that run go over to them by themselves\n",
                    number.0
                ));
                if how.wait {
                    run::wait_until_served(self, number, &plan).await?;
                    self.report(pipeline, number, (&plan, &former)).await?;
                }
            }
            Applied::Overtaken(number) => {
                let told = format!(
                    "definitions {} were registered by somebody else meanwhile, and nothing was changed: look at the plan \
                     again, then apply again",
                    number.0
                );
                return Err(NotDone(told).into());
            }
        }
        Ok(())
    }

    /// The definitions that answer the views now which a plan changes.
    async fn former(&self, plan: &DefinitionPlan) -> Result<BTreeMap<String, PlannedView>> {
        let Some(set) = self.registry.present().await.context("cannot read the definitions")? else {
            return Ok(BTreeMap::new());
        };
        let (mut defined, mut former) = (DefinedViews::new(&self.registry, &set), BTreeMap::new());
        for change in plan.views.iter().filter(|change| change.change == "changed") {
            let served = set.views.get(change.name.as_str()).and_then(|state| state.served);
            if let Some(served) = served
                && let Some(view) = defined.view(&change.name, served).await
            {
                former.insert(change.name.clone(), view.clone());
            }
        }
        Ok(former)
    }

    /// What the views hold that were built, and how their answers changed.
    async fn report(
        &self,
        pipeline: &Pipeline,
        number: DefinitionNumber,
        (plan, former): (&DefinitionPlan, &BTreeMap<String, PlannedView>),
    ) -> Result<()> {
        say(&format!("definitions {} answer:\n", number.0));
        for view in &pipeline.views {
            let name = view.name.as_str();
            if !view.source.is_recomputed() {
                say(&format!("  view {name}: kept by the speed layer alone\n"));
                continue;
            }
            let rows = held(&self.lake, view).await?.map_or(0, |held| held.rows);
            let before = plan.views.iter().find(|change| change.name == name).and_then(|change| change.holds);
            let before = match before {
                Some(held) => format!(", {} before", held.rows),
                // Of the set before nothing was built; against what answered, it is compared.
                None if former.contains_key(name) => String::new(),
                None => ", not there before".to_owned(),
            };
            say(&format!("  view {name}: {rows} rows of states{before}\n"));
            if let Some(former) = former.get(name) {
                self.report_change(former, view).await?;
            }
        }
        Ok(())
    }

    /// How the newest version of a view differs from that of the definition that it replaced, if it did.
    async fn report_change(&self, former: &PlannedView, view: &PlannedView) -> Result<()> {
        if former.hash == view.hash {
            return Ok(());
        }
        let found = [StoredVersion::newest(&self.lake, former).await?, StoredVersion::newest(&self.lake, view).await?];
        let [Some(former), Some(newer)] = found else { return Ok(()) };
        let mut text = format!(
            "    version {}, of {} records, against version {} of the former definition, of {} records:\n",
            newer.version.number(),
            newer.records(),
            former.version.number(),
            former.records()
        );
        match self.compare([&former, &newer], WORST).await {
            Ok(compared) => compared.describe(&mut text, 6),
            // The definitions answer all the same.
            Err(error) => text.push_str(&format!("      not compared: {error:#}\n")),
        }
        say(&text);
        Ok(())
    }
}

/// A plan with what it would change in a sample of events.
#[derive(Serialize)]
struct SampledPlan<'a> {
    #[serde(flatten)]
    plan: &'a DefinitionPlan,
    samples: &'a [PlannedSample],
}

/// Runs `plan`.
///
/// # Errors
/// Where a view cannot be run, or registry or lake cannot be read.
pub async fn plan(arguments: &PlanArguments) -> Result<()> {
    let opened = OpenedDefinitions::open(&arguments.settings).await?;
    let pipeline = read_runnable(&arguments.pipeline).await?;
    let planner = opened.planner();
    let mut plan = planner.plan(&pipeline).await?;
    plan.note_memory(&opened.memory(arguments.address.as_deref()).await?);
    if !arguments.sample {
        say(&if arguments.json { json_line(&plan) } else { describe(&plan) });
        return Ok(());
    }
    let samples = planner.samples(&pipeline, &plan, arguments.sample_size).await?;
    say(&match arguments.json {
        true => json_line(&SampledPlan { plan: &plan, samples: &samples }),
        false => describe(&plan) + &describe_samples(&samples),
    });
    Ok(())
}

/// Runs `apply`.
///
/// # Errors
/// Where a view cannot be run, the registry cannot be read or written, or somebody else was first.
pub async fn apply(arguments: &ApplyArguments) -> Result<()> {
    let opened = OpenedDefinitions::open(&arguments.up.settings).await?;
    let pipeline = read_runnable(&arguments.up.pipeline).await?;
    opened.apply(&pipeline, arguments.how).await
}
