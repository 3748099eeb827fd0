//! A source whose definition changes again and again while events come in and a reader asks without pause: a column is
//! added and used, NOT NULL is relaxed and an id named, a view is changed. All of it was sent from the beginning.
//!
//! Guarantee: an answer that is given is the law's for its own cut and head, by the definition of the process that gave
//! it, or by the one before where it says so; otherwise the view is being built, and nothing else. In the end every
//! view is the fold over all that was acknowledged.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chrono::{SecondsFormat, Utc};
use positions::PositionToken;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use serde_json::{Value, json};
use tests::services::Services;
use tokio_util::sync::CancellationToken;

use super::eventually;
use crate::support::post::post_lines;
use crate::support::process::{DEADLINE, Running, Setup};
use crate::support::seeds::one_seed;

const SOURCE: &str = "hits";
const HITS: &str = "hits_by_page";
const IDS: &str = "ids_by_page";
const PARTITIONS: i32 = 2;
const EVENTS_PER_REQUEST: u64 = 10;
const PAUSE: Duration = Duration::from_millis(50);
/// So many answers are waited for between two changes.
const ANSWERS_PER_STAGE: usize = 20;

/// The source and its views between two changes.
#[derive(Clone, Copy, Debug, Default)]
struct Stage {
    reads_country: bool,
    needs_no_amount: bool,
    has_ids: bool,
    leaves_out_negative: bool,
}

fn stages() -> [Stage; 4] {
    let first = Stage::default();
    let with_country = Stage { reads_country: true, ..first };
    let relaxed = Stage { needs_no_amount: true, has_ids: true, ..with_country };
    [first, with_country, relaxed, Stage { leaves_out_negative: true, ..relaxed }]
}

impl Stage {
    fn pipeline(self) -> String {
        let or_nothing = |is_there: bool, text: &'static str| if is_there { text } else { "" };
        let country = or_nothing(self.reads_country, ", country VARCHAR");
        let located = or_nothing(self.reads_country, ", count(country) AS located");
        let required = or_nothing(!self.needs_no_amount, " NOT NULL");
        let id = or_nothing(self.has_ids, ", event_id 'id'");
        let filter = or_nothing(self.leaves_out_negative, "WHERE amount >= 0");
        format!(
            "CREATE UNBOUNDED EXTERNAL TABLE {SOURCE} (
               id VARCHAR NOT NULL, time TIMESTAMP NOT NULL, page VARCHAR NOT NULL, amount BIGINT{required}{country}
             ) STORED AS JSON LOCATION 'kafka://{SOURCE}'
               OPTIONS (event_time 'time'{id}, grid '64', gap '3s', horizon '1 hour', partitions '{PARTITIONS}');

             CREATE MATERIALIZED VIEW {HITS} AS
             SELECT page, count(*) AS hits, sum(amount) AS amount{located} FROM {SOURCE} {filter} GROUP BY page;

             CREATE MATERIALIZED VIEW {IDS} AS
             SELECT page, count(DISTINCT id) AS ids FROM {SOURCE} GROUP BY page;"
        )
    }

    fn takes(self, sent: &Sent) -> bool {
        sent.amount.is_some() || self.needs_no_amount
    }

    /// Whether the condition of a view is true of an event; it is not where there is no amount.
    fn shows(self, view: &str, sent: &Sent) -> bool {
        view == IDS || !self.leaves_out_negative || sent.amount.is_some_and(|amount| amount >= 0)
    }

    /// The rows of a view over the events that count, by page.
    fn rows(self, view: &str, counted: &[&Sent]) -> BTreeMap<String, Value> {
        let mut pages: BTreeMap<String, Vec<&Sent>> = BTreeMap::new();
        for sent in counted.iter().copied().filter(|sent| self.shows(view, sent)) {
            pages.entry(sent.page.clone()).or_default().push(sent);
        }
        pages.into_iter().map(|(page, events)| (page.clone(), self.row(view, &page, &events))).collect()
    }

    fn row(self, view: &str, page: &str, events: &[&Sent]) -> Value {
        if view == IDS {
            let ids: BTreeSet<&str> = events.iter().map(|sent| sent.id.as_str()).collect();
            return json!({"page": page, "ids": ids.len()});
        }
        let amounts: Vec<i64> = events.iter().filter_map(|sent| sent.amount).collect();
        let amount = (!amounts.is_empty()).then(|| amounts.iter().sum::<i64>());
        let mut row = json!({"page": page, "hits": events.len(), "amount": amount});
        if self.reads_country {
            row["located"] = events.iter().filter(|sent| sent.has_country).count().into();
        }
        row
    }
}

