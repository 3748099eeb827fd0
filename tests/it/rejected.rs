//! Rejected records: what the archive keeps of bad input is shown with its reasons, newest first, within bounds.

mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use arrow::array::AsArray;
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::{Extension, Router};
use batch_layer::archive::Pending;
use bytes::Bytes;
use edge::{Access, Audit, guard, is_from_here};
use event_log::Record;
use lake::Version;
use object_store::Result as StoreResult;
use object_store::memory::InMemory;
use positions::{Clock, IdSource, Offset, PartitionId, TimestampMicros};
use rand::Rng;
use rand::rngs::StdRng;
use records::decode::{MAX_PAYLOAD_BYTES, REASON_KINDS, Reason, column, decode};
use records::master::{Compaction, MasterDataset, MasterSnapshot, RejectedRecord, RejectedSearch};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use twofold::commands::rejected::{draw_read_again, draw_rejected};
use twofold::definitions::{Definitions, RunningDefinitions};
use twofold::read_again_route::read_again_router;
use twofold::rejected_route::{self, rejected_router};
use views::SourceDefinition;

use crate::support::object_layer::{Layer, Layered};
use crate::support::seeds::for_each_seed;
use crate::support::surroundings::Surroundings;

/// 2026-03-01T12:00:00Z.
const START: i64 = 1_772_366_400_000_000;
const SECOND: i64 = 1_000_000;

const PIPELINE: &str = "
CREATE UNBOUNDED EXTERNAL TABLE log (id VARCHAR, time TIMESTAMP, k VARCHAR NOT NULL, n BIGINT)
STORED AS JSON LOCATION 'kafka://log' OPTIONS (event_time 'time', event_id 'id', partitions '2', strict 'true');
CREATE MATERIALIZED VIEW by_k AS SELECT k, count(*) AS events FROM log GROUP BY k;
";

const GOOD: &str = r#"{"id":"good-0","time":"2026-03-01T12:00:00Z","k":"good","n":1}"#;
const OOPS: &str = r#"{"id":"b","time":"2026-03-01T12:00:00Z","k":"bad","n":"oops"}"#;

/// An object store in memory that notes which data files are read.
#[derive(Debug, Default)]
struct NotingStore {
    inner: InMemory,
    read: Arc<Mutex<BTreeSet<String>>>,
}

impl Layer for NotingStore {
    type Inner = InMemory;

    fn inner(&self) -> &InMemory {
        &self.inner
    }

    async fn call<T: Send>(&self, name: &str, request: impl Future<Output = StoreResult<T>> + Send) -> StoreResult<T> {
        let file = name.strip_prefix("get ").or_else(|| name.strip_prefix("ranges "));
        if let Some(file) = file.filter(|file| file.ends_with(".parquet") && !file.contains("checkpoint")) {
            self.read.lock().unwrap().insert(file.to_owned());
        }
        request.await
    }
}

/// A source and what was archived of it.
struct World {
    surroundings: Surroundings,
    read: Arc<Mutex<BTreeSet<String>>>,
    sent: Vec<Record>,
}

impl World {
    fn new() -> Self {
        let store = NotingStore::default();
        let read = store.read.clone();
        let surroundings = Surroundings::on(Arc::new(Layered::new(store)), PIPELINE, START, 7);
        Self { surroundings, read, sent: Vec::new() }
    }

    fn source(&self) -> Arc<SourceDefinition> {
        self.surroundings.pipeline.sources[0].clone()
    }

    fn master(&self) -> MasterDataset {
        MasterDataset::new(&self.surroundings.lake, self.source())
    }

    async fn snapshot(&self) -> MasterSnapshot {
        self.master().open().await.unwrap().unwrap()
    }

    /// Archives payloads in one commit, as an archive does: by turns of two partitions, a second apart.
    async fn archive<P: Into<Bytes>>(&mut self, payloads: impl IntoIterator<Item = P>) {
        let first = self.sent.len();
        for payload in payloads {
            let number = self.sent.len() as i64;
            self.sent.push(Record {
                partition: PartitionId((number % 2) as i32),
                offset: Offset(number / 2),
                timestamp: TimestampMicros(START + number * SECOND),
                payload: payload.into(),
                event_id: None,
                clock_shift: None,
            });
        }
        self.append(&self.sent[first..]).await;
    }

