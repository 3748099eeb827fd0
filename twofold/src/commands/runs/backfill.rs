//! `twofold runs backfill`: says what a stretch of event time costs to compute, and starts exactly that.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use batch_layer::recompute::{BucketGroup, Chosen, Estimate, Mode, Outcome, RecomputeComponents, plan_recompute};
use indicatif::{FormattedDuration, HumanBytes, HumanCount};
use positions::SourceName;
use records::master::MasterDataset;
use serde::Serialize;
use serde_json::json;
use views::{Pipeline, PlannedView};

use super::draw::json_line;
use super::opened::{Opened, open};
use super::start::start_asked;
use crate::arguments::runs::BackfillArguments;
use crate::console::{complain, say};
use crate::environment::{RandomIds, SystemClock};
use crate::runs::asked::{Asked, AskedRange};
use crate::runs::grid::{BucketState, Grid, Stretch, coarsest};
use crate::runs::rate::{Rate, estimated_time, measured_rate, side_by_side};

/// What would be computed of views that stand at one cut.
#[derive(Serialize)]
struct DryPlan {
    source: SourceName,
    views: Vec<String>,
    #[serde(flatten)]
    estimate: Estimate,
    tasks: usize,
    /// Tasks that are done at one time.
    side_by_side: usize,
    /// `None`: no rate is known yet.
    estimated_seconds: Option<f64>,
    rate: Option<Rate>,
    grid: Grid,
}

/// A view of which nothing would be computed.
#[derive(Serialize)]
struct Undone {
    view: String,
    reason: String,
    #[serde(skip)]
    is_refused: bool,
}

pub(super) async fn backfill(arguments: &BackfillArguments) -> Result<()> {
    let opened = open(&arguments.shown.settings).await?;
    let pipeline = opened.pipeline(arguments.shown.pipeline.as_deref())?;
    let range = AskedRange { from: arguments.from, to: arguments.to, only_missing: arguments.only_missing };
    let asked = Asked {
        views: arguments.view.clone(),
        range: Some(range),
        max_concurrent: arguments.max_concurrent,
        ..Asked::default()
    };
    asked.request(&pipeline)?;
    let (plans, undone) = plan(&opened, &pipeline, &asked, range).await?;
    if arguments.shown.json {
        let (is_started, plans) = (arguments.yes && !plans.is_empty(), &plans);
        say(&json_line(&json!({ "started": is_started, "plans": plans, "nothing_to_do": undone })));
    } else {
        plans.iter().for_each(|plan| say(&describe(plan)));
        undone.iter().filter(|undone| !undone.is_refused).for_each(|undone| {
            say(&format!("{}: {}\n", undone.view, undone.reason));
        });
    }
    undone.iter().filter(|undone| undone.is_refused).for_each(|undone| complain(&undone.reason));
    if undone.iter().any(|undone| undone.is_refused) {
        bail!("nothing was started, for the reasons above");
    }
    if plans.is_empty() {
        return Ok(());
    }
    if !arguments.yes {
        if !arguments.shown.json {
            say("Nothing was started. Add --yes to compute it.\n");
        }
        return Ok(());
    }
    start_asked(&opened, &pipeline, &asked, &arguments.shown).await
}

async fn plan(
    opened: &Opened,
    pipeline: &Pipeline,
    asked: &Asked,
    range: AskedRange,
) -> Result<(Vec<DryPlan>, Vec<Undone>)> {
    let mut by_source: BTreeMap<&SourceName, Vec<&PlannedView>> = BTreeMap::new();
    for view in pipeline.views.iter().filter(|view| asked.views.iter().any(|name| name == view.name.as_str())) {
        by_source.entry(&view.source.name).or_default().push(view);
    }
    let overview = opened.workflow.overview().await?;
    let AskedRange { from, to, only_missing } = range;
    let (mut plans, mut undone) = (Vec::new(), Vec::new());
    for (name, views) in by_source {
        let components = RecomputeComponents {
            lake: opened.lake.clone(),
            master: MasterDataset::new(&opened.lake, Arc::clone(&views[0].source)),
            views: views.iter().map(|view| (*view).clone()).collect(),
            clock: Arc::new(SystemClock),
            ids: Arc::new(RandomIds),
        };
        let mode = Mode::Range { from, to, only_missing };
        let chosen = plan_recompute(&components, mode, &opened.config.batch.recompute).await;
        let Chosen { plans: chosen, round } = chosen.with_context(|| format!("source {name} cannot be planned"))?;
        undone.extend(round.iter().map(|(view, outcome)| match outcome {
            Ok(outcome) => Undone { view: view.to_string(), reason: reason_of(outcome), is_refused: false },
            Err(error) => Undone { view: view.to_string(), reason: error.to_string(), is_refused: true },
        }));
        let rate = measured_rate(&overview.state, name);
        for open in &chosen {
            let (plan, estimate) = (open.plan(), open.plan().estimate());
            let together = side_by_side(&overview, asked.max_concurrent, plan.groups.len());
            let time = rate.map(|rate| estimated_time(rate, estimate.bytes, together));
            let of_plan = |view: &&&PlannedView| plan.views.iter().any(|planned| planned.name == view.name);
            let grain = coarsest(views.iter().filter(of_plan).map(|view| view.bucket));
            let named: Vec<String> = plan.views.iter().map(|view| view.name.to_string()).collect();
            let pending = |group: &BucketGroup| Stretch { from: group.from, to: group.to, state: BucketState::Pending };
            let groups: Vec<Stretch> = plan.groups.iter().map(pending).collect();
            plans.push(DryPlan {
                source: name.clone(),
                views: named.clone(),
                estimate,
                tasks: plan.groups.len(),
                side_by_side: together,
                estimated_seconds: time.map(|time| time.as_secs_f64()),
                rate,
                grid: Grid::new((named, grain), (from, to), plan.touched.as_ref(), &groups),
            });
        }
    }
    Ok((plans, undone))
}

fn reason_of(outcome: &Outcome) -> String {
    match outcome {
        Outcome::NothingNew => "nothing to compute: all buckets that may hold events are there".to_owned(),
        Outcome::NoData => "nothing to compute: nothing of its source is archived".to_owned(),
        Outcome::AwaitsSilence { .. } | Outcome::LostRace | Outcome::Published(_) => "nothing to compute".to_owned(),
    }
}

fn describe(plan: &DryPlan) -> String {
    let Estimate { buckets, rows, bytes } = plan.estimate;
    let mut text = format!("backfill of {}, source {}\n", plan.views.join(", "), plan.source);
    text.push_str(&plan.grid.draw());
    let _ = writeln!(
        text,
        "  to compute: {} buckets ({}) at most, of about {} rows in {}, by {} tasks",
        HumanCount(buckets),
        plan.grid.bucket,
        HumanCount(rows),
        HumanBytes(bytes),
        plan.tasks,
    );
    let _ = match (plan.estimated_seconds, plan.rate) {
        (Some(seconds), Some(rate)) => writeln!(
            text,
            "  estimated time: {}, {} at one time; {} tasks of past runs did {} in a second each",
            FormattedDuration(Duration::from_secs_f64(seconds.ceil())),
            plan.side_by_side,
            rate.tasks,
            HumanBytes(rate.bytes_per_second as u64),
        ),
        _ => {
            writeln!(text, "  estimated time: unknown, since no run of this source at hand computed anything")
        }
    };
    text
}
