//! What the processes of a deployment tell each other: who hears of a stopped source, when it is over, and that nobody
//! is heard for ever. Turns are taken by hand, so that no clock takes part.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use bytes::Bytes;
use lake::Lake;
use object_store::memory::InMemory;
use object_store::path::Path;
use positions::SourceName;
use query_gateway::Trouble;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use twofold::definitions::{Definitions, RunningDefinitions};
use twofold::health::{Health, TOPIC};
use twofold::notices::run::{NoticeLoop, exchange_notices};
use twofold::notices::watch::{CHANGES, NoticeWatch, UNCHANGED};
use twofold::notices::{Found, Notices};
use twofold::role::{Role, Roles};
use views::Pipeline;

use super::steady;
use crate::simulation::chance::{Chance, Gate, Part};
use crate::simulation::objects::SimObjects;
use crate::simulation::plan::Rates;
use crate::support::object_layer::Layered;

/// Turns until a notice that is new counts.
const UNTIL_HEARD: u32 = CHANGES + 1;

/// What the processes share.
struct Shared {
    chance: Arc<Chance>,
    lake: Lake,
    processes: u128,
}

impl Shared {
    fn new() -> Self {
        let chance = Arc::new(Chance::new(1, Rates::default()));
        let gate = Gate { chance: chance.clone(), role: "process".to_owned(), kill: None };
        let objects = SimObjects { inner: Arc::new(InMemory::new()), gate, bug: None };
        Self { chance, lake: Lake::new(Arc::new(Layered::new(objects)), Path::from("lake")), processes: 0 }
    }

    /// A process with one role, and the sources `hits` and `edits`.
    fn start(&mut self, role: Role) -> Process {
        self.processes += 1;
        let pipeline = Pipeline::read(&(steady("hits") + &steady("edits")), &BTreeMap::new()).unwrap();
        let set = RunningDefinitions { pipeline: Arc::new(pipeline), ..RunningDefinitions::default() };
        let (health, notices) = (Arc::new(Health::default()), Arc::new(Notices::default()));
        let exchange = NoticeLoop {
            notices: notices.clone(),
            lake: self.lake.clone(),
            health: health.clone(),
            roles: Roles::only(role),
            definitions: Definitions::of(&watch::Sender::new(set)),
            process: self.processes,
            watch: NoticeWatch::default(),
            beat: 0,
        };
        Process { health, notices, exchange }
    }

    async fn objects(&self) -> usize {
        self.lake.objects(&self.lake.path("_notices")).await.unwrap().len()
    }
}

struct Process {
    health: Arc<Health>,
    notices: Arc<Notices>,
    exchange: NoticeLoop,
}

impl Process {
    fn stop(&self, source: &str, stage: &str) {
        self.health.stop_source(source, stage, &anyhow!("the topic is another one"));
    }

    async fn turn(&mut self) {
        self.exchange.turn().await.unwrap();
    }

    /// The stopped sources, each with the stages.
    fn stopped(&self) -> Vec<String> {
        let stages = |stages: BTreeMap<String, _>| stages.into_keys().collect::<Vec<_>>().join("+");
        self.health.stops().into_iter().map(|(source, of_source)| format!("{source}: {}", stages(of_source))).collect()
    }
}

/// All take their turns, so often.
async fn turn_all(times: u32, processes: &mut [&mut Process]) {
    for _ in 0..times {
        for process in processes.iter_mut() {
            process.turn().await;
        }
    }
}

#[tokio::test]
async fn a_stopped_source_is_known_to_the_other_processes_until_its_role_goes_on() {
    let mut shared = Shared::new();
    let (mut archive, mut collector) = (shared.start(Role::Archive), shared.start(Role::Collector));
    turn_all(3, &mut [&mut archive, &mut collector]).await;
    assert_eq!(shared.objects().await, 0, "where nothing is wrong, nothing is written");

    archive.stop("hits", "archive");
    turn_all(UNTIL_HEARD - 1, &mut [&mut archive, &mut collector]).await;
    assert!(collector.stopped().is_empty(), "others had no time to say that they archive it");
    turn_all(1, &mut [&mut archive, &mut collector]).await;
    assert_eq!(collector.stopped(), ["hits: archive"]);
    let here = archive.health.stops_here();
    assert_eq!(collector.health.stops(), here, "reason and way out are the same");
    assert!(collector.health.stops_here().is_empty());
    assert_eq!(shared.objects().await, 1, "who hears does not repeat it");

    archive.health.clear_source("hits", "archive");
    turn_all(1, &mut [&mut archive, &mut collector]).await;
    assert!(collector.stopped().is_empty());
    assert_eq!(shared.objects().await, 0);
}

