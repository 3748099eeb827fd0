//! What should run and what runs: the steps between the two, and a process that takes them under load, with and without
//! the faults of the simulation. Sources that do not change are answered all the time; of those that stop, start and
//! change, no event is lost or counted twice.

mod death;
mod housekeeping;
mod kappa;
mod living;
mod notices;
mod plan;
mod registry;
mod runs;
mod traffic;
mod troubles;
mod world;

use std::time::Duration;

use batch_layer::recompute::Mode;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::simulation::plan::Rates;
use traffic::{Feed, ask_on, rows, total};
use world::{Process, World};

/// The source that never changes, with its view.
fn steady(name: &str) -> String {
    source(name, "10m") + &view(name, "count", "count(*) AS n")
}

fn source(name: &str, horizon: &str) -> String {
    format!(
        "CREATE UNBOUNDED EXTERNAL TABLE {name} (id VARCHAR NOT NULL, time TIMESTAMP NOT NULL, page VARCHAR)
         STORED AS JSON LOCATION 'kafka://{name}'
         OPTIONS (event_time 'time', event_id 'id', gap '200ms', horizon '{horizon}', partitions '2');\n"
    )
}

fn view(source: &str, name: &str, measures: &str) -> String {
    format!("CREATE MATERIALIZED VIEW {source}_{name} AS SELECT page, {measures} FROM {source} GROUP BY page;\n")
}

/// What becomes of the other source, in order; an empty text: it is gone.
fn stages(name: &str) -> [String; 7] {
    let (whole, count) = (source(name, "10m"), view(name, "count", "count(*) AS n"));
    let changed = view(name, "count", "count(*) AS n, min(page) AS first");
    let further = view(name, "pages", "count(*) AS n, max(page) AS last");
    [
        whole.clone() + &count,
        String::new(),
        whole.clone() + &count,
        whole.clone() + &changed,
        whole.clone() + &changed + &further,
        whole + &further + &count,
        source(name, "20m") + &count,
    ]
}

/// Events that pass between two changes.
const BETWEEN: u64 = 60;

/// Takes a process through all stages while both sources are written and the steady one is read.
async fn check_changes(world: &World, (fixed, moved): (&'static str, &'static str), is_calm: bool) {
    let stages = stages(moved);
    let mut process = world.start(&(steady(fixed) + &stages[0])).await;
    let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
    let [fixed_feed, moved_feed] = [(fixed, false), (moved, true)].map(|(name, may_close)| Feed::new(name, may_close));
    for feed in [&fixed_feed, &moved_feed] {
        tasks.spawn(feed.clone().send_on(process.client.clone(), stop.clone()));
    }
    tasks.spawn(ask_on(process.client.clone(), fixed_feed.clone(), is_calm, stop.clone()));
    fixed_feed.wait_for(BETWEEN).await;
    // Batch may have counted the first events before the speed layer began with both partitions.
    let starts = loop {
        let starts = process.starts_of(fixed).await;
        if !is_calm || starts.ends_with(" 2") {
            break starts;
        }
        fixed_feed.wait_for(1).await;
    };
    for stage in &stages {
        process.apply(&(steady(fixed) + stage)).await;
        fixed_feed.wait_for(BETWEEN).await;
        if !stage.is_empty() {
            moved_feed.wait_for(BETWEEN).await;
        }
    }
    if is_calm {
        assert_eq!(process.starts_of(fixed).await, starts, "the steady source was started again");
    }
    stop.cancel();
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    world.calm();
    check_end(process, [&fixed_feed, &moved_feed]).await;
}

/// Every acknowledged event is in the answers once: before batch, and after it.
async fn check_end(process: Process, feeds: [&Feed; 2]) {
    for feed in feeds {
        let answer = rows(&process.client, &feed.view(), &feed.token()).await.unwrap();
        assert_eq!(total(&answer), feed.acknowledged(), "{answer:#}");
    }
    process.recompute_until_covered(Mode::Full, feeds).await;
    for feed in feeds {
        let answer = rows(&process.client, &feed.view(), &feed.token()).await.unwrap();
        assert_eq!((total(&answer), &answer["envelope"]["realtime_rows"]), (feed.acknowledged(), &0.into()));
    }
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_stops_starts_and_changes_while_another_is_answered() {
    let world = World::new(1, Rates::default());
    check_changes(&world, ("steady", "moved"), true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_while_a_source_stops_starts_and_changes_cost_no_event() {
    for seed in 0..3 {
        let world = World::new(seed, Rates { delay: 20, fail: 20, kill: 0 });
        let names = [("steady0", "moved0"), ("steady1", "moved1"), ("steady2", "moved2")][seed as usize];
        tokio::time::timeout(Duration::from_secs(120), check_changes(&world, names, false)).await.unwrap();
    }
}