    async fn append(&self, records: &[Record]) {
        let (source, master) = (self.source(), self.master());
        let on = master.create().await.unwrap();
        let mut pending = Pending::new(&on.facts, source.border);
        pending.take(records, decode(&source, records).unwrap(), self.surroundings.clock.now()).unwrap();
        let nonce = self.surroundings.ids.next_id();
        master.append(&on, pending.batches(), pending.facts().clone(), nonce).await.unwrap();
    }

    /// Asks as a caller on this machine.
    async fn ask(&self, path: &str) -> (u16, Value) {
        self.ask_from(Some(SocketAddr::from(([127, 0, 0, 1], 1234))), Access::Local, path, None).await
    }

    /// The rejected records, for a caller on this machine.
    async fn rejected(&self, query: &str) -> Value {
        let (status, answer) = self.ask(&format!("/v1/sources/log/rejected{query}")).await;
        assert_eq!(status, 200, "{answer}");
        answer
    }

    async fn ask_from(
        &self,
        peer: Option<SocketAddr>,
        access: Access,
        path: &str,
        header: Option<(&str, &str)>,
    ) -> (u16, Value) {
        let pipeline = self.surroundings.pipeline.clone();
        let definitions = watch::channel(RunningDefinitions { pipeline, ..Default::default() }).0;
        let lake = self.surroundings.lake.clone();
        let router =
            of_peer(guard(rejected_router(lake, Definitions::of(&definitions)), access, Audit::Off, Vec::new()), peer);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}{path}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let served = axum::serve(listener, router).with_graceful_shutdown(stop.clone().cancelled_owned());
        tokio::spawn(served.into_future());
        let request = reqwest::Client::new().get(url);
        let request = header.into_iter().fold(request, |request, (name, value)| request.header(name, value));
        let response = request.send().await.unwrap();
        let answer = (response.status().as_u16(), response.json().await.unwrap());
        stop.cancel();
        answer
    }
}

/// A router whose requests come from an address, where it is known.
fn of_peer(router: Router, peer: Option<SocketAddr>) -> Router {
    match peer {
        Some(peer) => router.layer(Extension(ConnectInfo(peer))),
        None => router,
    }
}