#[tokio::test]
async fn what_a_killed_process_has_told_is_forgotten_and_never_believed_by_who_comes_later() {
    let mut shared = Shared::new();
    let (mut archive, mut collector) = (shared.start(Role::Archive), shared.start(Role::Collector));
    archive.stop("hits", "archive");
    turn_all(UNTIL_HEARD, &mut [&mut archive, &mut collector]).await;
    drop(archive);
    let mut later = shared.start(Role::Collector);
    for _ in 1..UNCHANGED {
        turn_all(1, &mut [&mut collector, &mut later]).await;
        assert_eq!(collector.stopped(), ["hits: archive"]);
        assert!(later.stopped().is_empty());
    }
    turn_all(1, &mut [&mut collector]).await;
    assert!(collector.stopped().is_empty());
    assert_eq!(shared.objects().await, 0, "nobody has to look at it again");
}

#[tokio::test]
async fn a_process_in_the_place_of_a_killed_one_ends_the_stop_at_once_or_tells_its_own() {
    for is_mended in [true, false] {
        let mut shared = Shared::new();
        let (mut archive, mut collector) = (shared.start(Role::Archive), shared.start(Role::Collector));
        archive.stop("hits", "archive");
        turn_all(UNTIL_HEARD, &mut [&mut archive, &mut collector]).await;
        drop(archive);
        let mut next = shared.start(Role::Archive);
        turn_all(1, &mut [&mut next, &mut collector]).await;
        assert!(collector.stopped().is_empty(), "somebody archives it");
        if !is_mended {
            next.stop("hits", "archive");
        }
        for turn in 0..3 * UNCHANGED {
            turn_all(1, &mut [&mut next, &mut collector]).await;
            let is_stopped = !collector.stopped().is_empty();
            assert!(!is_mended || !is_stopped, "turn {turn}");
            assert!(is_mended || is_stopped || turn < UNTIL_HEARD, "turn {turn}");
        }
        assert_eq!(shared.objects().await, usize::from(!is_mended));
    }
}

#[tokio::test]
async fn a_source_that_another_process_archives_has_not_stopped() {
    // Whoever of them looks first.
    for collector_at in 0..3 {
        let mut shared = Shared::new();
        let (mut ill, mut well) = (shared.start(Role::Archive), shared.start(Role::Archive));
        let mut collector = shared.start(Role::Collector);
        ill.stop("hits", "archive");
        let problem = Trouble::new("source-stopped", "source hits", "it has stopped", "mend it");
        ill.notices.tell(Found { problems: vec![problem], with_rows: BTreeSet::new() });
        for turn in 0..3 * UNCHANGED {
            let mut all = vec![&mut ill, &mut well];
            all.insert(collector_at, &mut collector);
            turn_all(1, &mut all).await;
            assert!(collector.stopped().is_empty(), "turn {turn}");
            assert!(collector.notices.heard().problems.is_empty(), "turn {turn}");
            assert!(well.stopped().is_empty(), "turn {turn}");
        }

        well.stop("hits", "archive");
        turn_all(UNTIL_HEARD, &mut [&mut ill, &mut well, &mut collector]).await;
        assert_eq!(collector.stopped(), ["hits: archive"]);
        assert_eq!(collector.notices.heard().problems.len(), 1);
    }
}

#[tokio::test]
async fn while_the_store_is_away_nothing_changes() {
    let mut shared = Shared::new();
    let (mut archive, mut collector) = (shared.start(Role::Archive), shared.start(Role::Collector));
    archive.stop("hits", "archive");
    turn_all(UNTIL_HEARD, &mut [&mut archive, &mut collector]).await;
    let heard = collector.notices.heard();
    shared.chance.set_down(Part::Objects, true);
    for _ in 0..3 * UNCHANGED {
        archive.exchange.turn().await.unwrap_err();
        collector.exchange.turn().await.unwrap_err();
        assert_eq!((collector.stopped(), collector.notices.heard()), (vec!["hits: archive".to_owned()], heard.clone()));
    }
    shared.chance.set_down(Part::Objects, false);
    // The one that tells may find the store later than who hears.
    turn_all(UNCHANGED - 1, &mut [&mut collector]).await;
    turn_all(1, &mut [&mut archive, &mut collector]).await;
    assert_eq!(collector.stopped(), ["hits: archive"]);
}

#[tokio::test]
async fn a_stop_is_told_as_of_the_stage_whose_work_is_not_done() {
    let mut shared = Shared::new();
    let (mut archive, mut speed) = (shared.start(Role::Archive), shared.start(Role::Speed));
    let mut collector = shared.start(Role::Collector);
    archive.stop("hits", TOPIC);
    speed.stop("edits", TOPIC);
    // What keeps this one from making the topic says nothing of who reads it.
    collector.stop("edits", TOPIC);
    let mut gateway = shared.start(Role::Gateway);
    archive.notices.tell(Found { problems: Vec::new(), with_rows: BTreeSet::from([SourceName::new("hits")]) });
    turn_all(UNTIL_HEARD, &mut [&mut archive, &mut speed, &mut collector, &mut gateway]).await;
    assert_eq!(gateway.stopped(), ["edits: speed", "hits: archive"]);
    let heard = gateway.notices.heard();
    let has_rows = |source: &str| heard.has_rows(&SourceName::new(source));
    assert!(has_rows("hits") && !has_rows("edits"), "{heard:?}");
}