/// A record of the topic, as it was sent.
#[derive(Debug)]
struct Sent {
    id: String,
    time: String,
    page: String,
    /// `None`: not there, or no number, which is NULL where it may be.
    amount: Option<i64>,
    has_country: bool,
}

impl Sent {
    fn read(payload: &[u8]) -> Self {
        let value: Value = serde_json::from_slice(payload).unwrap();
        let text = |name: &str| value[name].as_str().unwrap().to_owned();
        let amount = value["amount"].as_i64();
        let has_country = value["country"].is_string();
        Self { id: text("id"), time: text("time"), page: text("page"), amount, has_country }
    }

    fn identity(&self) -> (&str, &str) {
        (&self.id, &self.time)
    }
}

type Offsets = BTreeMap<i32, i64>;

/// Offsets of an envelope, by partition.
fn offsets(of: &Value) -> Offsets {
    of.as_object().unwrap().iter().map(|(id, offset)| (id.parse().unwrap(), offset.as_i64().unwrap())).collect()
}

/// The whole topic, read back from Kafka.
struct Topic(BTreeMap<i32, Vec<Sent>>);

impl Topic {
    fn read(services: &Services) -> Self {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &services.kafka)
            .set("group.id", services.named("oracle"))
            .set("enable.auto.commit", "false")
            .create()
            .unwrap();
        let (name, deadline) = (services.named(SOURCE), Instant::now() + DEADLINE);
        let mut assigned = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            assigned.add_partition_offset(&name, partition, Offset::Beginning).unwrap();
        }
        consumer.assign(&assigned).unwrap();
        let mut topic = Self((0..PARTITIONS).map(|partition| (partition, Vec::new())).collect());
        for partition in 0..PARTITIONS {
            let (_, end) = consumer.fetch_watermarks(&name, partition, Duration::from_secs(30)).unwrap();
            while (topic.0[&partition].len() as i64) < end {
                assert!(Instant::now() < deadline, "partition {partition}: {end} was never read");
                let Some(Ok(record)) = consumer.poll(Duration::from_millis(100)) else { continue };
                let records = topic.0.get_mut(&record.partition()).unwrap();
                assert_eq!(record.offset(), records.len() as i64, "records follow one another");
                records.push(Sent::read(record.payload().unwrap()));
            }
        }
        topic
    }

    fn ends(&self) -> Offsets {
        self.0.iter().map(|(partition, records)| (*partition, records.len() as i64)).collect()
    }

    fn ids(&self) -> usize {
        self.0.values().flatten().map(|sent| &sent.id).collect::<BTreeSet<_>>().len()
    }

    /// The events that count at a head above a cut: the law, word for word.
    fn counted(&self, stage: Stage, cut: &Offsets, head: &Offsets) -> Vec<&Sent> {
        let at = |offsets: &Offsets, partition: &i32| offsets.get(partition).copied().unwrap_or_default() as usize;
        let (mut counted, mut below) = (Vec::new(), HashSet::new());
        for (partition, records) in &self.0 {
            let archived = records[..at(cut, partition)].iter().filter(|sent| stage.takes(sent));
            counted.extend(archived.filter(|sent| !stage.has_ids || below.insert(sent.identity())));
        }
        for (partition, records) in &self.0 {
            let mut earlier = HashSet::new();
            let (cut, head) = (at(cut, partition), at(head, partition));
            for (offset, sent) in records[..head].iter().enumerate().filter(|(_, sent)| stage.takes(sent)) {
                let is_fresh = !stage.has_ids || earlier.insert(sent.identity());
                if offset >= cut && is_fresh {
                    counted.push(sent);
                }
            }
        }
        counted
    }
}

/// An answer, to be judged once the topic has been read.
struct Answer {
    /// The stage of the process that answered.
    process: usize,
    /// The stage whose definition it answered by.
    stage: usize,
    view: &'static str,
    rows: Value,
    envelope: Value,
}

impl Answer {
    fn check(&self, topic: &Topic) {
        let (stage, envelope) = (stages()[self.stage], &self.envelope);
        let counted = topic.counted(stage, &offsets(&envelope["cut"]), &offsets(&envelope["head"]));
        let page = |row: &Value| row["page"].as_str().unwrap().to_owned();
        let rows = self.rows.as_array().unwrap().iter();
        let found: BTreeMap<String, Value> = rows.map(|row| (page(row), row.clone())).collect();
        assert_eq!(found, stage.rows(self.view, &counted), "{} in {stage:?}: {envelope}", self.view);
        assert_eq!(envelope["holes"], json!([]), "{envelope}");
    }
}

/// What outlives the processes, and where the present one is.
struct World {
    services: Services,
    setup: Setup,
    _folder: tempfile::TempDir,
    client: reqwest::Client,
    // The stage and address of the process that runs: set once it is ready, taken away before it ends.
    serving: Mutex<Option<(usize, String)>>,
    token: Mutex<PositionToken>,
    answers: Mutex<Vec<Answer>>,
    being_built: AtomicU64,
}

