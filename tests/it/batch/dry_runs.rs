//! What runs would compute: the buckets and the reading that they then have, nothing written, and the same refusals
//! before a start.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use batch_layer::BatchError;
use batch_layer::recompute::Mode;
use positions::{Clock, IdSource, TimestampMicros};
use serving_layer::always;
use twofold::commands::runs::draw::{draw_housekeeping, draw_plan};
use twofold::config::{Config, ConfigInputs};
use twofold::runs::asked::Asked;
use twofold::runs::dry_housekeeping::dry_housekeeping;
use twofold::runs::dry_run::{DryRun, Planning, check_ranges, dry_run};
use twofold::workflow::housekeeping::due_housekeeping;
use twofold::workflow::specs::{RunRequest, runs_of};
use views::{Bucket, bucket_of};
use workflow::{Overview, RunMode, TaskKind};

use super::compaction::{engine, world_of_small_files};
use super::fold::unfolded_world;
use super::runs::{config, request};
use super::world::{Event, HOUR, START, World};
use crate::support::house::{NoFormer, compact, fold};

const DAY: i64 = 24 * HOUR;

fn planning(world: &World) -> Planning {
    Planning {
        config: Arc::new(Config::read(ConfigInputs::default()).unwrap()),
        lake: world.lake.clone(),
        clock: Arc::clone(&world.clock) as Arc<dyn Clock>,
        ids: Arc::clone(&world.ids) as Arc<dyn IdSource>,
    }
}

async fn dry(world: &World, request: &RunRequest) -> DryRun {
    let planning = planning(world);
    let runs = runs_of(&world.pipeline, request, &planning.config).unwrap();
    let overview = Overview { state: Arc::default(), processes: BTreeMap::new() };
    dry_run(&planning, &world.pipeline, &runs, &overview).await.unwrap()
}

async fn checked(world: &World, request: &RunRequest) -> Result<(), BatchError> {
    let planning = planning(world);
    let runs = runs_of(&world.pipeline, request, &planning.config).unwrap();
    check_ranges(&planning, &world.pipeline, &runs).await
}

fn range(from: i64, to: i64) -> RunRequest {
    let mode = RunMode::Buckets { from: TimestampMicros(from), to: TimestampMicros(to), only_missing: false };
    request(&["by_page"], mode)
}

/// What both refuse a request with.
async fn refusal(world: &World, request: &RunRequest) -> String {
    let dry = dry(world, request).await;
    assert!(dry.plans.is_empty(), "{dry:?}");
    let told = checked(world, request).await.unwrap_err().to_string();
    let [undone] = dry.nothing_to_do.as_slice() else { panic!("{dry:?}") };
    assert!(undone.error.is_some() && undone.reason == told, "{undone:?}: {told}");
    told
}