/// Bad input, the kind of its reason, and the column that it lies in.
fn bad_input() -> Vec<(Vec<u8>, &'static str, Option<&'static str>)> {
    let time = r#""time":"2026-03-01T12:00:00Z""#;
    let text = |text: String, kind, column| (text.into_bytes(), kind, column);
    vec![
        text(String::new(), "empty", None),
        text("x".repeat(MAX_PAYLOAD_BYTES + 1), "too_large", None),
        text("not json".to_owned(), "bad_json", None),
        text("[]".to_owned(), "bad_json", None),
        (b"\xff\xfe{".to_vec(), "bad_json", None),
        text(format!(r#"{{"k":{}"#, "[".repeat(100)), "too_deep", None),
        text(OOPS.to_owned(), "wrong_type", Some("n")),
        text(format!(r#"{{{time},"k":["a","b"]}}"#), "wrong_type", Some("k")),
        text(format!("{{{time}}}"), "no_value", Some("k")),
        text(format!(r#"{{{time},"k":"a","k":"b"}}"#), "ambiguous", Some("k")),
        text(r#"{"k":"a"}"#.to_owned(), "no_event_time", Some("time")),
        text(r#"{"time":"2100-01-01T00:00:00Z","k":"a"}"#.to_owned(), "in_future", Some("time")),
    ]
}

fn kinds(answer: &Value) -> Vec<&str> {
    answer["records"].as_array().unwrap().iter().map(|record| record["reason"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn each_kind_of_bad_input_is_shown_with_its_reason_and_its_payload() {
    let mut world = World::new();
    let bad = bad_input();
    world.archive([GOOD, GOOD]).await;
    world.archive(bad.iter().map(|(payload, ..)| payload.clone())).await;
    world.archive([GOOD]).await;

    let answer = world.rejected("?limit=100").await;
    let count = bad.len();
    assert_eq!((&answer["total"], &answer["looked_at"]), (&json!(count), &json!(count)), "{answer:#}");
    assert_eq!(answer["archived"], json!({"0": 8, "1": 7}));
    assert_eq!((&answer["source"], &answer["withheld"]), (&json!("log"), &Value::Null));
    assert_eq!(answer["reasons"][0], json!({"reason": "bad_json", "records": 3}));
    assert_eq!(answer["reasons"][1], json!({"reason": "wrong_type", "records": 2}));

    let records = answer["records"].as_array().unwrap();
    assert_eq!(records.len(), count);
    let sent = &world.sent[2..2 + count];
    for ((record, (payload, kind, column)), sent) in records.iter().rev().zip(&bad).zip(sent) {
        let place = json!([sent.partition, sent.offset, kind, column, payload.len()]);
        let told = ["partition", "offset", "reason", "column", "payload_bytes"].map(|name| record[name].clone());
        assert_eq!(json!(told), place, "{record:#}");
        assert_eq!(Reason::of(record["error"].as_str().unwrap()).kind, *kind);
        let shown = record["payload"].as_str().unwrap();
        match std::str::from_utf8(payload) {
            Ok(text) => assert!(record["encoding"] == "utf-8" && text.starts_with(shown), "{record:#}"),
            Err(_) => assert_eq!((&record["encoding"], shown), (&json!("base64"), "//57")),
        }
        let most = rejected_route::MAX_PAYLOAD_BYTES;
        assert_eq!(record["truncated"], json!(payload.len() > most), "{kind}");
        assert!(shown.len() == payload.len().min(most) || record["encoding"] == "base64", "{kind}");
    }
    assert_eq!(records[count - 1]["time"], json!("2026-03-01T12:00:02.000Z"));
    let wrong = records.iter().find(|record| record["column"] == "n").unwrap();
    assert_eq!(wrong["error"], json!("wrong type: column n is BIGINT, found `\"oops\"`"));

    let of_kind = world.rejected("?reason=wrong_type").await;
    assert_eq!(kinds(&of_kind), ["wrong_type"; 2]);
    assert_eq!(of_kind["reasons"], answer["reasons"], "all kinds are counted, whichever is shown");
    assert_eq!(kinds(&world.rejected("?reason=clock_shift").await), [""; 0]);
    assert_eq!(kinds(&world.rejected("?limit=2").await), ["in_future", "no_event_time"]);
}

#[tokio::test]
async fn text_is_cut_between_two_characters() {
    let mut world = World::new();
    // Two bytes, then characters of three: the limit falls into one of them.
    let long = format!("xx{}", "€".repeat(2_000));
    world.archive([long.clone()]).await;
    let answer = world.rejected("").await;
    let record = &answer["records"][0];
    let shown = record["payload"].as_str().unwrap();
    let whole = (rejected_route::MAX_PAYLOAD_BYTES - 2) / 3;
    assert_eq!(shown, format!("xx{}", "€".repeat(whole)));
    assert_eq!((&record["truncated"], &record["payload_bytes"]), (&json!(true), &json!(long.len())));
}

#[tokio::test]
async fn questions_beyond_the_bounds_are_refused_in_words() {
    let mut world = World::new();
    world.archive([OOPS]).await;
    let path = "/v1/sources/log/rejected";
    for (query, detail) in [
        ("limit=0", "`limit` must be 1 to 100, got `0`"),
        ("limit=101", "`limit` must be 1 to 100, got `101`"),
        ("limit=x", "`limit` must be 1 to 100, got `x`"),
        ("limit=1&limit=2", "`limit` is given twice"),
        ("from=1", "there is no parameter `from`"),
    ] {
        let (status, problem) = world.ask(&format!("{path}?{query}")).await;
        assert_eq!((status, problem["detail"].as_str()), (400, Some(detail)), "{query}");
    }
    let (status, problem) = world.ask(&format!("{path}?reason=Wrong")).await;
    assert_eq!((status, &problem["known"]), (400, &json!(REASON_KINDS)));
    let (status, problem) = world.ask("/v1/sources/lock/rejected").await;
    assert_eq!((status, &problem["known"]), (404, &json!(["log"])));
    assert_eq!(problem["detail"], json!("there is no source `lock`"));
    assert_eq!(world.ask(&format!("{path}?limit=100")).await.0, 200);
}

#[tokio::test]
async fn what_is_not_archived_yet_is_said() {
    let mut world = World::new();
    let nothing = world.rejected("").await;
    assert_eq!((&nothing["total"], &nothing["records"]), (&json!(0), &json!([])));
    assert_eq!(nothing["archived"], json!({}));
    assert!(nothing["note"].as_str().unwrap().contains("nothing of this source is archived yet"), "{nothing}");

    world.archive([GOOD, GOOD, GOOD]).await;
    let none = world.rejected("").await;
    assert_eq!((&none["total"], &none["looked_at"], &none["reasons"]), (&json!(0), &json!(0), &json!([])));
    assert_eq!(none["archived"], json!({"0": 2, "1": 1}));
    assert!(none["note"].as_str().unwrap().contains("is not archived yet"), "{none}");
    assert!(world.read.lock().unwrap().is_empty(), "a file without rejected records is read by nobody");
}

#[tokio::test]
async fn of_many_files_only_the_newest_that_are_needed_are_read() {
    let mut world = World::new();
    for number in 0..40 {
        // Every fourth file holds none.
        world.archive([if number % 4 == 3 { GOOD } else { OOPS }]).await;
    }
    let snapshot = world.snapshot().await;
    // As one file has one record, paths are in the order of records.
    let files: Vec<String> = snapshot.snapshot.files().iter().map(|file| file.path.clone()).collect();
    assert_eq!(files.len(), 40);
    let answer = world.rejected("?limit=4").await;
    assert_eq!((&answer["total"], &answer["looked_at"]), (&json!(30), &json!(4)));
    let expected: BTreeSet<String> = [38, 37, 36, 34].map(|at| files[at].clone()).into();
    assert_eq!(*world.read.lock().unwrap(), expected);

    world.read.lock().unwrap().clear();
    let answer = world.rejected("?limit=100").await;
    assert_eq!((&answer["looked_at"], kinds(&answer).len()), (&json!(30), 30));
    assert_eq!(world.read.lock().unwrap().len(), 30);
}

/// A search for what is rare ends, and says how far it came.
#[tokio::test]
async fn a_search_ends_at_its_bounds() {
    let mut world = World::new();
    world.archive([""]).await;
    for _ in 0..5 {
        world.archive([OOPS, GOOD]).await;
    }
    let snapshot = world.snapshot().await;
    let all = RejectedSearch { kind: Some("empty"), ..search(5) };
    let found = snapshot.rejected(&all).await.unwrap();
    assert_eq!((found.records.len(), found.looked_at(), found.is_whole), (1, 6, true));
    let few_files = snapshot.rejected(&RejectedSearch { max_files: 3, ..all }).await.unwrap();
    assert_eq!((few_files.records.len(), few_files.looked_at(), few_files.is_whole), (0, 3, false));
    // Two rows a file: the third is begun, the fourth is not.
    let few_rows = snapshot.rejected(&RejectedSearch { max_rows: 5, ..all }).await.unwrap();
    assert_eq!((few_rows.records.len(), few_rows.looked_at(), few_rows.is_whole), (0, 3, false));
}

fn search(limit: usize) -> RejectedSearch {
    RejectedSearch { limit, kind: None, payload_bytes: 1_000, max_files: 1_000, max_rows: u64::MAX }
}

#[test]
fn the_newest_are_found_in_whatever_files_they_lie() {
    for_each_seed(20, |mut random| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(check_random_files(&mut random));
    });
}

async fn check_random_files(random: &mut StdRng) {
    let payloads = [GOOD, GOOD, OOPS, "", "{"];
    let world = World::new();
    let (mut ends, mut all, mut now) = ([0_i64; 3], Vec::new(), START);
    for _ in 0..random.random_range(1..6) {
        let mut records = Vec::new();
        for _ in 0..random.random_range(1..30) {
            now += random.random_range(1..5_000) * 1_000;
            let partition = random.random_range(0..3_usize);
            // Clocks of producers differ.
            let timestamp = now - random.random_range(0..10) * 60 * SECOND;
            let payload = Bytes::from_static(payloads[random.random_range(0..payloads.len())].as_bytes());
            let (partition_id, offset) = (PartitionId(partition as i32), Offset(ends[partition]));
            ends[partition] += 1;
            let timestamp = TimestampMicros(timestamp);
            let (event_id, clock_shift) = (None, None);
            records.push(Record { partition: partition_id, offset, timestamp, payload, event_id, clock_shift });
        }
        world.append(&records).await;
        all.extend(records);
    }
    let mut expected: Vec<_> = Vec::new();
    let rows = decode(&world.source(), &all).unwrap();
    let errors = rows.column_by_name(column::ERROR).unwrap().as_string::<i32>();
    for (record, error) in all.iter().zip(errors) {
        if let Some(error) = error {
            let kind = Reason::of(error).kind;
            expected.push((record.timestamp.0, record.partition.0, record.offset.0, kind, record.payload.len()));
        }
    }
    expected.sort_by_key(|(timestamp, partition, offset, ..)| std::cmp::Reverse((*timestamp, *partition, *offset)));

    let snapshot = world.snapshot().await;
    let whole = snapshot.rejected(&search(1_000)).await.unwrap();
    let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
    expected.iter().for_each(|(_, _, _, kind, _)| *reasons.entry(*kind).or_default() += 1);
    assert_eq!(whole.reasons, reasons);
    assert_eq!((whole.looked_at(), whole.is_whole), (snapshot.facts.rejected(), true));
    let sizes: Vec<usize> = whole.records.iter().map(|record| record.payload_bytes).collect();
    assert_eq!(sizes, expected.iter().map(|(.., size)| *size).collect::<Vec<_>>());
    for kind in [None, Some("wrong_type"), Some("bad_json"), Some("ambiguous")] {
        let limit = random.random_range(1..20);
        let found = snapshot.rejected(&RejectedSearch { kind, ..search(limit) }).await.unwrap();
        let wanted = expected.iter().filter(|(_, _, _, of, _)| kind.is_none_or(|kind| kind == *of)).take(limit);
        // Of one instant, which of two files is read first is not said.
        let wanted: Vec<i64> = wanted.map(|(timestamp, ..)| *timestamp).collect();
        let instants: Vec<i64> = found.records.iter().map(|record| record.timestamp.0).collect();
        assert_eq!(instants, wanted, "{kind:?}, {limit}");
        let is_right = |record: &RejectedRecord| kind.is_none_or(|kind| Reason::of(&record.error).kind == kind);
        assert!(found.records.iter().all(is_right), "{found:?}");
        let of_kind = expected.iter().filter(|(_, _, _, of, _)| kind.is_none_or(|kind| kind == *of)).count();
        // What was not read may hold others: then nothing is said to be whole, even if it is.
        assert!(!found.is_whole || found.records.len() == of_kind, "{kind:?}, {limit}: {found:?}");
    }
}

#[tokio::test]
async fn a_compaction_changes_no_answer() {
    let mut world = World::new();
    for _ in 0..4 {
        world.archive([OOPS, GOOD, "", GOOD, "{"]).await;
    }
    let before = world.rejected("?limit=7").await;
    let snapshot = world.snapshot().await;
    let (table, files) = (&snapshot.snapshot, snapshot.snapshot.files().to_vec());
    let rows = arrow::compute::concat_batches(&table.schema(), &table.read(&files, None).await.unwrap()).unwrap();
    let last = Version(table.version().0 + 10);
    let mut file = table.file_writer_until(last, "merged", table.schema()).unwrap();
    file.write(&rows).await.unwrap();
    let compaction = Compaction { old: files, new: vec![file.finish().await.unwrap()], last, recount: None };
    world.master().compact(&snapshot, &compaction, 99).await.unwrap();
    let after = world.rejected("?limit=7").await;
    assert_eq!(after["records"], before["records"]);
    assert_eq!((&after["total"], &after["looked_at"]), (&json!(12), &json!(12)), "one file is looked at as a whole");
}

#[tokio::test]
async fn without_keys_words_and_payloads_are_for_callers_on_this_machine() {
    let mut world = World::new();
    world.archive([OOPS, ""]).await;
    let path = "/v1/sources/log/rejected";
    for (peer, access, header, is_shown) in [
        (Some("127.0.0.1:1"), Access::Local, None, true),
        (Some("127.8.9.1:1"), Access::Local, None, true),
        (Some("[::1]:1"), Access::Local, None, true),
        (Some("[::ffff:127.0.0.1]:1"), Access::Local, None, true),
        (Some("10.0.0.7:1"), Access::Local, None, false),
        (Some("[::ffff:10.0.0.7]:1"), Access::Local, None, false),
        (Some("[2001:db8::1]:1"), Access::Local, None, false),
        (None, Access::Local, None, false),
        (Some("127.0.0.1:1"), Access::Local, Some(("X-Forwarded-For", "10.0.0.7")), false),
        (Some("127.0.0.1:1"), Access::Local, Some(("Forwarded", "for=10.0.0.7")), false),
        (Some("10.0.0.7:1"), Access::Open, None, true),
        (None, Access::Open, None, true),
    ] {
        let peer: Option<SocketAddr> = peer.map(|peer| peer.parse().unwrap());
        let (status, answer) = world.ask_from(peer, access, path, header).await;
        assert_eq!((status, &answer["total"], &answer["looked_at"]), (200, &json!(2), &json!(2)), "{peer:?}");
        assert_eq!(answer["reasons"].as_array().unwrap().len(), 2, "counts are for all");
        assert_eq!(answer["records"].as_array().unwrap().len(), if is_shown { 2 } else { 0 }, "{peer:?} {header:?}");
        let withheld = answer["withheld"].as_str();
        assert_eq!(withheld.is_none(), is_shown, "{answer}");
        assert!(withheld.is_none_or(|words| words.contains("`operate = true`")), "{answer}");
        assert!(is_shown || !answer.to_string().contains("oops"), "{answer}");
    }
    let by_proxy: HeaderMap =
        [(HeaderName::from_static("via"), HeaderValue::from_static("1.1 proxy"))].into_iter().collect();
    let here = Some(SocketAddr::from(([127, 0, 0, 1], 1)));
    assert!(is_from_here(here, &HeaderMap::new()) && !is_from_here(here, &by_proxy));
    // A proxy may say nothing, and the name of a page may lead here.
    for (host, is_here) in [
        ("localhost:8080", true),
        ("LOCALHOST", true),
        ("127.0.0.1:8080", true),
        ("127.3.2.1", true),
        ("[::1]:8080", true),
        ("twofold.example:8080", false),
        ("127.0.0.1.example", false),
        ("10.0.0.7", false),
        ("", false),
    ] {
        let host_header = HeaderValue::from_str(host).unwrap();
        let headers: HeaderMap = [(HeaderName::from_static("host"), host_header)].into_iter().collect();
        assert_eq!(is_from_here(here, &headers), is_here, "{host}");
    }
}

/// Asks a process without a batch role to read the source again; the status, and the problem.
async fn read_again(world: &World, peer: &str, access: Access, header: Option<(&str, &str)>) -> (u16, Value) {
    let pipeline = world.surroundings.pipeline.clone();
    let definitions = watch::channel(RunningDefinitions { pipeline, ..Default::default() }).0;
    let lake = world.surroundings.lake.clone();
    let router = guard(read_again_router(lake, Definitions::of(&definitions), None), access, Audit::Off, Vec::new());
    let router = of_peer(router, Some(peer.parse().unwrap()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1/sources/log/rejected/read-again", listener.local_addr().unwrap());
    let stop = CancellationToken::new();
    let served = axum::serve(listener, router).with_graceful_shutdown(stop.clone().cancelled_owned());
    tokio::spawn(served.into_future());
    let request = reqwest::Client::new().post(url);
    let request = header.into_iter().fold(request, |request, (name, value)| request.header(name, value));
    let response = request.send().await.unwrap();
    let answer = (response.status().as_u16(), response.json().await.unwrap());
    stop.cancel();
    answer
}

#[tokio::test]
async fn reading_again_is_for_callers_on_this_machine_and_needs_the_batch_role() {
    let world = World::new();
    let page = Some(("Origin", "http://127.0.0.1:8080"));
    let (operate, elsewhere, command) = ("`operate = true`", "`gateway.allowed_origins`", "`twofold rejected SOURCE");
    for (peer, access, header, refused) in [
        ("127.0.0.1:1", Access::Local, None, None),
        ("[::1]:1", Access::Local, None, None),
        ("10.0.0.7:1", Access::Local, None, Some(operate)),
        ("10.0.0.7:1", Access::Open, None, None),
        ("127.0.0.1:1", Access::Local, Some(("X-Forwarded-For", "10.0.0.7")), Some(operate)),
        ("127.0.0.1:1", Access::Local, page, Some(elsewhere)),
        ("127.0.0.1:1", Access::Open, page, Some(command)),
    ] {
        let (status, problem) = read_again(&world, peer, access, header).await;
        assert_eq!(status, if refused.is_none() { 503 } else { 403 }, "{peer} {header:?}: {problem}");
        let hint = refused.unwrap_or("`twofold batch run --full`");
        assert!(problem["hint"].as_str().unwrap().contains(hint), "{problem}");
    }
}

#[test]
fn the_command_says_how_many_records_came_back() {
    let answer = |then: u64, now: u64| {
        json!({"source": "hits", "records": 120, "rejected_when_archived": then, "rejected_now": now, "views": {
            "a": {"state": "published", "version": 7, "error": null},
            "b": {"state": "nothing new", "version": null, "error": null},
            "c": {"state": "failed", "version": null, "error": "no room"},
        }})
    };
    for (then, now, change) in [(20, 5, "15 came back"), (5, 5, "none came back"), (5, 7, "2 more are rejected")] {
        let expected = format!(
            "source hits: of 120 records archived, {then} were rejected when they were archived and {now} are now: \
             {change}\na: published: 7\nb: nothing new\nc: failed: no room\n"
        );
        assert_eq!(draw_read_again(&answer(then, now)), expected);
    }
}

#[test]
fn the_command_draws_counts_before_records_and_no_control_letter() {
    let answer = json!({
        "source": "hits", "total": 12, "looked_at": 3, "archived": {"0": 8, "1": 3}, "note": "n", "withheld": null,
        "reasons": [{"reason": "bad_json", "records": 2}, {"reason": "wrong_type", "records": 1}],
        "records": [
            {"partition": 0, "offset": 7, "time": "2026-03-01T12:00:00.000Z", "reason": "bad_json", "column": null,
             "error": "bad JSON at byte 0: not UTF-8", "payload": "//57", "encoding": "base64", "payload_bytes": 3,
             "truncated": false},
            {"partition": 1, "offset": 2, "time": "2026-03-01T11:59:59.000Z", "reason": "bad_json", "column": null,
             "error": "bad JSON at byte 1: expected a value, found `x`", "payload": "a\u{1b}[2Jb\n", "encoding": "utf-8",
             "payload_bytes": 5000, "truncated": true},
        ],
    });
    let text = draw_rejected(&answer);
    for part in [
        "source hits: 12 rejected, 3 of them looked at\n",
        "a\u{fffd}[2Jb\u{fffd}… (5000 bytes)",
        "archived up to 0:8 1:3; what is newer is not archived yet\n",
    ] {
        assert!(text.contains(part), "`{part}` is missing in:\n{text}");
    }
    assert!(!text.contains('\u{1b}'), "{text}");
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    let at = |words: &str| lines.iter().position(|line| line.join(" ") == words).unwrap_or_else(|| panic!("{text}"));
    assert!(at("reason records") < at("bad_json 2") && at("bad_json 2") < at("wrong_type 1"), "{text}");
    assert!(at("wrong_type 1") < at("offset when reason payload"), "{text}");
    at("0:7 2026-03-01T12:00:00Z bad JSON at byte 0: not UTF-8 base64 //57");

    let withheld = json!({"source": "hits", "total": 0, "looked_at": 0, "archived": {}, "note": "nothing yet",
        "reasons": [], "records": [], "withheld": "not for you"});
    assert_eq!(draw_rejected(&withheld), "source hits: 0 rejected\nnothing yet\nnot for you\n");
}