impl World {
    /// `None` where there are no services.
    fn new() -> Option<Self> {
        let services = Services::find()?;
        let folder = tempfile::tempdir().unwrap();
        let setup = Setup::new(folder.path(), &services.pipeline(&stages()[0].pipeline()), services.settings())
            .with_short_waits()
            .with("ARCHIVE__COMMIT_INTERVAL", "200ms")
            .with("BATCH__INTERVAL", "1s")
            .with("SPEED__COURTESY", "500ms")
            .with("LOG__SESSION_TIMEOUT", "3s");
        Some(Self {
            services,
            setup,
            _folder: folder,
            client: reqwest::Client::builder().timeout(Duration::from_secs(60)).build().unwrap(),
            serving: Mutex::default(),
            token: Mutex::default(),
            answers: Mutex::default(),
            being_built: AtomicU64::new(0),
        })
    }

    fn serving(&self) -> Option<(usize, String)> {
        self.serving.lock().unwrap().clone()
    }

    /// Sends events until `stop`, some of them twice, each request until it is stored; how many events there are.
    async fn write(&self, seed: u64, stop: &CancellationToken) -> u64 {
        let mut random = StdRng::seed_from_u64(seed);
        let (mut events, mut recent) = (0, Vec::new());
        while !stop.is_cancelled() {
            let mut lines: Vec<String> =
                (events..events + EVENTS_PER_REQUEST).map(|number| event(number, &mut random)).collect();
            events += EVENTS_PER_REQUEST;
            recent.extend(lines.iter().cloned());
            recent.drain(..recent.len().saturating_sub(500));
            lines.push(recent[random.random_range(0..recent.len())].clone());
            self.send(&lines.join("\n")).await;
            tokio::time::sleep(PAUSE).await;
        }
        events
    }

    async fn send(&self, body: &str) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            match self.try_send(body).await {
                Ok((200, answer)) => {
                    let token = PositionToken::decode(answer["token"].as_str().unwrap()).unwrap();
                    self.token.lock().unwrap().merge(&token);
                    return;
                }
                Ok((429 | 503, _)) | Err(_) if Instant::now() < deadline => tokio::time::sleep(PAUSE).await,
                answer => panic!("events are not taken: {answer:?}"),
            }
        }
    }

    async fn try_send(&self, body: &str) -> Result<(u16, Value), String> {
        let (_, address) = self.serving().ok_or("no process runs")?;
        post_lines(&self.client, &address, SOURCE, body).await
    }

    /// Asks for both views in turn, without end. A head never goes back while a process runs.
    async fn ask_on(&self) {
        let mut heads: BTreeMap<(usize, &str), Offsets> = BTreeMap::new();
        for view in [HITS, IDS].into_iter().cycle() {
            tokio::time::sleep(PAUSE).await;
            let Some((stage, address)) = self.serving() else { continue };
            let request = self.client.get(format!("{address}/v1/views/{view}/rows")).query(&[("limit", "1000")]).send();
            let answer = async {
                let answer = request.await?;
                Ok::<_, reqwest::Error>((answer.status().as_u16(), answer.json::<Value>().await?))
            };
            match answer.await {
                Ok((200, answer)) => {
                    let head = offsets(&answer["envelope"]["head"]);
                    let before = heads.insert((stage, view), head.clone()).unwrap_or_default();
                    let went_back = before.iter().any(|(id, offset)| head.get(id).is_none_or(|now| now < offset));
                    assert!(!went_back, "{view} went back from {before:?}: {}", answer["envelope"]);
                    let (rows, envelope) = (answer["rows"].clone(), answer["envelope"].clone());
                    // Each stage is built before the next one begins, so a former definition is that of the one before.
                    let by = if envelope["former"].is_null() { stage } else { stage - 1 };
                    self.answers.lock().unwrap().push(Answer { process: stage, stage: by, view, rows, envelope });
                }
                // It was stopped meanwhile.
                _ if self.serving().is_none_or(|(now, _)| now != stage) => {}
                Ok((503, problem)) if problem["type"] == "urn:twofold:problem:being-built" => {
                    self.being_built.fetch_add(1, Ordering::SeqCst);
                }
                failed => panic!("a request failed though the process runs: {failed:?}"),
            }
        }
    }

    /// Lives through all stages; the process of the last one.
    async fn change(&self) -> Running {
        let mut running: Option<Running> = None;
        for (number, stage) in stages().into_iter().enumerate() {
            if let Some(running) = running.take() {
                *self.serving.lock().unwrap() = None;
                stop(running).await;
            }
            std::fs::write(&self.setup.pipeline, self.services.pipeline(&stage.pipeline())).unwrap();
            let process = Running::start(&self.setup).await;
            *self.serving.lock().unwrap() = Some((number, process.address.clone()));
            for view in [HITS, IDS] {
                eventually(&process, "a fresh answer from a batch version", || async {
                    let (status, answer) = process.try_rows(view, &[("limit", "1000")]).await;
                    let envelope = &answer["envelope"];
                    (status == 200 && envelope["stale"] == false && envelope["version"].is_i64()).then_some(())
                })
                .await;
            }
            self.check_acknowledged(&process).await;
            let answered = || self.answers.lock().unwrap().iter().filter(|answer| answer.process == number).count();
            let enough = || async { (answered() >= ANSWERS_PER_STAGE).then_some(()) };
            eventually(&process, "answers of this stage", enough).await;
            eprintln!("  {stage:?}: {} answers", answered());
            running = Some(process);
        }
        running.expect("there are stages")
    }

    /// What was acknowledged before a question is in its answer, if it asks for that.
    async fn check_acknowledged(&self, process: &Running) {
        let token = self.token.lock().unwrap().clone();
        for view in [HITS, IDS] {
            let answer = process.rows(view, &[("after", &token.encode()), ("timeout", "30s")]).await;
            let head = offsets(&answer["envelope"]["head"]);
            for (partition, offset) in token.sources.values().flatten() {
                assert!(head.get(&partition.0) >= Some(&offset.0), "{partition} {offset}: {}", answer["envelope"]);
            }
        }
    }

    /// Waits until batch alone answers for the whole topic, and compares both views.
    async fn check_batch(&self, process: &Running, topic: &Topic) {
        for view in [HITS, IDS] {
            let answer = eventually(process, "batch covers everything", || async {
                let answer = process.rows(view, &[("limit", "1000")]).await;
                let envelope = &answer["envelope"];
                let is_all = offsets(&envelope["cut"]) == topic.ends() && offsets(&envelope["head"]) == topic.ends();
                is_all.then_some(answer)
            })
            .await;
            let (rows, envelope) = (answer["rows"].clone(), answer["envelope"].clone());
            let stage = stages().len() - 1;
            Answer { process: stage, stage, view, rows, envelope }.check(topic);
        }
    }
}