#[tokio::test]
async fn whoever_builds_views_of_a_stopped_source_says_so() {
    let mut shared = Shared::new();
    let (mut archive, mut gateway) = (shared.start(Role::Archive), shared.start(Role::Gateway));
    archive.stop("hits", "archive");
    turn_all(UNTIL_HEARD, &mut [&mut archive, &mut gateway]).await;
    assert!(gateway.notices.heard().with_batch.is_empty());
    let mut batch = shared.start(Role::Batch);
    turn_all(1, &mut [&mut archive, &mut batch, &mut gateway]).await;
    assert_eq!(gateway.notices.heard().with_batch, BTreeSet::from([SourceName::new("hits")]));
    assert_eq!(gateway.stopped(), ["hits: archive"], "it is not archived for all that");
    drop(batch);
    turn_all(UNCHANGED, &mut [&mut archive, &mut gateway]).await;
    assert!(gateway.notices.heard().with_batch.is_empty());
}

#[tokio::test]
async fn problems_are_heard_with_who_tells_them_and_are_not_passed_on() {
    let mut shared = Shared::new();
    let (mut batch, mut gateway) = (shared.start(Role::Batch), shared.start(Role::Gateway));
    let since = Some("2026-01-05T10:00:00.000Z".to_owned());
    let told: Vec<Trouble> = (0..200)
        .map(|number| {
            let trouble = Trouble::new("files-missing", format!("table {number}"), "é".repeat(5_000), "mend it");
            Trouble { since: since.clone(), ..trouble }
        })
        .collect();
    batch.notices.tell(Found { problems: told, with_rows: BTreeSet::new() });
    turn_all(UNTIL_HEARD, &mut [&mut batch, &mut gateway]).await;
    let heard = gateway.notices.heard().problems;
    assert_eq!(heard.len(), 100, "bounded");
    let first = &heard[0];
    assert_eq!((&*first.kind, first.about.as_str()), ("files-missing", "table 0"));
    assert_eq!((&first.since, first.told_by.as_deref()), (&since, Some("batch")));
    assert!(first.problem.starts_with("éé") && first.problem.chars().count() < 1_100, "bounded");
    assert_eq!(shared.objects().await, 1);
    batch.notices.tell(Found::default());
    turn_all(1, &mut [&mut batch, &mut gateway]).await;
    assert!(gateway.notices.heard().problems.is_empty());
}

#[tokio::test]
async fn what_cannot_be_read_or_is_of_other_sources_stops_nothing() {
    let mut shared = Shared::new();
    let mut collector = shared.start(Role::Collector);
    let stop = r#"{"archive": {"reason": "r", "way_out": "w", "of_a_later_version": 1}}"#;
    for turn in 0..UNTIL_HEARD {
        let later = format!(r#"{{"beat": {turn}, "later": [], "stops": {{"hits": {stop}, "others": {stop}}}}}"#);
        let nonsense = format!("{turn} is no JSON");
        for (name, text) in [("later.json", later), ("nonsense", nonsense)] {
            let path = shared.lake.path(&format!("_notices/{name}"));
            shared.lake.put(&path, Bytes::from(text)).await.unwrap();
        }
        collector.turn().await;
    }
    assert_eq!(collector.stopped(), ["hits: archive"]);
    turn_all(UNCHANGED, &mut [&mut collector]).await;
    assert_eq!(shared.objects().await, 0);
}

#[tokio::test(start_paused = true)]
async fn the_loops_tell_by_themselves_and_a_process_that_ends_takes_its_notice_along() {
    let mut shared = Shared::new();
    let (archive, collector) = (shared.start(Role::Archive), shared.start(Role::Collector));
    archive.stop("hits", "archive");
    let (end_archive, end_collector) = (CancellationToken::new(), CancellationToken::new());
    let (writing, reading) = (
        exchange_notices(archive.exchange, end_archive.clone()),
        exchange_notices(collector.exchange, end_collector.clone()),
    );
    let until_stopped = async |is_stopped: bool| {
        for _ in 0..60 {
            if collector.health.stops().is_empty() != is_stopped {
                return;
            }
            sleep(Duration::from_secs(1)).await;
        }
        panic!("after a minute of looks it is not known that stopped is {is_stopped}");
    };
    let watching = async {
        until_stopped(true).await;
        end_archive.cancel();
        until_stopped(false).await;
        end_collector.cancel();
    };
    let (wrote, read, ()) = tokio::join!(writing, reading, watching);
    wrote.unwrap();
    read.unwrap();
    assert_eq!(shared.objects().await, 0);
}
