//! Definitions that change under load: the pipeline file is edited and applied, which all roles follow, and they are
//! started again one by one, in an order drawn from a seed. What did not change is answered all the while; what did is
//! answered by its former definition until it is built, and is right from its first answer on; the old file brings the
//! old view back.

use std::collections::BTreeMap;
use std::time::Instant;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use twofold::pipeline_file::read_pipeline;

use super::faults::Cluster;
use super::load::{Load, Pace};
use super::oracle::Oracle;
use super::reader::{Reader, heads};
use super::schedule::{ROLES, Role};
use super::{PAGES, PIPELINE, VIEW, World, catch_up, check_once_calm};
use crate::support::process::DEADLINE;
use crate::support::seeds::one_seed;

const WEIGHED: &str = "weighed_hits";

/// One state of the two files: the view that changes multiplies the sum of the amounts.
#[derive(Clone, Copy, Debug)]
struct Files {
    /// By the text of the view.
    factor: i64,
    /// By the static table: the weight of page `n` is this plus `n`.
    weight: i64,
}

impl Files {
    fn write(self, world: &World) {
        let Self { factor, .. } = self;
        let text = format!(
            "{PIPELINE}
            CREATE EXTERNAL TABLE pages (page VARCHAR, weight BIGINT) STORED AS CSV LOCATION 'pages.csv';
            CREATE MATERIALIZED VIEW {WEIGHED} AS
            SELECT pages.page, count(*) AS hits, sum(amount * weight * {factor}) AS weighed
            FROM hits JOIN pages ON hits.page = pages.page GROUP BY pages.page;"
        );
        let weights = (0..PAGES as i64).map(|page| format!("p{page},{}\n", self.weight + page));
        let csv = format!("page,weight\n{}", weights.collect::<String>());
        std::fs::write(world.folder.path().join("pages.csv"), csv).unwrap();
        std::fs::write(&world.setup.pipeline, world.own.services.pipeline(&text)).unwrap();
    }

    /// The hash of the view that changes, as envelopes have it, once the files are written.
    fn definition(world: &World) -> String {
        let pipeline = read_pipeline(&world.setup.pipeline).unwrap();
        json!(pipeline.view(WEIGHED).unwrap().hash.to_string()).to_string()
    }

    /// What the view must say of the records below `heads`: events, and the weighed sum.
    fn right(self, oracle: &Oracle, heads: &BTreeMap<i32, i64>) -> (i64, i64) {
        let pages = oracle.below(heads).expect("the oracle has read that far").pages;
        let weighed = |(page, (_, amount)): (usize, &(i64, i64))| amount * (self.weight + page as i64) * self.factor;
        (pages.iter().map(|(hits, _)| hits).sum(), pages.iter().enumerate().map(weighed).sum())
    }
}

/// The changing view, asked without pause.
#[derive(Default)]
struct Watcher {
    // By the hash of a definition: the files it stands in.
    definitions: BTreeMap<String, Files>,
    answers: Vec<Value>,
    being_built: usize,
    // How many answers came from a former definition.
    former: usize,
}

impl Watcher {
    async fn ask(&mut self, world: &World) {
        let Some((gateway, address)) = world.gateway.lock().unwrap().clone() else {
            return tokio::task::yield_now().await;
        };
        let request = world.client.get(format!("{address}/v1/views/{WEIGHED}/rows")).query(&[("by", "")]).send();
        let answer = async {
            let answer = request.await?;
            Ok::<_, reqwest::Error>((answer.status().as_u16(), answer.json::<Value>().await?))
        };
        match answer.await {
            Ok((200, answer)) => {
                let shown = json!({ "rows": answer["rows"], "envelope": answer["envelope"] });
                if self.answers.last().is_none_or(|last| last["envelope"]["head"] != shown["envelope"]["head"]) {
                    self.answers.push(shown);
                }
            }
            Ok((503, problem)) => {
                assert_eq!(problem["type"], "urn:twofold:problem:being-built", "{problem}");
                self.being_built += 1;
            }
            Err(_) if world.generation() != Some(gateway) => {}
            failed => panic!("a request failed though the gateway runs: {failed:?}\n{}", world.log("gateway")),
        }
    }