/// An event as its producer always sent it: sometimes with a country, which is not declared at first, sometimes without
/// an amount, or with one that is no number.
fn event(number: u64, random: &mut StdRng) -> String {
    let time = Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true);
    let amount = match random.random_range(0..10) {
        0 => String::new(),
        1 => r#","amount":"many""#.to_owned(),
        _ => format!(r#","amount":{}"#, random.random_range(-1_000..1_000)),
    };
    let country = if random.random_bool(0.6) { r#","country":"DE""# } else { "" };
    format!(r#"{{"id":"e{number}","time":"{time}","page":"p{}"{amount}{country}}}"#, number % 5)
}

/// As an operator stops it who has edited the file.
async fn stop(mut running: Running) {
    running.signal("TERM");
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(status) = running.ended() {
            assert!(status.success(), "{status}\n{}", running.log());
            return;
        }
        assert!(Instant::now() < deadline, "it did not end\n{}", running.log());
        tokio::time::sleep(PAUSE).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_right_while_a_source_changes_under_load() {
    let Some(world) = World::new() else { return };
    let (seed, done) = (one_seed("changes of a source"), CancellationToken::new());
    let changing = async {
        let running = world.change().await;
        done.cancel();
        running
    };
    let (events, running) = tokio::select! {
        biased;
        lived = async { tokio::join!(world.write(seed, &done), changing) } => lived,
        () = world.ask_on() => unreachable!("it asks without end"),
    };
    let services = world.services.clone();
    let topic = tokio::task::spawn_blocking(move || Topic::read(&services)).await.unwrap();
    assert_eq!(topic.ids() as u64, events, "the topic holds every event that was acknowledged");

    let answers = std::mem::take(&mut *world.answers.lock().unwrap());
    answers.iter().for_each(|answer| answer.check(&topic));
    let being_built = world.being_built.load(Ordering::SeqCst);
    let former = answers.iter().filter(|answer| answer.stage < answer.process).count();
    eprintln!("schema: {} answers compared, {former} by a former definition, {being_built} being built", answers.len());
    assert!(answers.len() >= ANSWERS_PER_STAGE * stages().len() && being_built + former as u64 > 0);

    world.check_batch(&running, &topic).await;
    let full = running.run_batch(&["--full"]).await;
    assert!(full.status.success(), "{full:?}");
    world.check_batch(&running, &topic).await;
}
