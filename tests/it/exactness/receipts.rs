//! Receipts: random answers of both layers are proved bit by bit later, from the lake alone; a wrong one is not; what
//! is not archived yet, erased, lost or redefined is told as such. And the account that a receipt comes with.

use std::collections::BTreeMap;
use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use batch_layer::erase::{EraseComponents, Wanted, erase, search};
use batch_layer::recompute::Mode;
use batch_layer::{CompactSettings, RecomputeSettings};
use edge::{Names, Principal};
use positions::{DefinitionHash, Hole, Offset, PartitionId};
use query_gateway::{AskedGroups, FinishedRows, GatewaySettings, RowsRequest};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;
use tower::ServiceExt;
use twofold::commands::explain::in_words;
use twofold::explain::{ExplainLimits, Explained, explain, receipt_of};
use twofold::explain_route::explain_router;
use twofold::receipt::run::verify_receipt;
use twofold::receipt::{FORM, Receipt, Since, Verdict, digest_of, judge};

use super::world::{Event, HOUR, START, World};
use super::{burst, event, publish_rows};
use crate::support::house::compact;
use crate::support::principals::{as_principal, reader};
use crate::support::seeds::seeds;
use crate::support::traces::traces_in_lake;

/// SHA-256 of nothing.
const NOTHING: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const MINUTE: Duration = Duration::from_secs(60);

fn settings() -> RecomputeSettings {
    RecomputeSettings { target_partitions: 1, memory_bytes: 64 << 20, ..RecomputeSettings::default() }
}

fn limits() -> ExplainLimits {
    ExplainLimits { rows: 1_000_000, events: 1_000, samples: 2, time: MINUTE, recompute: settings() }
}

fn by_page(page: &str) -> RowsRequest {
    RowsRequest::new("by_page").with("page", page)
}

async fn receipt(world: &World, request: &RowsRequest) -> Receipt {
    let account = world.gateway.account(&Principal::anyone(), request).await.unwrap();
    let master = world.master().open().await.unwrap();
    receipt_of(&account, &[], master.as_ref()).unwrap()
}

async fn explained(world: &World, request: &RowsRequest, limits: ExplainLimits) -> Explained {
    let account = world.gateway.account(&Principal::anyone(), request).await.unwrap();
    explain(world.lake.clone(), account, limits).await.unwrap()
}

/// As a user has it: as text, and with the lake alone.
async fn verdict(world: &World, receipt: &Receipt) -> Verdict {
    let receipt = Receipt::read(&receipt.to_text()).unwrap();
    let pipeline = Some(world.pipeline.as_ref());
    verify_receipt(&world.lake, pipeline, &receipt, Duration::ZERO, &settings()).await.unwrap()
}

fn not_verifiable(verdict: &Verdict) -> String {
    let Verdict::NotVerifiable { reasons } = verdict else { panic!("{verdict:?}") };
    reasons.join("; ")
}

/// A random question about groups that there are, or not.
fn question(rng: &mut StdRng) -> RowsRequest {
    let hour = |hours: i64| {
        let at = chrono::DateTime::from_timestamp_micros((START / HOUR - hours) * HOUR).unwrap();
        at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
    };
    let start = rng.random_range(0..32);
    match rng.random_range(0..8) {
        0 => by_page("/nobody was here"),
        1 => RowsRequest::new("by_page").with("page.is", "null"),
        2 => RowsRequest::new("by_page").with("by", ""),
        3 => RowsRequest::new("by_page").with("page.ne", "/1"),
        4 => RowsRequest::new("by_hour").with("hour", hour(start)),
        5 => RowsRequest::new("by_hour").with("from", hour(start)).with("to", hour(start - 6)),
        6 => RowsRequest::new("by_hour").with("bucket", "day"),
        _ => by_page(&format!("/{}", rng.random_range(0..6))),
    }
}

/// Merges files of the master dataset until none is left to merge.
async fn compact_all(world: &World) {
    let often = CompactSettings { is_on: true, file_bytes: 1 << 20, min_files: 2 };
    let mut merges = 0;
    loop {
        let done = compact(&world.batch_context(), &world.source(), &often, &settings()).await.unwrap();
        if done == 0 {
            break;
        }
        merges += done;
    }
    assert!(merges > 0, "nothing was compacted");
}

