//! One client that means harm, against a process with a limit on its memory: no request stops, stalls or grows it.

mod connections;
mod corpus;
mod extremes;

use std::cell::Cell;
use std::pin::pin;
use std::process::Command;
use std::time::{Duration, Instant};

use edge::{Sha256Sum, key_text};
use futures::StreamExt;
use futures::future::{Either, join, join_all, select};
use rand::SeedableRng;
use rand::rngs::StdRng;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use serde_json::{Value, json};

use crate::support::mutate::mutated;
use crate::support::process::{DEADLINE, Running, Setup, memory_now, memory_peak};
use crate::support::seeds::seeds;

const PIPELINE: &str = "
CREATE UNBOUNDED EXTERNAL TABLE hits (
  id VARCHAR NOT NULL, time TIMESTAMP NOT NULL, page VARCHAR NOT NULL
) STORED AS JSON LOCATION 'kafka://hits' OPTIONS (event_time 'time', event_id 'id', partitions '2');

CREATE MATERIALIZED VIEW v AS SELECT page, date_bin(INTERVAL '1 minute', time) AS minute, count(*) AS hits
FROM hits GROUP BY page, minute;
";

const MIB: u64 = 1 << 20;
/// What the process may reserve. Threads reserve most of what it has at its start: 1.4 GiB.
const ADDRESS_SPACE: u64 = 6 * 1_024 * MIB;
/// What all of SQL and its answers may hold by the settings below, and as much again for what is not counted.
const MAX_PEAK_BYTES: u64 = 1_024 * MIB;
/// What the process may hold more once it has seen the corpus: pools of the allocator, plans that are kept.
const MAX_GROWTH_BYTES: u64 = 256 * MIB;
/// Requests under way at one time.
const CLIENTS: usize = 4;

/// A request of the corpus.
#[derive(Clone, Debug)]
enum Attack {
    Sql(String),
    Question(String),
    Rows(String),
    Events(String),
}

/// Who attacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attacker {
    /// May do everything.
    Anyone,
    /// Sees some rows of the view, and sends events.
    Ruled,
}

impl Attacker {
    fn key(self) -> String {
        key_text(&[if self == Self::Anyone { 1 } else { 2 }; 32])
    }

    /// Asks as this one.
    fn client(self) -> reqwest::Client {
        let shown: HeaderValue = format!("Bearer {}", self.key()).parse().unwrap();
        let headers = [(AUTHORIZATION, shown)].into_iter().collect();
        reqwest::Client::builder().timeout(DEADLINE).default_headers(headers).build().unwrap()
    }
}

/// The access file of both.
fn grants() -> String {
    let hash = |attacker: Attacker| Sha256Sum::of_key(&attacker.key()).unwrap().to_string();
    let (anyone, ruled) = (hash(Attacker::Anyone), hash(Attacker::Ruled));
    format!(
        "[grants.all]\nread = ['*']\nwrite = ['*']\noperate = true\n\
         [grants.ruled]\nread = ['v']\nwrite = ['hits']\nrows = {{ page = ['p1', 'other'] }}\n\
         [[keys]]\nname = 'anyone'\nhash = '{anyone}'\ngrant = 'all'\n\
         [[keys]]\nname = 'ruled'\nhash = '{ruled}'\ngrant = 'ruled'\n"
    )
}

/// A process that was attacked before it is asked.
struct Target {
    running: Running,
    /// May do everything.
    client: reqwest::Client,
    _folder: tempfile::TempDir,
}

