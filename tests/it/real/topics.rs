//! Topics that change while they are read: more partitions, another topic under the name, records that expired.

use rdkafka::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use serde_json::json;

use super::{VIEW, World, event, eventually, until_logged, until_stopped};
use crate::support::process::Running;

/// Writes events to one partition, past the collector.
async fn produce(world: &World, partition: i32, numbers: std::ops::Range<i64>) {
    let producer: FutureProducer =
        ClientConfig::new().set("bootstrap.servers", &world.services.kafka).create().unwrap();
    let topic = world.topic();
    for number in numbers {
        let (key, payload) = (number.to_string(), event(number));
        let record = FutureRecord::to(&topic).partition(partition).key(&key).payload(&payload);
        producer.send(record, std::time::Duration::from_secs(30)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_added_to_a_running_topic_are_read_from_their_start() {
    let Some(world) = World::new() else { return };
    check_added_partitions(world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_added_to_a_running_topic_are_given_to_the_group() {
    let Some(world) = World::new() else { return };
    let group = world.services.named("workers");
    check_added_partitions(world.with("SPEED__GROUP", &group)).await;
}

/// Every role looks for new partitions twice a second.
fn looking_often(world: World) -> World {
    world
        .with("ARCHIVE__PARTITIONS_INTERVAL", "500ms")
        .with("LOG__PROPERTIES__TOPIC_METADATA_REFRESH_INTERVAL_MS", "500")
}

async fn check_added_partitions(world: World) {
    let world = looking_often(world);
    let running = Running::start(&world.setup).await;
    world.send(&running).await;
    world.check_exact(&running).await;
    world.services.admin().add_partitions(&world.topic(), 6).await;
    // Before any reader has noticed: an offset that is not 0 would lose some of them.
    let sent = world.sent();
    produce(&world, 5, sent..sent + 50).await;
    produce(&world, 4, sent + 50..sent + 100).await;
    world.sent.fetch_add(100, std::sync::atomic::Ordering::SeqCst);
    eventually(&running, "the new partitions are in the head", || async {
        let answer = running.rows(VIEW, &[("by", "")]).await;
        let head = &answer["envelope"]["head"];
        (head["4"] == json!(50) && head["5"] == json!(50)).then_some(())
    })
    .await;
    world.check_exact(&running).await;
    world.send(&running).await;
    let answer = world.check_batch(&running).await;
    let cut = answer["envelope"]["cut"].as_object().unwrap();
    assert!(cut.len() == 6 && cut["5"].as_i64() >= Some(50), "{cut:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_with_fewer_partitions_than_written_is_read_and_the_way_to_raise_it_is_told() {
    let Some(world) = World::new() else { return };
    let world = looking_often(world);
    let running = Running::start(&world.setup).await;
    world.send(&running).await;
    world.check_exact(&running).await;
    assert!(running.terminate().success());

    let world = world.with_option("partitions '4'", "partitions '6'");
    let running = Running::start(&world.setup).await;
    let command = format!("kafka-topics.sh --alter --topic {} --partitions 6", world.topic());
    until_logged(&running, &command, 0).await;
    world.send(&running).await;
    world.check_exact(&running).await;
    eventually(&running, "an answer that waits for no partition", || async {
        let answer = running.rows(VIEW, &[("by", "")]).await;
        let envelope = &answer["envelope"];
        (envelope["stale"] == json!(false) && envelope["head"].as_object().unwrap().len() == 4).then_some(())
    })
    .await;

    // As told, without a restart.
    world.services.admin().add_partitions(&world.topic(), 6).await;
    let sent = world.sent();
    produce(&world, 5, sent..sent + 50).await;
    world.sent.fetch_add(50, std::sync::atomic::Ordering::SeqCst);
    eventually(&running, "the new partition is in the head", || async {
        let answer = running.rows(VIEW, &[("by", "")]).await;
        (answer["envelope"]["head"]["5"] == json!(50)).then_some(())
    })
    .await;
    world.check_batch(&running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_replaced_under_a_running_system_stops_its_source() {
    let Some(world) = World::new() else { return };
    let running = Running::start(&world.setup).await;
    world.send(&running).await;
    let before = world.check_batch(&running).await;
    world.services.admin().replace(&world.topic(), 4).await;
    let reason = until_stopped(&running).await;
    assert!(reason.contains("deleted and created again"), "{reason}");
    // What was counted stands.
    let after = running.rows(VIEW, &[("by", "")]).await;
    assert_eq!(after["rows"], before["rows"], "{}", after["envelope"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_expired_before_they_were_archived_are_a_hole_in_every_later_version() {
    let Some(world) = World::new() else { return };
    let running = Running::start(&world.setup).await;
    world.send(&running).await;
    let before = world.check_batch(&running).await;
    let held = before["envelope"]["cut"]["0"].as_i64().unwrap();
    assert!(running.terminate().success());

    // 30 records nobody has read, then 20 that can be read.
    let sent = world.sent();
    produce(&world, 0, sent..sent + 50).await;
    world.services.admin().expire(&world.topic(), 0, held + 30).await;
    let hole = json!([{ "partition": 0, "from": held, "to": held + 30 }]);
    let running = Running::start(&world.setup).await;
    // Whichever layer answers for them.
    eventually(&running, "realtime goes on behind the hole", || async {
        let answer = running.rows(VIEW, &[("by", "")]).await;
        let is_read = answer["envelope"]["head"]["0"] == json!(held + 50);
        is_read.then(|| assert_eq!(answer["rows"][0]["hits"], json!(sent + 20), "{}", answer["envelope"]))
    })
    .await;
    let covered = |least: i64| {
        let running = &running;
        async move {
            eventually(running, "a version with the hole", || async {
                let answer = running.rows(VIEW, &[("by", "")]).await;
                let envelope = &answer["envelope"];
                let is_covered = envelope["version"].as_i64() >= Some(least) && envelope["realtime_rows"] == json!(0);
                (is_covered && envelope["cut"]["0"].as_i64() >= Some(held + 50)).then_some(answer.clone())
            })
            .await
        }
    };
    let first = covered(0).await;
    assert_eq!((&first["rows"][0]["hits"], &first["envelope"]["holes"]), (&json!(sent + 20), &hole), "{first}");
    // Also in versions that add nothing to it.
    produce(&world, 1, sent + 50..sent + 60).await;
    let second = covered(first["envelope"]["version"].as_i64().unwrap() + 1).await;
    assert_eq!((&second["rows"][0]["hits"], &second["envelope"]["holes"]), (&json!(sent + 30), &hole), "{second}");
}

/// Asleep while it happens, no consumer sees an offset out of range: only what the records are tells the topics apart.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_replaced_and_filled_beyond_what_was_read_stops_its_source() {
    let Some(world) = World::new() else { return };
    let running = Running::start(&world.setup).await;
    world.send(&running).await;
    let before = world.check_batch(&running).await;
    running.signal("STOP");
    world.services.admin().replace(&world.topic(), 4).await;
    for partition in 0..4 {
        produce(&world, partition, 1_000..1_100).await;
    }
    running.signal("CONT");
    let reason = until_stopped(&running).await;
    assert!(reason.contains("deleted and created again"), "{reason}");
    let after = running.rows(VIEW, &[("by", "")]).await;
    assert_eq!(after["rows"], before["rows"], "{}", after["envelope"]);
}

/// Aborted records and the markers of transactions have offsets, and nobody is given them.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_aborted_is_counted_neither_in_answers_nor_as_lag() {
    let Some(world) = World::new() else { return };
    let running = Running::start(&world.setup).await;
    let topic = world.topic();
    let producer: FutureProducer = ClientConfig::new()
        .set("bootstrap.servers", &world.services.kafka)
        .set("transactional.id", &topic)
        .create()
        .unwrap();
    let limit = std::time::Duration::from_secs(30);
    producer.init_transactions(limit).unwrap();
    for round in 0..6_i64 {
        // The last one leaves nothing behind it that could be read.
        let is_aborted = round == 2 || round == 5;
        let sent = world.sent();
        let numbers = if is_aborted { 10_000 * round..10_000 * round + 100 } else { sent..sent + 100 };
        producer.begin_transaction().unwrap();
        for number in numbers {
            let (key, payload) = (number.to_string(), event(number));
            let record = FutureRecord::to(&topic).partition(0).key(&key).payload(&payload);
            producer.send(record, limit).await.unwrap();
        }
        if is_aborted {
            producer.abort_transaction(limit).unwrap();
        } else {
            producer.commit_transaction(limit).unwrap();
            world.sent.fetch_add(100, std::sync::atomic::Ordering::SeqCst);
        }
    }
    let status = eventually(&running, "everything is read", || async {
        let status = running.status().await;
        let partition = &status["sources"][0]["partitions"][0];
        (partition["rows"] == json!(400) && partition["lag"] == json!(0)).then_some(status)
    })
    .await;
    let answer = running.rows(VIEW, &[("by", "")]).await;
    let row = &answer["rows"][0];
    assert_eq!((&row["hits"], &row["amount"]), (&json!(400), &json!(400 * 399 / 2)), "{}", answer["envelope"]);
    // Six markers, and the last hundred, stand behind what can be read.
    let produced = status["sources"][0]["partitions"][0]["produced"].as_i64().unwrap();
    assert!(produced < 600, "{produced} offsets are said to be readable");
    eventually(&running, "no lag in the metrics", || async {
        let text = reqwest::get(format!("{}/metrics", running.address)).await.unwrap().text().await.unwrap();
        let value = |name: &str| -> f64 {
            let of_name = |line: &str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{'));
            let line = text.lines().find(|line| of_name(line));
            line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(f64::NAN)
        };
        (value("twofold_event_log_end_offsets") == value("twofold_archive_end_offsets")).then_some(())
    })
    .await;
}

/// One source on a topic that cannot be used: the other one is served, and its process stays in the balancer.
#[tokio::test(flavor = "multi_thread")]
async fn a_source_on_a_compacted_topic_is_refused_while_another_is_served() {
    let Some(world) = World::new() else { return };
    let compacted = world.services.named("compacted");
    world.services.admin().create(&compacted, 2, &[("cleanup.policy", "compact")]).await;
    let second = format!(
        "CREATE UNBOUNDED EXTERNAL TABLE bad (id VARCHAR NOT NULL, time TIMESTAMP NOT NULL)
         STORED AS JSON LOCATION 'kafka://{compacted}' OPTIONS (event_time 'time', event_id 'id');
         CREATE MATERIALIZED VIEW bad_count AS SELECT id, count(*) AS n FROM bad GROUP BY id;"
    );
    let text = std::fs::read_to_string(&world.setup.pipeline).unwrap();
    std::fs::write(&world.setup.pipeline, text + &second).unwrap();
    // Its start waits until the process is ready.
    let running = Running::start(&world.setup).await;
    world.send(&running).await;
    world.check_exact(&running).await;
    let (status, problem) = running.try_post("bad", &[r#"{"id":"1","time":"2026-01-05T10:00:00Z"}"#]).await.unwrap();
    assert_eq!((status, &problem["type"]), (503, &json!("urn:twofold:problem:source-stopped")), "{problem}");
    eventually(&running, "nobody is told to ask again for its view", || async {
        let (status, problem) = running.try_rows("bad_count", &[]).await;
        (status == 503 && problem["type"] == json!("urn:twofold:problem:source-stopped")).then_some(())
    })
    .await;
    let status = running.status().await;
    let about: Vec<_> = status["problems"].as_array().unwrap().iter().map(|trouble| &trouble["about"]).collect();
    assert!(about.contains(&&json!("source bad")) && !about.contains(&&json!("source hits")), "{about:?}");
}