/// Some seconds: each of the receipts is computed from all records again.
#[tokio::test]
async fn random_receipts_are_equal_after_publications_compaction_and_a_wiped_store() {
    for seed in seeds(5) {
        eprintln!("TWOFOLD_SEED={seed}");
        let (world, mut rng, mut next_id) = (World::new(seed).await, StdRng::seed_from_u64(seed), 0);
        let mut receipts = Vec::new();
        for round in 0..3_u32 {
            burst(&world, &mut rng, &mut next_id).await;
            world.send_nonsense("x").await;
            // What realtime counts once more, and batch does not: far apart, and perhaps in another partition.
            let stray = event(1_000, "/1", 7);
            world.send(&stray, &round.to_string()).await;
            world.settle().await;
            for _ in 0..8 {
                receipts.push(receipt(&world, &question(&mut rng)).await);
            }
            world.publish(if rng.random_bool(0.3) { Mode::Full } else { Mode::Incremental }).await;
            for _ in 0..8 {
                receipts.push(receipt(&world, &question(&mut rng)).await);
            }
            world.clock.advance(MINUTE);
        }
        compact_all(&world).await;
        world.wipe_realtime().await;
        world.publish(Mode::Full).await;
        assert!(receipts.iter().any(|receipt| receipt.rows == 0) && receipts.iter().any(|receipt| receipt.rows > 1));
        for receipt in &receipts {
            let found = verdict(&world, receipt).await;
            assert!(matches!(found, Verdict::Equal { .. }), "{found:?} of {}", receipt.to_text());
        }
    }
}

#[tokio::test]
async fn copies_that_only_batch_knows_are_in_a_receipt_of_realtime_and_in_none_of_the_version_after() {
    let world = World::new(11).await;
    world.send(&event(1, "/a", 10), "1").await;
    world.round("by_page").await;
    world.clock.advance(MINUTE);
    world.send(&event(1, "/a", 10), "1").await;
    world.settle().await;
    let before = explained(&world, &by_page("/a"), limits()).await;
    world.publish(Mode::Incremental).await;
    let after = explained(&world, &by_page("/a"), limits()).await;
    assert_ne!(before.receipt.digest, after.receipt.digest);
    for explained in [&before, &after] {
        assert_eq!(verdict(&world, &explained.receipt).await, Verdict::Equal { within_bound: Vec::new() });
    }
    let copies = |explained: &Explained| explained.events.as_ref().map(|events| events.counted.copies);
    assert_eq!((copies(&before), copies(&after)), (Some(0), Some(1)));
    let runs = |explained: &Explained| explained.account.partitions.values().map(|pin| pin.runs.len()).sum::<usize>();
    assert_eq!((runs(&before), runs(&after)), (1, 0));
    let states: Vec<u64> = after.files.as_ref().unwrap().iter().map(|file| file.states).collect();
    assert_eq!((states, after.receipt.files.len()), (vec![1], 1));
    let absent = explained(&world, &by_page("/b"), limits()).await;
    assert_eq!((absent.files, absent.events.map(|events| events.counted.total)), (Some(Vec::new()), Some(0)));
}

#[tokio::test]
async fn a_damaged_version_makes_receipts_that_are_different() {
    let world = World::new(12).await;
    for id in 1..6 {
        world.send(&event(id, &format!("/{id}"), 10), &id.to_string()).await;
    }
    world.round("by_page").await;
    publish_rows(&world, "by_page", None, |row, _| row != 2).await;
    let damaged = receipt(&world, &RowsRequest::new("by_page")).await;
    let Verdict::Different { differences } = verdict(&world, &damaged).await else { panic!("{damaged:?}") };
    assert!(differences[1].contains("of 4 rows, the master dataset gives 5"), "{differences:?}");
    let other = Receipt { digest: NOTHING.to_owned(), ..damaged };
    assert_eq!(verdict(&world, &other).await.exit_code(), 1);
}

#[tokio::test]
async fn what_is_not_archived_is_waited_for_and_then_told() {
    let world = World::new(13).await;
    world.send(&event(1, "/a", 10), "1").await;
    world.run_speed(None).await;
    let early = receipt(&world, &by_page("/a")).await;
    let found = verdict(&world, &early).await;
    let Verdict::NotArchived { behind } = &found else { panic!("{found:?}") };
    let ahead: Vec<(Offset, Offset)> = behind.values().map(|one| (one.archived, one.head)).collect();
    assert_eq!((ahead, found.exit_code()), (vec![(Offset(0), Offset(1))], 3));
    let pipeline = Some(world.pipeline.as_ref());
    let settings = settings();
    let waiting = verify_receipt(&world.lake, pipeline, &early, MINUTE, &settings);
    let (found, ()) = tokio::join!(waiting, world.run_archive());
    assert_eq!(found.unwrap(), Verdict::Equal { within_bound: Vec::new() });
}

