//! Real events, through Ballista and by the worker itself: the same tables.

use std::path::Path;
use std::time::Duration;

use batch_layer::recompute::Mode;
use event_log::{EventLog, NewRecord};
use positions::Clock;

use super::super::recompute::all_finished;
use super::super::world::World;
use super::parts::Machines;
use super::recompute;
use crate::real_input::data;
use crate::support::seeds::one_seed;

#[tokio::test(flavor = "multi_thread")]
async fn wikipedia_edits_are_computed_alike() {
    check("wikipedia", "wikipedia-edits.jsonl.gz", "edits").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_a_web_server_are_computed_alike() {
    check("web-access", "web-access.jsonl.gz", "requests").await;
}

async fn check(example: &str, file: &str, topic: &str) {
    let Some(events) = data::read(file) else { return };
    let world = World::of(one_seed(file), &pipeline(example, topic)).await;
    for chunk in events.chunks(1_000) {
        let timestamp = world.clock.now();
        let record =
            |line: &str| NewRecord { key: None, payload: line.to_owned().into(), timestamp, clock_shift: None };
        let records = chunk.iter().map(|event| record(&event.line)).collect();
        for appended in world.log.append("hits", records).await {
            appended.unwrap();
        }
    }
    // Longer than any gap.
    world.clock.advance(Duration::from_secs(3_600));
    world
        .archive_with(batch_layer::archive::ArchiveSettings { commit_interval: Duration::ZERO, ..Default::default() })
        .await;
    world.recompute(Mode::Full).await;
    let here = all_finished(&world).await;
    assert!(here.values().all(|rows| !rows.is_empty()));
    let machines = Machines::start(&world.lake, 2).await;
    let views: Vec<&str> = world.pipeline.views.iter().map(|view| view.name.as_str()).collect();
    recompute(&world, &views, Mode::Full, 1, &machines.engine).await;
    assert_eq!(all_finished(&world).await, here);
}

/// The pipeline of an example, without what a static table has a part in, over the one topic of a world.
fn pipeline(example: &str, topic: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(example).join("pipeline.sql");
    let text = std::fs::read_to_string(path).unwrap();
    let own = text.split_inclusive(";\n").filter(|statement| !statement.contains("languages"));
    own.collect::<String>().replace(&format!("kafka://{topic}"), "kafka://hits")
}