    fn check(&mut self, oracle: &Oracle) -> usize {
        let checked = self.answers.len();
        self.former = self.answers.iter().filter(|answer| !answer["envelope"]["former"].is_null()).count();
        for answer in self.answers.drain(..) {
            // A gateway whose files are not built yet answers by those before.
            let files = self.definitions[&answer["envelope"]["definition"].to_string()];
            let row = &answer["rows"][0];
            let said = (row["hits"].as_i64().unwrap_or(0), row["weighed"].as_i64().unwrap_or(0));
            let envelope = &answer["envelope"];
            assert_eq!(said, files.right(oracle, &heads(envelope)), "wrong for {files:?}: {envelope}");
        }
        checked
    }
}

/// Edits the files, starts every role again, and waits until the new view answers fresh and from a batch version.
async fn change(
    world: &World,
    cluster: &mut Cluster,
    rng: &mut StdRng,
    files: Files,
    watcher: &tokio::sync::Mutex<Watcher>,
) {
    files.write(world);
    watcher.lock().await.definitions.insert(Files::definition(world), files);
    // What was there before claims nothing by starting again.
    let applied = world.setup.run_to_its_end(&["apply"]).await;
    assert!(applied.status.success(), "{applied:?}");
    let mut roles = ROLES;
    roles.shuffle(rng);
    eprintln!("  {files:?}: {roles:?}");
    for role in roles {
        cluster.restart(world, role).await;
        tokio::time::sleep(std::time::Duration::from_millis(rng.random_range(0..1_500))).await;
    }
    let definition = until_served(world, cluster, WEIGHED).await;
    assert_eq!(definition, Files::definition(world));
}

/// Waits until a view answers fresh, by its present definition and from a batch version; the hash of that definition.
async fn until_served(world: &World, cluster: &Cluster, view: &str) -> String {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let (status, answer) = cluster.of(Role::Gateway).try_rows(view, &[("by", "")]).await;
        let envelope = &answer["envelope"];
        let own = status == 200 && envelope["former"].is_null();
        if own && envelope["stale"] == false && envelope["version"].is_i64() {
            return envelope["definition"].to_string();
        }
        assert!(Instant::now() < deadline, "{view} is not served: {answer}\n{}", super::logs(world));
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_view_is_built_beside_the_others_and_can_be_taken_back() {
    let Some(world) = World::new().await else { return };
    let seed = one_seed("definitions");
    let mut rng = StdRng::seed_from_u64(seed);
    let first = Files { factor: 1, weight: 1 };
    first.write(&world);
    let mut cluster = Cluster::start(&world).await;
    let watcher = tokio::sync::Mutex::new(Watcher {
        definitions: [(Files::definition(&world), first)].into(),
        ..Watcher::default()
    });
    let (mut load, mut reader, stop) = (Load::new(seed, Pace::SMALL), Reader::default(), CancellationToken::new());
    load.send_some(&world, 5).await;
    until_served(&world, &cluster, VIEW).await;
    let asking = async {
        loop {
            reader.ask(&world).await;
            watcher.lock().await.ask(&world).await;
            tokio::time::sleep(Pace::SMALL.asking).await;
        }
    };
    let changing = async {
        // Another text, another static table, and back to what was there.
        for files in [Files { factor: 3, weight: 1 }, Files { factor: 3, weight: 10 }, first] {
            change(&world, &mut cluster, &mut rng, files, &watcher).await;
        }
        stop.cancel();
    };
    tokio::select! {
        biased;
        ((), ()) = async { tokio::join!(load.run(&world, &stop), changing) } => {}
        () = asking => unreachable!("it asks without end"),
    }
    let oracle = catch_up(Oracle::new(&world.own.services)).await;
    let mut watcher = watcher.into_inner();
    let checked = watcher.check(&oracle);
    let (being_built, former) = (watcher.being_built, watcher.former);
    eprintln!("definitions: {checked} answers compared, {former} by a former one, {being_built} times being built");
    assert!(checked > 20 && being_built + former > 0);
    assert_eq!(reader.not_yet, 0, "the view that was never touched is answered by every gateway at once");
    check_once_calm(&world, &cluster, oracle, &mut reader, load.events as usize).await;
}