#[tokio::test]
async fn what_was_erased_is_named_and_nothing_of_a_receipt_is_kept() {
    let world = World::new(14).await;
    for id in 1..4 {
        world.send(&event(id, "/person-77", 10), &id.to_string()).await;
        world.send(&event(10 + id, "/else", 1), &id.to_string()).await;
    }
    world.round("by_page").await;
    let objects = async || {
        let found = world.lake.objects(&world.lake.path("")).await.unwrap();
        found.into_iter().map(|object| (object.location.to_string(), object.size)).collect::<BTreeMap<_, _>>()
    };
    let stored = objects().await;
    let person = explained(&world, &by_page("/person-77"), limits()).await;
    let other = receipt(&world, &by_page("/else")).await;
    assert!(person.samples[0].payload.contains("/person-77"), "{:?}", person.samples);
    assert_eq!(verdict(&world, &person.receipt).await.exit_code(), 0);
    assert_eq!(objects().await, stored, "accounts, receipts and samples are kept nowhere");
    let components =
        EraseComponents { context: world.batch_context(), source: world.source(), store: None, settings: settings() };
    let wanted = Wanted { condition: Some("page = '/person-77'".to_owned()), ..Wanted::default() };
    let found = search(&components, &wanted).await.unwrap();
    world.master().erased().add(&found.records, world.ids.as_ref()).await.unwrap();
    erase(&components).await.unwrap();
    assert_eq!(traces_in_lake(&world.lake, "/person-77").await, Vec::<String>::new());
    let found = verdict(&world, &person.receipt).await;
    assert!(not_verifiable(&found).contains("events of source hits were erased since"), "{found:?}");
    assert_eq!(found.exit_code(), 4);
    assert_eq!(verdict(&world, &other).await, Verdict::Equal { within_bound: Vec::new() }, "it never was in it");
}

#[tokio::test]
async fn lost_offsets_and_a_lost_definition_are_named() {
    let world = World::new(15).await;
    world.send(&event(1, "/a", 10), "1").await;
    world.round("by_page").await;
    let told = receipt(&world, &by_page("/a")).await;
    let view = world.view("by_page");
    let partition = *told.head.0.iter().find(|(_, head)| head.offset > Offset(0)).unwrap().0;
    let hole = |to| Hole { partition, from: Offset(0), to: Offset(to) };
    let nothing = FinishedRows::default();
    let lost = judge(&told, &view, &nothing, &Since { erased: 0, holes: vec![hole(9)] });
    assert!(not_verifiable(&lost).contains("offsets [0, 1) of partition"), "{lost:?}");
    let known = Receipt { holes: vec![hole(1)], ..told.clone() };
    let differs = judge(&known, &view, &nothing, &Since { erased: 0, holes: vec![hole(9)] });
    assert!(matches!(differs, Verdict::Different { .. }), "the receipt knew of it: {differs:?}");
    let elsewhere = Since { erased: 0, holes: vec![Hole { partition: PartitionId(9), ..hole(9) }] };
    assert!(matches!(judge(&told, &view, &nothing, &elsewhere), Verdict::Different { .. }));
    let redefined = Receipt { definition: DefinitionHash(7), ..told };
    assert!(not_verifiable(&verdict(&world, &redefined).await).contains("neither that of the pipeline nor kept"));
}

#[tokio::test]
async fn a_group_that_is_not_there_has_a_receipt_and_texts_that_are_none_are_refused() {
    let world = World::new(16).await;
    world.send(&event(1, "/a", 10), "1").await;
    world.round("by_page").await;
    let absent = receipt(&world, &by_page("/b")).await;
    assert_eq!((absent.rows, absent.digest.as_str()), (0, NOTHING));
    assert_eq!(verdict(&world, &absent).await.exit_code(), 0);
    let counted_wrong = Receipt { rows: 1, ..absent.clone() };
    assert_eq!(verdict(&world, &counted_wrong).await.exit_code(), 1);
    let there = Receipt { question: vec![("page".to_owned(), "/a".to_owned())], ..absent.clone() };
    assert_eq!(verdict(&world, &there).await.exit_code(), 1);
    let later = Receipt { receipt: FORM + 1, ..absent };
    assert!(Receipt::read(&later.to_text()).unwrap_err().to_string().contains("a newer one"));
    assert!(Receipt::read("{\"page\": 1}").unwrap_err().to_string().contains("it is no receipt"));
}

/// What `docs/http.md` says of the digest.
#[tokio::test]
async fn the_digest_is_of_lines_as_answers_write_them() {
    let world = World::new(17).await;
    for (id, page) in [(1, "/b"), (2, "/a"), (3, "/a")] {
        world.send(&event(id, page, 1 << 60), &id.to_string()).await;
    }
    world.round("by_page").await;
    let account = world.gateway.account(&Principal::anyone(), &RowsRequest::new("by_page")).await.unwrap();
    let finished = FinishedRows::of(&account.view, &account.rows).unwrap();
    let lines = [
        r#"{"page":"/a","hits":2,"bytes":"2305843009213693952","most":"1152921504606846976"}"#,
        r#"{"page":"/b","hits":1,"bytes":"1152921504606846976","most":"1152921504606846976"}"#,
    ];
    assert_eq!((finished.lines.as_slice(), finished.approximate.len()), (lines.map(str::to_owned).as_slice(), 0));
    assert_eq!(digest_of(&FinishedRows::default()), NOTHING);
    assert_ne!(digest_of(&finished), NOTHING);
    let limited = [("limit".to_owned(), "1".to_owned())];
    let refused = AskedGroups::parse(&account.view, &limited, &GatewaySettings::default()).unwrap_err();
    assert!(refused.to_string().contains("an account is of all of it"), "{refused}");
}

