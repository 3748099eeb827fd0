//! A topic that somebody else writes to: a hundred thousand records that are not events, past the collector, among good
//! ones.

use std::collections::BTreeMap;
use std::time::Instant;

use arrow::array::{Array, AsArray};
use event_log::{EventLog, NewRecord};
use positions::{Clock, Offset, PartitionId, PositionToken, SourceName};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use records::decode::column;
use records::master::MasterDataset;
use serde_json::json;
use tests::process::{DECODER_PANIC, FAIL_POINTS_MISSING};
use twofold::data_dir::DataDir;
use twofold::environment::SystemClock;
use twofold::wiring::open_lake;
use views::Pipeline;

use super::{DEADLINE, Kind, PIPELINE, World, publish_all, rows};
use crate::support::seeds::one_seed;

const BAD: usize = 100_000;
const GOOD: usize = 20_000;
/// Records on their way at one time.
const CHUNK: usize = 4_000;

/// What was written, by partition and offset: the payload, and whether it is an event.
type Written = BTreeMap<(i32, i64), (Vec<u8>, bool)>;

fn good(number: usize) -> String {
    format!(r#"{{"id":"g{number}","time":"2026-01-05T10:00:00Z","page":"/{}","bytes":{number}}}"#, number % 7)
}

/// Something that is not an event of a strict source by the table of `records/src/decode/mod.rs`, whatever is drawn.
fn bad(random: &mut StdRng, number: usize) -> Vec<u8> {
    let event = |bytes: &str| {
        format!(r#"{{"id":"b{number}","time":"2026-01-05T10:00:00Z","page":"/","bytes":{bytes}}}"#).into_bytes()
    };
    let whole = event("1");
    match random.random_range(0..14) {
        0 => whole[..random.random_range(0..whole.len())].to_vec(),
        // No JSON begins with 0xff.
        1 => [&[0xff], random.random::<[u8; 32]>().as_slice()].concat(),
        2 => vec![0; random.random_range(1..100)],
        3 => event("1\0"),
        4 => String::from_utf8(whole).unwrap().replace("\"/\"", r#"{"a":"b"}"#).into_bytes(),
        5 => event(&format!("1,\"x\":{}{}", "[".repeat(2_000), "]".repeat(2_000))),
        6 => event("\"many\""),
        7 => event("[1]"),
        8 => event("9223372036854775808"),
        9 => event("1.5"),
        10 => event("1,\"page\":\"/\""),
        11 => br#"{"id":null,"time":"2026-01-05T10:00:00Z","page":"/","bytes":1}"#.to_vec(),
        12 => br#"{"id":"f","time":"2999-01-01T00:00:00Z","page":"/","bytes":1}"#.to_vec(),
        _ => Vec::new(),
    }
}

/// A string of nearly a megabyte that never ends.
fn huge(number: usize) -> Vec<u8> {
    format!(r#"{{"id":"h{number}","page":"{}"#, "x".repeat(900_000)).into_bytes()
}

/// An event, but for what the decoder does about it.
fn panicking(number: usize) -> Vec<u8> {
    format!(r#"{{"id":"p{number}","time":"2026-01-05T10:00:00Z","page":"{DECODER_PANIC}","bytes":1}}"#).into_bytes()
}

/// Into the log itself: the collector would let none of it in.
async fn produce(log: &dyn EventLog, topic: &str, seed: u64) -> Written {
    let mut random = StdRng::seed_from_u64(seed);
    let mut written = Written::new();
    let mut left = (GOOD, BAD);
    while left != (0, 0) {
        let mut records = Vec::new();
        while records.len() < CHUNK && left != (0, 0) {
            let is_good = random.random_range(0..left.0 + left.1) < left.0;
            let number = if is_good { left.0 } else { left.1 };
            records.push(match number {
                _ if is_good => (good(number).into_bytes(), true),
                _ if number % 4_000 == 0 => (huge(number), false),
                _ if number % 4_000 == 1 => (panicking(number), false),
                _ => (bad(&mut random, number), false),
            });
            *(if is_good { &mut left.0 } else { &mut left.1 }) -= 1;
        }
        let sent = records.iter().map(|(payload, _)| NewRecord {
            key: None,
            payload: payload.clone().into(),
            timestamp: SystemClock.now(),
            clock_shift: None,
        });
        let answers = log.append(topic, sent.collect()).await;
        for (answer, record) in answers.into_iter().zip(records) {
            let (partition, offset) = answer.unwrap();
            written.insert((partition.0, offset.0), record);
        }
    }
    written
}

fn token_after(written: &Written) -> String {
    let mut token = PositionToken::default();
    for (partition, offset) in written.keys() {
        token.cover(&SourceName::new("hits"), PartitionId(*partition), Offset(*offset));
    }
    token.encode()
}

/// Every record stands in the master dataset as it was written, those that are not events with a reason.
async fn check_master(world: &World, written: &Written) {
    let pipeline = Pipeline::read(&world.pipeline, &BTreeMap::new()).unwrap();
    let data_dir = DataDir::open(world.folder.path()).unwrap();
    let lake = open_lake(&world.config().lake, &data_dir).await.unwrap();
    let snapshot = MasterDataset::new(&lake, pipeline.sources[0].clone()).open().await.unwrap().unwrap();
    let (mut held, mut panics) = (0, 0);
    for partition in [0, 1] {
        for batch in snapshot.read_range(PartitionId(partition), Offset(0), Offset(i64::MAX)).await.unwrap() {
            let column = |name: &str| batch.column_by_name(name).unwrap().clone();
            let offsets = column(views::column::OFFSET).as_primitive::<arrow::datatypes::Int64Type>().clone();
            let (payloads, errors) = (column(column::PAYLOAD), column(column::ERROR));
            for row in 0..batch.num_rows() {
                let (payload, is_event) = &written[&(partition, offsets.value(row))];
                let reason = errors.is_valid(row).then(|| errors.as_string::<i32>().value(row).to_owned());
                let shown = String::from_utf8_lossy(&payload[..payload.len().min(200)]);
                assert_eq!(payloads.as_binary::<i32>().value(row), payload, "{shown}");
                assert_eq!(reason.is_none(), *is_event, "{reason:?}: {shown}");
                assert!(!reason.as_ref().is_some_and(String::is_empty), "{shown}");
                let is_panic = reason.is_some_and(|reason| reason.contains("decoder failed"));
                assert_eq!(is_panic, shown.contains(DECODER_PANIC), "{shown}");
                (held, panics) = (held + 1, panics + usize::from(is_panic));
            }
        }
    }
    assert_eq!(held, written.len());
    assert!(panics > 0, "no decoder panicked: {FAIL_POINTS_MISSING}");
}

pub(super) async fn a_poisoned_topic_costs_no_good_event(kind: Kind) {
    let strict = PIPELINE.replace("event_time 'time'", "event_time 'time', strict 'true'");
    let Some(world) = World::new(kind, &strict).await else { return };
    let (system, client) = world.start().await;
    let topic = world.parts.services.as_ref().map_or("hits".to_owned(), |services| services.named("hits"));
    let written = produce(system.log().unwrap().as_ref(), &topic, one_seed("poison")).await;
    let token = token_after(&written);
    let expected: Vec<(String, i64, i64)> = (0..7)
        .map(|page| {
            let numbers = (1..=GOOD as i64).filter(|number| number % 7 == page);
            (format!("/{page}"), numbers.clone().count() as i64, numbers.sum())
        })
        .collect();
    let check = |answer: &serde_json::Value| {
        let envelope = &answer["envelope"];
        assert_eq!((&envelope["rejected"], &envelope["copies"]), (&json!(BAD), &json!(0)), "{envelope}");
        for (page, hits, bytes) in &expected {
            let row = answer["rows"].as_array().unwrap().iter().find(|row| row["page"] == *page).unwrap();
            assert_eq!((&row["hits"], &row["bytes"]), (&json!(hits), &json!(bytes)), "{envelope}");
        }
        assert_eq!(answer["rows"].as_array().unwrap().len(), expected.len());
    };
    let deadline = Instant::now() + DEADLINE;
    let parameters = [("after", token.as_str()), ("timeout", "30s")];
    while client.get("/v1/views/hits_by_page/rows", &parameters).await.is_err() {
        assert!(Instant::now() < deadline, "realtime does not come to the end");
    }
    check(&rows(&client, &token).await);
    check(&publish_all(&system, &client, &token).await);
    system.stop().await.unwrap();
    check_master(&world, &written).await;
}