#[tokio::test]
async fn what_a_run_would_read_is_told_and_nothing_is_written() {
    let mut world = World::new(61).await;
    let none = dry(&world, &request(&[], RunMode::Full)).await;
    assert!(none.plans.is_empty() && none.nothing_to_do[0].reason.contains("nothing of its source"), "{none:?}");
    world.send(200).await;
    world.clock.advance(Duration::from_secs(40));
    world.archive().await;

    let full = dry(&world, &request(&[], RunMode::Full)).await;
    let [plan] = full.plans.as_slice() else { panic!("{full:?}") };
    let files = world.snapshot().await.snapshot.files().len() as u64;
    assert_eq!((plan.views.len(), plan.tasks, plan.cost.readings), (3, 1, 4), "{plan:?}");
    assert_eq!(plan.cost.rows_read, plan.estimate.rows * 4, "{plan:?}");
    assert_eq!(plan.cost.bytes_read, plan.estimate.bytes * 4, "{plan:?}");
    assert_eq!(plan.cost.store_reads, files * 4 * 2, "{plan:?}");
    assert!(plan.estimate.rows > 0 && plan.cost.store_writes > 3, "{plan:?}");
    assert!(plan.grid.is_none() && plan.cost.task_seconds.is_none(), "nothing was measured: {plan:?}");
    assert!(world.newest(&world.view("by_page")).await.is_none(), "a dry run published");

    let today = START - START % DAY;
    let told = refusal(&world, &range(today, today + DAY)).await;
    assert!(told.contains("it has no version yet"), "{told}");
    world.recompute(Mode::Full).await;
    let day = range(today, today + DAY);
    checked(&world, &day).await.unwrap();
    let planned = dry(&world, &day).await;
    let [plan] = planned.plans.as_slice() else { panic!("{planned:?}") };
    assert_eq!(plan.grid.as_ref().unwrap().bucket, "hour");
    // Files whose events lie elsewhere are not opened for it.
    assert!(plan.cost.store_reads <= files * 2 * 2 && plan.cost.readings == 2, "{plan:?}");
    let told = draw_plan(plan);
    for part in ["24 buckets (hour) at most", "estimated time: unknown", "estimated cost: about", "in 2 readings"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let nothing = dry(&world, &request(&[], RunMode::Incremental)).await;
    assert!(nothing.plans.is_empty() && nothing.nothing_to_do.len() == 3, "{nothing:?}");
}

#[tokio::test]
async fn buckets_of_a_folded_view_are_those_that_it_has() {
    let mut world = World::new(62).await;
    for number in 0..80 {
        world.send_one(Some(Event { time: START - number * 18 * HOUR, ..Event::default() })).await;
    }
    world.clock.advance(Duration::from_secs(40));
    world.archive().await;
    world.recompute(Mode::Full).await;
    let age = Duration::from_secs(5 * 24 * 3600);
    fold(&world.batch_context(), &world.view("by_page"), age, &engine(), &always).await.unwrap();
    let folded = world.newest(&world.view("by_page")).await.unwrap().facts.folded;
    let (months, days) = (folded.months_until.unwrap(), folded.days_until.unwrap());
    assert!(months < days, "the world begins in the middle of a month: {folded:?}");

    let from = bucket_of(Bucket::Month, TimestampMicros(months.0 - 1)).0;
    let planned = dry(&world, &range(from, days.0 + DAY)).await;
    let [plan] = planned.plans.as_slice() else { panic!("{planned:?}") };
    let buckets = 1 + (days.0 - months.0) / DAY + 24;
    let told = draw_plan(plan);
    for part in [
        "buckets (month, day, hour) of by_page".to_owned(),
        format!(". pending {buckets}"),
        format!("to compute: {buckets} buckets (month, day, hour) at most"),
    ] {
        assert!(told.contains(&part), "{part}: {told}");
    }
    let told = refusal(&world, &range(from + DAY, from + 2 * DAY)).await;
    assert!(told.contains("within a bucket (month)") && told.contains("the nearest bounds are"), "{told}");
}

/// What is told of housekeeping under these settings: what the look of a process would start, and nothing else, is due.
async fn due(world: &World, settings: &str) -> Vec<(TaskKind, Option<String>, Option<u64>)> {
    let planning = Planning { config: Arc::new(config(settings)), ..planning(world) };
    let asked = Asked { housekeeping: true, ..Asked::default() };
    let runs = asked.runs(&world.pipeline, &planning.config).unwrap();
    let told = dry_housekeeping(&planning, &world.pipeline, &[], &runs).await.unwrap();
    assert_eq!(told.len(), runs.iter().map(|(_, tasks)| tasks.len()).sum::<usize>(), "each task is told of");
    let drawn = draw_housekeeping(&told);
    assert_eq!(drawn.matches(" yes ").count(), told.iter().filter(|task| task.due).count(), "{drawn}");
    let due: Vec<_> = told.into_iter().filter(|task| task.due).collect();
    let started = due_housekeeping(&world.batch_context(), &NoFormer, &planning.config).await;
    let kinds: Vec<TaskKind> = started.iter().flat_map(|(_, tasks)| tasks.iter().map(|task| task.kind)).collect();
    assert_eq!(due.iter().map(|task| task.task).collect::<Vec<_>>(), kinds);
    due.into_iter().map(|task| (task.task, task.view.map(|view| view.to_string()), task.bytes)).collect()
}

#[tokio::test]
async fn a_dry_run_of_housekeeping_names_what_is_due_and_how_much_that_is() {
    const SMALL: &str = "compact_min_files = 2\n";
    let world = world_of_small_files(63, 40).await;
    let before = world.snapshot().await;
    let size = before.snapshot.files().iter().map(|file| file.size_bytes).sum::<u64>();
    let told = due(&world, SMALL).await;
    let (kind, view, bytes) = told.first().expect("small files are to be merged").clone();
    assert_eq!((kind, view), (TaskKind::Compact, None));
    assert!((1..=size).contains(&bytes.unwrap()), "{told:?}");
    let settings = config(SMALL).batch.compact;
    while compact(&world.batch_context(), &world.source(), &settings, &engine()).await.unwrap() > 0 {}
    assert!(due(&world, SMALL).await.iter().all(|(kind, ..)| *kind != TaskKind::Compact));

    let world = unfolded_world(64).await;
    let told = due(&world, "fold_after = \"20d\"\ncompact = false\n").await;
    let folds: Vec<_> = told.iter().filter(|(kind, ..)| *kind == TaskKind::Fold).collect();
    let views: Vec<_> = folds.iter().map(|(_, view, _)| view.as_deref().unwrap()).collect();
    // One is a single bucket.
    assert_eq!(views, ["by_page", "by_day"]);
    assert!(folds.iter().all(|(.., bytes)| bytes.unwrap() > 0), "{told:?}");
}