#[tokio::test]
async fn the_events_of_a_group_are_those_that_its_numbers_count() {
    for seed in seeds(3) {
        eprintln!("TWOFOLD_SEED={seed}");
        let (world, mut rng, mut next_id) = (World::new(seed).await, StdRng::seed_from_u64(seed), 0);
        for _ in 0..2 {
            burst(&world, &mut rng, &mut next_id).await;
            world.settle().await;
            world.publish(Mode::Incremental).await;
        }
        // One partition: an event, what is none, and a late event, above the cut.
        world.send(&event(900, "/1", 1), "k").await;
        world.send_nonsense("k").await;
        world.send(&Event { time: START - 30 * HOUR, ..event(901, "/1", 1) }, "k").await;
        world.settle().await;
        let all = explained(&world, &RowsRequest::new("by_page"), limits()).await;
        let hits = all.account.rows.column_by_name("hits").unwrap();
        let hits: i64 = hits.as_primitive::<Int64Type>().values().iter().sum();
        let events = all.events.as_ref().unwrap();
        assert_eq!(events.counted.total - events.counted.copies, hits.unsigned_abs(), "{all:?}");
        assert_eq!(events.counted.first.len() as u64, events.counted.total);
        assert!(events.counted.late > 0 && events.rejected.total == 1, "{events:?}");
        assert_eq!((all.cut_short.as_deref(), all.not_archived.len()), (None, 0));
        let files = all.files.as_ref().unwrap();
        assert!(!files.is_empty() && files.iter().all(|file| file.row_groups == [0]), "{files:?}");
        let one = explained(&world, &by_page("/1"), ExplainLimits { events: 1, ..limits() }).await;
        assert!(one.cut_short.unwrap().contains("`gateway.explain_events`"));
        let none = explained(&world, &RowsRequest::new("by_page"), ExplainLimits { rows: 0, ..limits() }).await;
        assert!(none.events.is_none() && none.files.is_none());
        assert!(none.cut_short.unwrap().contains("`gateway.explain_rows`"));
        assert_eq!(none.receipt.digest, all.receipt.digest, "a receipt needs none of it");
    }
}

async fn ask(world: &World, principal: Principal, path: &str, origin: Option<&str>) -> (StatusCode, Value) {
    let router = explain_router(world.gateway.clone(), world.lake.clone(), settings());
    let mut request = Request::get(path);
    if let Some(origin) = origin {
        request = request.header("origin", origin);
    }
    let router = as_principal(router, principal);
    let response = router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let status = response.status();
    let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap())
}

#[tokio::test]
async fn events_are_shown_to_operators_and_accounts_to_those_who_see_all_rows() {
    let world = World::new(18).await;
    world.send(&event(1, "/secret", 10), "1").await;
    world.round("by_page").await;
    world.send(&event(2, "/secret", 10), "1").await;
    world.settle().await;
    let path = "/v1/views/by_page/explain?page=/secret";
    let (status, told) = ask(&world, Principal::anyone(), path, None).await;
    assert_eq!(status, StatusCode::OK, "{told}");
    assert_eq!((told["samples"].as_array().unwrap().len(), &told["withheld"]), (2, &Value::Null), "{told}");
    assert_eq!(told["events"]["first"][1]["layer"], "realtime", "{told}");
    assert_eq!(Receipt::read(&told.to_string()).unwrap().rows, 1);
    let words = in_words(&told);
    for part in ["by_page: 1 row", "batch version ", "2 events, 0 late, 0 copies", "receipt: sha256:"] {
        assert!(words.contains(part), "{words}");
    }
    let all_rows = reader(Names::All, &[]);
    for (principal, origin) in [(all_rows, None), (Principal::anyone(), Some("https://elsewhere.example"))] {
        let (status, told) = ask(&world, principal, path, origin).await;
        assert_eq!((status, told["samples"].as_array().unwrap().len()), (StatusCode::OK, 0), "{told}");
        assert!(told["withheld"].as_str().unwrap().contains("operate = true"), "{told}");
    }
    for path in [path, "/v1/views/nothing/explain"] {
        let some_rows = reader(Names::All, &[("page", &["/other"])]);
        let (status, told) = ask(&world, some_rows, path, None).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{told}");
        assert!(!told.to_string().contains("secret"), "{told}");
    }
    let (status, _) = ask(&world, Principal::anyone(), "/v1/views/nothing/explain", None).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}
