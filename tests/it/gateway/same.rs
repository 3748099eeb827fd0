//! The same version, head and runs give the same answer, bit for bit: asked again, asked in SQL, and of a gateway that
//! sees for the first time what another has followed run by run.

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use edge::Principal;
use query_gateway::{Gateway, GatewaySettings, SqlRequest};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::world::{World, event, request};
use crate::support::seeds::seeds;

const PIPELINE: &str = r#"
CREATE UNBOUNDED EXTERNAL TABLE edits (
  time TIMESTAMP NOT NULL, page VARCHAR, "user" VARCHAR, added BIGINT, price DECIMAL(10, 2), weight DOUBLE
) STORED AS JSON LOCATION 'kafka://edits' OPTIONS (event_time 'time', partitions '2');

CREATE MATERIALIZED VIEW spread AS
SELECT page, count(*) AS edits, avg(weight / 3.0) AS mean, stddev(weight) AS deviation,
       approx_percentile_cont(added, 0.5) AS p500, approx_percentile_cont(added, 0.99) AS p990,
       approx_percentile_cont(added, 0.995) AS p995, approx_percentile_cont(added, 0.999) AS p999,
       approx_percentile_cont("user", 0.5) AS middle_user, ddsketch_percentile(weight / 3.0, 0.99) AS d990,
       approx_distinct("user") AS users, approx_top_k("user", 20, 50) AS tops, max_by("user", added) AS best,
       mode("user") AS most
FROM edits GROUP BY page;
"#;

const PAGES: [&str; 3] = ["A", "B", "C"];
const SQL: [&str; 3] = [
    "SELECT * FROM spread",
    "SELECT MEASURE(mean) AS mean, MEASURE(p999) AS p999, MEASURE(d990) AS d990, MEASURE(middle_user) AS u, \
     MEASURE(tops) AS tops, MEASURE(best) AS best FROM spread",
    "SELECT page, p995, deviation FROM spread WHERE page <> 'B'",
];

fn send(world: &World, partition: i32, random: &mut StdRng) {
    let count = random.random_range(1..400);
    let events: Vec<_> = (0..count)
        .map(|minute| {
            let user = format!("user-{}", random.random_range(0..3_000));
            event(minute, PAGES[random.random_range(0..3)], &user, random.random_range(0..1_000_000))
        })
        .collect();
    world.send(partition, events);
}

/// What a gateway says to every question; the bits of its columns, not its envelope.
async fn ask(gateway: &Gateway) -> Vec<RecordBatch> {
    let mut answers = Vec::new();
    let questions: [&[(&str, &str)]; 4] = [&[], &[("by", "")], &[("page", "A")], &[("layer", "realtime")]];
    for parameters in questions {
        answers.push(gateway.rows(&Principal::anyone(), request("spread", parameters)).await.unwrap().rows);
    }
    for sql in SQL {
        answers.push(gateway.sql(&Principal::anyone(), SqlRequest::new(sql)).await.unwrap().rows);
    }
    answers
}

/// Asks twelve times, and a newcomer; gives the answer.
async fn check(world: &World, case: &str) -> Vec<RecordBatch> {
    let first = ask(&world.gateway).await;
    for _ in 1..12 {
        assert_eq!(ask(&world.gateway).await, first, "{case}: asked again");
    }
    assert_eq!(ask(&world.another_gateway()).await, first, "{case}: another gateway");
    let column = |name: &str| first[0].column_by_name(name).unwrap().as_primitive::<Int64Type>().clone();
    let percentiles = ["p500", "p990", "p995", "p999"].map(column);
    for row in 0..first[0].num_rows() {
        assert!(percentiles.iter().map(|column| column.value(row)).is_sorted(), "{case}: {percentiles:?}");
    }
    first
}

/// What does not depend on how the log is divided into runs.
fn exact(answers: &[RecordBatch]) -> Vec<RecordBatch> {
    let exact = |batch: &RecordBatch| {
        let names = ["page", "edits", "d990", "users", "best", "most"];
        let places: Vec<usize> = names.iter().filter_map(|name| batch.schema().index_of(name).ok()).collect();
        batch.project(&places).unwrap()
    };
    answers[..3].iter().map(exact).collect()
}

async fn check_case(seed: u64) {
    let random = &mut StdRng::seed_from_u64(seed);
    let world = World::on(PIPELINE, GatewaySettings { sql_partitions: 4, ..GatewaySettings::default() });
    for partition in [0, 1] {
        world.send(partition, [event(0, "A", "ann", 1)]);
        world.append_run(partition).await;
    }
    let mut open = [1, 1];
    for step in 0..40 {
        let partition = random.random_range(0..2);
        send(&world, partition, random);
        let runs = &mut open[partition as usize];
        if random.random_bool(0.3) {
            world.append_run(partition).await;
            *runs = 1;
        } else {
            world.append_to_segment(partition).await;
            *runs += 1;
        }
        if *runs > 4 {
            let before = ask(&world.gateway).await;
            world.merge_last_runs(partition, 4).await;
            *runs -= 3;
            let after = ask(&world.gateway).await;
            assert_eq!(exact(&before), exact(&after), "step {step}, seed {seed}");
        }
        if step % 17 == 16 {
            let ends: Vec<i64> = [0, 1].map(|partition| world.log_end(partition)).to_vec();
            world.publish("spread", &ends).await;
            for (partition, end) in (0..).zip(&ends) {
                world.expire(partition, *end).await;
            }
            // No merge crosses a cut.
            open = [0, 0];
        }
        if step % 3 == 0 {
            // Followed now and then, so that it grows by one run or by several.
            ask(&world.gateway).await;
        }
    }
    let answer = check(&world, &format!("seed {seed}")).await;
    assert_eq!(answer[0].num_rows(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_is_the_same_however_often_and_wherever_it_is_asked() {
    for seed in seeds(3) {
        check_case(seed).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_that_were_followed_and_runs_seen_at_once_answer_alike() {
    let world = World::on(PIPELINE, GatewaySettings::default());
    let random = &mut StdRng::seed_from_u64(5);
    for partition in [0, 1] {
        send(&world, partition, random);
        world.append_run(partition).await;
    }
    for round in 0..3 {
        for partition in [0, 1, 0, 0] {
            send(&world, partition, random);
            world.append_to_segment(partition).await;
            ask(&world.gateway).await;
        }
        check(&world, &format!("round {round}, apart")).await;
        world.merge_last_runs(0, 3).await;
        check(&world, &format!("round {round}, merged")).await;
        send(&world, 1, random);
        world.append_run(1).await;
        check(&world, &format!("round {round}, a segment later")).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_come_in_the_same_order_however_often_they_are_asked_for() {
    let world = World::new();
    world.send(0, (0..90).map(|number| event(number, ["A", "B", "C"][number as usize % 3], "ann", number)));
    world.append_run(0).await;
    world.publish("totals", &[90, 0]).await;
    world.send(1, (0..90).map(|number| event(number, ["D", "B", "E"][number as usize % 3], "bob", number)));
    world.append_run(1).await;
    for sql in [
        "SELECT * FROM totals",
        "SELECT page FROM totals LIMIT 1",
        "SELECT array_agg(page) AS pages, first_value(page) AS f FROM totals",
        "SELECT edits, count(*) AS pages FROM totals GROUP BY edits",
        "SELECT a.page, b.edits FROM totals a JOIN totals b ON a.edits = b.edits",
    ] {
        let first = world.sql(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}")).rows;
        for _ in 0..30 {
            assert_eq!(world.sql(sql).await.unwrap().rows, first, "{sql}");
        }
    }
}