impl Target {
    async fn start(sql_time_limit: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let access = folder.path().join("access.toml");
        std::fs::write(&access, grants()).unwrap();
        let setup = Setup::new(folder.path(), PIPELINE, Vec::new())
            .with("ACCESS__MODE", "keys")
            .with("ACCESS__FILE", access.to_str().unwrap())
            .with("GATEWAY__SQL_TIME_LIMIT", sql_time_limit)
            .with("GATEWAY__SQL_QUEUE_WAIT", "30s")
            .with("GATEWAY__SQL_MEMORY", "64MiB")
            .with("GATEWAY__SQL_RESULT", "8MiB")
            .with("GATEWAY__MAX_ANSWER", "8MiB")
            .with("GATEWAY__UNREAD_ANSWERS", "32MiB")
            .with("COLLECTOR__MAX_BODY", "1MiB")
            .with("COLLECTOR__MAX_INFLATED", "1MiB");
        let running = Running::start(&setup).await;
        let limits = [format!("--pid={}", running.process_id()), format!("--as={ADDRESS_SPACE}")];
        assert!(Command::new("prlimit").args(limits).status().unwrap().success());
        let event = |number: usize| {
            let (minute, page) = (number % 60, number % 3);
            format!(r#"{{"id":"{number}","time":"2026-01-05T10:{minute:02}:00Z","page":"p{page}"}}"#)
        };
        let events: Vec<String> = (0..600).map(event).collect();
        let target = Self { running, client: Attacker::Anyone.client(), _folder: folder };
        let token = target.post(&events.join("\n")).await;
        let (status, body) = target.rows(&[("after", &token), ("by", "")]).await;
        assert_eq!(status, 200, "{body}");
        target
    }

    /// Sends events that must all be taken; the position token.
    async fn post(&self, lines: &str) -> String {
        let request = self.client.post(format!("{}/v1/sources/hits/events", self.running.address));
        let request = request.header("content-type", "application/x-ndjson").body(lines.to_owned());
        let receipt: Value = request.send().await.unwrap().json().await.unwrap();
        receipt["token"].as_str().unwrap_or_else(|| panic!("{receipt}")).to_owned()
    }

    async fn rows(&self, query: &[(&str, &str)]) -> (u16, Value) {
        let request = self.client.get(format!("{}/v1/views/v/rows", self.running.address)).query(query);
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    fn request(&self, client: &reqwest::Client, attack: &Attack) -> reqwest::RequestBuilder {
        let address = &self.running.address;
        match attack {
            Attack::Sql(sql) => client.post(format!("{address}/v1/sql")).json(&json!({ "sql": sql })),
            Attack::Question(body) => {
                client.post(format!("{address}/v1/sql")).header("content-type", "application/json").body(body.clone())
            }
            Attack::Rows(query) => client.get(format!("{address}/v1/views/v/rows?{query}")),
            Attack::Events(body) => client
                .post(format!("{address}/v1/sources/hits/events"))
                .header("content-type", "application/json")
                .body(body.clone()),
        }
    }

    /// The attack is answered: by rows, by a receipt, or by a problem that is no fault of ours.
    async fn check(&self, client: &reqwest::Client, (named, attack): &(String, Attack)) {
        let shown: String = format!("{named}: {attack:?}").chars().take(400).collect();
        let response = self.request(client, attack).send().await.unwrap_or_else(|error| panic!("{shown}\n{error:?}"));
        let (status, text) = (response.status().as_u16(), response.text().await);
        let text = text.unwrap_or_else(|error| panic!("{shown}\n{status}: {error:?}"));
        assert!(status != 500, "{shown}\n{text}\n{}", self.running.log());
        // What the HTTP library itself refuses, a head that is too large, has no words.
        if !matches!(status, 414 | 431) {
            let body: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{shown}\n{error}: {text}"));
            assert!(status == 200 || body["detail"].is_string(), "{shown}\n{status}: {text}");
        }
    }

    /// All of them, by one attacker, while a neighbour asks for health; the longest that one waited.
    async fn check_all(&self, attacker: Attacker, attacks: &[(String, Attack)]) -> Duration {
        let client = attacker.client();
        let checks = futures::stream::iter(attacks).map(|attack| self.check(&client, attack));
        let checks = checks.buffer_unordered(CLIENTS).collect::<Vec<()>>();
        let (longest, is_done) = (Cell::new(Duration::ZERO), Cell::new(false));
        let neighbour = async {
            while !is_done.get() {
                longest.set(longest.get().max(self.check_health().await));
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let attacking = async {
            checks.await;
            is_done.set(true);
        };
        join(attacking, neighbour).await;
        longest.get()
    }

    /// The process says that it is alive; how long that took.
    async fn check_health(&self) -> Duration {
        let asked = Instant::now();
        let answer = self.client.get(format!("{}/healthz", self.running.address)).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 200);
        asked.elapsed()
    }

    /// Health, events and rows are answered, one after another; the longest that each took.
    async fn check_others(&self) -> [Duration; 3] {
        let mut longest = [Duration::ZERO; 3];
        for number in 0..20 {
            let health = self.check_health().await;
            let event = format!(r#"{{"id":"other-{number}","time":"2026-01-05T11:00:00Z","page":"other"}}"#);
            let asked = Instant::now();
            self.post(&event).await;
            let posted = asked.elapsed();
            let (status, body) = self.rows(&[("page", "p1"), ("by", "page")]).await;
            assert_eq!((status, &body["rows"][0]["hits"]), (200, &json!(200)), "{body}");
            let took = [health, posted, asked.elapsed() - posted];
            longest = std::array::from_fn(|place| longest[place].max(took[place]));
        }
        longest
    }

    /// Answers as before: the same process, the same counts, ready.
    async fn check_alive(&mut self) {
        assert!(self.running.ended().is_none(), "it ended:\n{}", self.running.log());
        let sql = "SELECT MEASURE(hits) AS hits FROM v WHERE page = 'p1'";
        let asked = self.request(&self.client, &Attack::Sql(sql.to_owned())).send().await.unwrap();
        let (status, body) = (asked.status().as_u16(), asked.json::<Value>().await.unwrap());
        assert_eq!((status, &body["rows"]), (200, &json!([{"hits": 200}])), "{body}");
    }
}

/// Every attack, by its place in the corpus.
fn corpus() -> Vec<(String, Attack)> {
    let bodies = corpus::bodies().into_iter().flat_map(|body| [Attack::Question(body.clone()), Attack::Events(body)]);
    let parameters = corpus::parameters().into_iter().map(|query| Attack::Rows(encoded(&query)));
    let all = corpus::statements().into_iter().map(Attack::Sql).chain(parameters).chain(bodies);
    all.enumerate().map(|(place, attack)| (format!("number {place}"), attack)).collect()
}

/// As a client must write it in a path; what is written so already stays.
fn encoded(query: &str) -> String {
    let encode = |byte: u8| match byte {
        b'!'..=b'~' if byte != b'#' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    query.bytes().map(encode).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_stops_or_grows_the_process() {
    let attacks = corpus();
    assert!(attacks.len() >= 400, "{} attacks", attacks.len());
    let mut target = Target::start("2s").await;
    let mut longest = target.check_all(Attacker::Anyone, &attacks).await;
    target.check_alive().await;
    let warm = memory_now(target.running.process_id());

    longest = longest.max(target.check_all(Attacker::Ruled, &attacks).await);
    target.check_alive().await;
    let texts = corpus::statements();
    let texts: Vec<&str> = texts.iter().map(String::as_str).filter(|text| text.len() < 2_000).collect();
    let mutate = |seed| Attack::Sql(mutated(&texts, &mut StdRng::seed_from_u64(seed)));
    let changed = seeds(150).into_iter().map(|seed| (format!("TWOFOLD_SEED={seed}"), mutate(seed)));
    let changed: Vec<(String, Attack)> = changed.collect();
    for attacker in [Attacker::Anyone, Attacker::Ruled] {
        longest = longest.max(target.check_all(attacker, &changed).await);
        target.check_alive().await;
    }
    let process = target.running.process_id();
    let (grown, peak) = (memory_now(process).saturating_sub(warm), memory_peak(process));
    let tried = 2 * (attacks.len() + changed.len());
    eprintln!(
        "{tried} requests: {} MiB at most, {} MiB more at the end, a neighbour waited {longest:?} at most",
        peak / MIB,
        grown / MIB
    );
    assert!(grown <= MAX_GROWTH_BYTES && peak <= MAX_PEAK_BYTES, "{} MiB more, {} MiB", grown / MIB, peak / MIB);
}

#[tokio::test(flavor = "multi_thread")]
async fn others_are_answered_while_the_worst_queries_run() {
    let mut target = Target::start("60s").await;
    let worst = [
        // A million million rows, of which nothing is kept.
        "SELECT count(*) AS n FROM generate_series(1, 9999) AS a(x), generate_series(1, 9999) AS b(x), \
         generate_series(1, 9999) AS c(x)",
        "SELECT count(*) AS n FROM generate_series(1, 9998) AS a(x), generate_series(1, 9998) AS b(x), \
         generate_series(1, 9998) AS c(x)",
        "SELECT count(*) AS n FROM generate_series(1, 9999) AS a(x) JOIN generate_series(1, 9999) AS b(x) \
         ON a.x * b.x < 0",
        "SELECT max(x) AS x FROM (SELECT a.hits + b.hits AS x FROM v a, v b, v c, v d ORDER BY x) t",
    ];
    {
        let sql_route = format!("{}/v1/sql", target.running.address);
        let ask = |sql: &str| target.client.post(&sql_route).json(&json!({ "sql": sql })).send();
        let asked = pin!(join_all(worst.map(ask)));
        let others = pin!(target.check_others());
        match select(asked, others).await {
            // Whoever asked leaves; the queries end at their next pause.
            Either::Right(([health, events, rows], _)) => {
                eprintln!("others waited at most {health:?} for health, {events:?} for events, {rows:?} for rows");
            }
            Either::Left((answers, _)) => panic!("all were answered before: {answers:?}"),
        }
    }
    target.check_alive().await;
    assert!(target.running.terminate().success(), "SIGTERM ends it");
}
