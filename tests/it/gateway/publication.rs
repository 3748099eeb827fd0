//! Publication and expiry while queries run: every answer is the fold at its own heads, and heads never go back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use edge::Principal;
use positions::{Offset, PartitionId};
use query_gateway::{SqlRequest, run};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio_util::sync::CancellationToken;

use super::world::{World, check_against_fold, event, request};
use crate::support::seeds::seeds;

const STEPS: usize = 60;
const PAGES: [&str; 5] = ["A", "B", "C", "D", "E"];

async fn write(world: &World, mut random: StdRng) {
    let mut borders = [vec![0], vec![0]];
    for step in 0..STEPS {
        let partition = random.random_range(0..2);
        let events: Vec<_> = (0..random.random_range(1..20))
            .map(|_| {
                let user = format!("user-{}", random.random_range(0..50));
                event(random.random_range(0..300), PAGES[random.random_range(0..5)], &user, random.random_range(0..100))
            })
            .collect();
        world.send(partition, events);
        world.append_run(partition).await;
        borders[partition as usize].push(world.log_end(partition));
        if step % 7 == 6 {
            let cuts: Vec<i64> = borders.iter().map(|ends| ends[ends.len().saturating_sub(2)]).collect();
            for view in ["by_page", "totals"] {
                world.publish(view, &cuts).await;
            }
            for (partition, cut) in (0..).zip(&cuts) {
                world.expire(partition, *cut).await;
            }
        }
    }
}

fn check_forward(before: &mut BTreeMap<PartitionId, Offset>, head: &BTreeMap<PartitionId, Offset>) {
    for (partition, offset) in before.iter() {
        assert!(head[partition] >= *offset, "the head of partition {partition} went back: {head:?} after {before:?}");
    }
    *before = head.clone();
}

async fn read_rows(world: &World, is_done: &AtomicBool) -> usize {
    let mut heads = BTreeMap::new();
    let mut answers = 0;
    while !is_done.load(Ordering::SeqCst) || answers == 0 {
        let answer = world.rows("by_page", &[("limit", "1000")]).await.unwrap();
        check_against_fold(world, &answer);
        check_forward(&mut heads, &answer.envelope.head);
        assert!(!answer.envelope.stale, "{:?}", answer.envelope);
        answers += 1;
    }
    answers
}

async fn read_sql(world: &World, is_done: &AtomicBool) -> usize {
    let sql = "SELECT sum(p.edits) AS by_page, sum(t.edits) AS totals FROM \
               (SELECT page, MEASURE(edits) AS edits FROM by_page GROUP BY page) p JOIN totals t ON p.page = t.page";
    let mut answers = 0;
    while !is_done.load(Ordering::SeqCst) || answers == 0 {
        let answer = world.gateway.sql(&Principal::anyone(), SqlRequest::new(sql)).await.unwrap();
        let heads = |view: &str| answer.envelope.views[view].head.clone();
        assert_eq!(heads("by_page"), heads("totals"), "views of one source share one pin");
        let edits: i64 = world.fold(&heads("by_page")).values().map(|group| group.edits).sum();
        let expected = format!(r#"[{{"by_page":{edits},"totals":{edits}}}]"#);
        assert!(answer.to_json().unwrap().contains(&expected), "{} is not {expected}", answer.to_json().unwrap());
        answers += 1;
    }
    answers
}

async fn check_under_publication(seed: u64, is_refreshing: bool) {
    let world = Arc::new(World::new());
    world.send(0, [event(0, "A", "ann", 1)]);
    world.append_run(0).await;
    world.own(1).await;
    let shutdown = CancellationToken::new();
    let loops =
        if is_refreshing { Some(tokio::spawn(run::run(world.gateway.clone(), shutdown.clone()))) } else { None };
    let is_done = AtomicBool::new(false);
    let writing = async {
        write(&world, StdRng::seed_from_u64(seed)).await;
        is_done.store(true, Ordering::SeqCst);
    };
    let ((), rows, more_rows, sql) =
        tokio::join!(writing, read_rows(&world, &is_done), read_rows(&world, &is_done), read_sql(&world, &is_done));
    assert!(rows.min(more_rows).min(sql) > 0);
    // What was written last is answered within the wait, with and without the loops.
    let token = world.token(0, 0);
    let covering = request("by_page", &[("after", &token), ("timeout", "30s"), ("limit", "1000")]);
    let answer = world.gateway.rows(&Principal::anyone(), covering).await.unwrap();
    assert_eq!(answer.envelope.head[&PartitionId(0)].0, world.log_end(0));
    check_against_fold(&world, &answer);
    shutdown.cancel();
    if let Some(loops) = loops {
        tokio::time::timeout(Duration::from_secs(30), loops).await.unwrap().unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_are_whole_while_versions_are_published_and_runs_expire() {
    for seed in seeds(2) {
        println!("seed {seed}");
        check_under_publication(seed, false).await;
        check_under_publication(seed, true).await;
    }
}
