//! Nothing of what is hidden from a principal is in any answer, error, plan or listing; and what may not be asked for
//! is refused as what does not exist, byte for byte.

use edge::{Grants, Names, Principal};
use positions::SourceName;
use query_gateway::{GatewaySettings, SqlRequest, Standstill, Trouble};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::world::{Event, World, event, request};
use crate::support::principals::{as_principal, reader, rules_of, these, writer};

const CORPUS: &str = include_str!("../../corpus/leaks.txt");

const PIPELINE: &str = r#"
CREATE UNBOUNDED EXTERNAL TABLE edits (
  time TIMESTAMP NOT NULL, page VARCHAR, "user" VARCHAR, added BIGINT, price DECIMAL(10, 2), weight DOUBLE
) STORED AS JSON LOCATION 'kafka://edits' OPTIONS (event_time 'time', partitions '2');

CREATE MATERIALIZED VIEW by_country AS
SELECT page AS country, date_bin(INTERVAL '1 hour', time) AS hour, count(*) AS edits, sum(added) AS added,
       approx_distinct("user") AS editors, max("user") AS newest, avg(weight) AS weight
FROM edits GROUP BY page, date_bin(INTERVAL '1 hour', time);

CREATE MATERIALIZED VIEW totals AS
SELECT page AS country, count(*) AS edits, max(added) AS largest FROM edits GROUP BY page;

CREATE MATERIALIZED VIEW by_person AS SELECT "user" AS individual, count(*) AS edits FROM edits GROUP BY "user";

CREATE MATERIALIZED VIEW secrets AS SELECT page AS country, count(*) AS confidential FROM edits GROUP BY page;
"#;

/// How hidden values show: of countries and persons, backwards and as hex digits; of the hour and of the amount.
const MARKERS: [&str; 6] = ["hush", "hsuh", "68757368", "2019-", "1549324800", "9182736"];
/// What names the views that do not exist, and their columns.
const NAMES: [&str; 4] = ["secrets", "confidential", "by_person", "individual"];

/// Reads two views, and two countries in them.
fn ruled() -> Principal {
    reader(these(&["by_country", "totals", "by_person"]), &[("country", &["DE", "FR"])])
}

fn operator() -> Principal {
    let read = these(&["by_country", "totals", "by_person"]);
    let rows = rules_of(&[("country", &["DE", "FR"])]);
    Principal::new("operator", Grants { read, rows, ..Grants::all() })
}

/// Events of a country that is hidden, of a person and with an amount and a time that nobody else has.
fn hidden(country: &'static str, person: &str) -> Event {
    // 2019-02-05T00:00:00Z.
    let minute = (1_549_324_800_000_000 - super::world::START) / 60_000_000;
    event(minute, country, person, 918_273_645)
}

async fn world() -> World {
    let world = World::on(PIPELINE, GatewaySettings::default());
    world.send(0, [event(0, "DE", "ann", 3), event(30, "DE", "bob", 2), hidden("hushland", "hush-ann")]);
    world.append_run(0).await;
    world.send(1, [event(70, "FR", "cat", 5), hidden("hushburg", "hush-bob"), hidden("hushburg", "hush-bob")]);
    world.append_run(1).await;
    world
}

async fn publish(world: &World) {
    for view in ["by_country", "totals", "by_person", "secrets"] {
        world.publish(view, &[world.log_end(0), world.log_end(1)]).await;
    }
}

/// A gateway whose every request is one of a principal; ends with the value.
struct Port {
    address: String,
    client: reqwest::Client,
    stop: CancellationToken,
}

impl Drop for Port {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Port {
    async fn open(world: &World, principal: Option<Principal>) -> Self {
        let router = query_gateway::router(world.gateway.clone(), &[]);
        let router = match principal {
            Some(principal) => as_principal(router, principal),
            None => router,
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let served = axum::serve(listener, router).with_graceful_shutdown(stop.clone().cancelled_owned());
        tokio::spawn(served.into_future());
        Self { address, client: reqwest::Client::new(), stop }
    }

    /// Asks a path, or in SQL what is none.
    async fn ask(&self, question: &str) -> (u16, String) {
        let request = match question.starts_with('/') {
            true => self.client.get(format!("{}{question}", self.address)),
            false => self.client.post(format!("{}/v1/sql", self.address)).json(&json!({ "sql": question })),
        };
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        (status, response.text().await.unwrap())
    }
}

/// The first of these that a text shows, however it is written.
fn shown<'a>(text: &str, words: &[&'a str]) -> Option<&'a str> {
    let text = text.to_lowercase();
    words.iter().find(|word| text.contains(**word)).copied()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_question_shows_a_value_that_is_hidden() {
    let world = world().await;
    for is_published in [false, true] {
        if is_published {
            publish(&world).await;
            // Above the cut there is something, too.
            world.send(0, [event(40, "DE", "ann", 1), hidden("hushland", "hush-ann")]);
            world.append_run(0).await;
        }
        let whole = Port::open(&world, Some(Principal::anyone())).await;
        let ruled = [Port::open(&world, Some(ruled())).await, Port::open(&world, Some(operator())).await];
        let mut told = 0;
        for question in CORPUS.lines() {
            told += usize::from(shown(&whole.ask(question).await.1, &MARKERS).is_some());
            for port in &ruled {
                let (status, text) = port.ask(question).await;
                assert_ne!(status, 500, "{question}: {text}");
                assert_eq!(shown(&text, &MARKERS), None, "{question}: {text}");
                assert_eq!(shown(&text, &NAMES), None, "{question}: {text}");
            }
        }
        assert!(told > 80, "{told} questions show the values to who may see them: the others prove nothing");
    }
}

#[tokio::test]
async fn no_expression_meets_a_value_that_is_hidden() {
    let world = world().await;
    publish(&world).await;
    let whole = Port::open(&world, Some(Principal::anyone())).await;
    let ruled = Port::open(&world, Some(ruled())).await;
    for sql in [
        "SELECT 1 / (CASE WHEN country LIKE 'h%' THEN 0 ELSE 1 END) AS n FROM totals",
        "SELECT country FROM totals WHERE 1 / (CASE WHEN largest > 1000 THEN 0 ELSE 1 END) = 1",
        "SELECT CAST(country AS BIGINT) AS n FROM totals WHERE country NOT IN ('DE', 'FR')",
        "SELECT max(CAST(CASE country WHEN 'DE' THEN '1' WHEN 'FR' THEN '2' ELSE country END AS BIGINT)) AS n \
         FROM totals",
        "SELECT CAST(largest AS SMALLINT) AS n FROM totals",
        "SELECT t.country FROM totals t JOIN by_country b ON t.country = b.country \
         AND 1 / (CASE WHEN b.added > 1000 THEN 0 ELSE 1 END) = 1",
        "SELECT country, 1 / (5000 - least(largest, 5000)) AS n FROM totals ORDER BY n",
    ] {
        assert_eq!(whole.ask(sql).await.0, 400, "{sql} fails on a hidden value");
        let (status, text) = ruled.ask(sql).await;
        assert_eq!(status, 200, "{sql}: {text}");
    }
}

/// The same question about two names: one that may not be asked for, and one that nothing has.
async fn check_same(port: &Port, question: &str, (forbidden, unknown): (&str, &str)) {
    let (one, other) = (question.replace("NAME", forbidden), question.replace("NAME", unknown));
    let (found, expected) = (port.ask(&one).await, port.ask(&other).await);
    let leave_out = |(status, text): (u16, String), name: &str| (status, text.replace(name, "NAME"));
    assert_eq!(leave_out(found, forbidden), leave_out(expected, unknown), "{one}");
}

#[tokio::test]
async fn what_may_not_be_asked_for_is_refused_as_what_does_not_exist() {
    let world = world().await;
    publish(&world).await;
    // One that is not granted, and one that lacks the dimension.
    let names = [("secrets", "nothere"), ("by_person", "xx_xxxxxx")];
    let plain = reader(these(&["by_country", "totals"]), &[]);
    for principal in [ruled(), operator(), plain] {
        let port = Port::open(&world, Some(principal)).await;
        for names in names {
            for question in [
                "/v1/views/NAME",
                "/v1/views/NAME/rows",
                "/v1/views/NAME/rows?by=country",
                "/v1/views/NAME/rows?nonsense=1",
                "/v1/views/NAME/rows?version=1",
                "SELECT * FROM NAME",
                "SELECT * FROM public.NAME",
                "SELECT nonsense FROM twofold.public.NAME",
                "SELECT count(*) AS n FROM totals t JOIN NAME s ON t.country = s.country",
                "SELECT country FROM totals WHERE country IN (SELECT country FROM NAME)",
                "SELECT (SELECT count(*) FROM NAME) AS n",
                "SELECT country FROM totals UNION ALL SELECT country FROM NAME",
                "WITH t AS (SELECT * FROM NAME) SELECT 1 AS one",
                "SELECT * FROM (WITH NAME AS (SELECT 1 AS one) SELECT * FROM NAME) AS x, NAME",
                "SELECT one FROM (WITH NAME AS (SELECT 1 AS one) SELECT * FROM NAME) AS x \
                 JOIN NAME AS y ON x.one = y.nonsense",
                "SELECT NAME.edits FROM totals",
                "SELECT MEASURE(confidence) AS c FROM NAME",
                "EXPLAIN SELECT * FROM NAME",
                "DESCRIBE NAME",
                "SHOW COLUMNS FROM NAME",
                "SELECT * FROM information_schema.columns WHERE table_name = 'NAME'",
                "SELECT * FROM information_schema.NAME",
                "SELECT * FROM system.NAME",
            ] {
                check_same(&port, question, names).await;
            }
        }
        // The source.
        for question in ["/v1/views/NAME", "SELECT * FROM NAME", "DESCRIBE NAME", "EXPLAIN SELECT 1 AS one FROM NAME"] {
            check_same(&port, question, ("edits", "qwxyz")).await;
        }
        check_same(&port, "SELECT * FROM system.NAME", ("rejected", "xxjxxtxx")).await;
        check_same(&port, "DESCRIBE system.NAME", ("rejected", "xxjxxtxx")).await;
        check_same(&port, "EXPLAIN SELECT nonsense FROM system.NAME", ("rejected", "xxjxxtxx")).await;
    }
}

/// The envelopes of one view in rows, in SQL, in its details and in the status.
async fn envelopes(world: &World, principal: &Principal) -> [Value; 4] {
    let gateway = &world.gateway;
    let rows = gateway.rows(principal, request("by_country", &[])).await.unwrap().to_json().unwrap();
    let sql = SqlRequest::new("SELECT count(*) AS n FROM by_country");
    let sql = gateway.sql(principal, sql).await.unwrap().to_json().unwrap();
    let [rows, sql]: [Value; 2] = [rows, sql].map(|text| serde_json::from_str(&text).unwrap());
    let view = serde_json::to_value(gateway.view(principal, "by_country").await.unwrap()).unwrap();
    let status = serde_json::to_value(gateway.status(principal).await).unwrap();
    [
        rows["envelope"].clone(),
        sql["envelope"]["views"]["by_country"].clone(),
        view["status"]["envelope"].clone(),
        status["views"][0]["envelope"].clone(),
    ]
}

#[tokio::test]
async fn counts_that_cannot_be_filtered_are_left_out_for_who_does_not_see_all_rows() {
    const COUNTS: [&str; 11] = [
        "cut",
        "head",
        "batch_rows",
        "realtime_rows",
        "realtime_share",
        "runs",
        "late",
        "rejected",
        "copies",
        "holes",
        "lost",
    ];
    let world = world().await;
    publish(&world).await;
    let reads_all = reader(Names::All, &[]);
    for principal in [Principal::anyone(), reads_all] {
        for envelope in envelopes(&world, &principal).await {
            assert!(COUNTS.iter().all(|name| envelope.get(name).is_some()), "{principal:?}: {envelope}");
            assert!(envelope["error_bounds"]["weight"]["kind"] == "float", "{principal:?}: {envelope}");
        }
    }
    for principal in [ruled(), operator()] {
        for envelope in envelopes(&world, &principal).await {
            let told: Vec<&&str> = COUNTS.iter().filter(|name| envelope.get(name).is_some()).collect();
            assert!(told.is_empty(), "{principal:?}: {told:?}");
            let bounds = &envelope["error_bounds"];
            assert!(
                bounds.get("weight").is_none() && bounds["editors"]["kind"] == "sketch",
                "{principal:?}: {envelope}"
            );
            assert!(envelope["version"].is_number() && envelope["stale"] == false, "{principal:?}: {envelope}");
        }
        let view = serde_json::to_value(world.gateway.view(&principal, "by_country").await.unwrap()).unwrap();
        assert!(view["versions"][0].get("cut").is_none() && view["versions"][0]["version"].is_number(), "{view}");
    }
    // How far partitions are behind says how many records there are.
    let after = world.token(0, 5);
    for (principal, is_told) in [(Principal::anyone(), true), (ruled(), false), (operator(), false)] {
        let waits = request("by_country", &[("after", after.as_str()), ("timeout", "1ms")]);
        let refused = world.gateway.rows(&principal, waits).await.unwrap_err().problem();
        assert_eq!((refused.status().as_u16(), refused.member("behind").is_some()), (504, is_told), "{refused:?}");
    }
}

#[tokio::test]
async fn details_are_for_operators_who_see_all_rows() {
    const SECRET: &str = "redis://10.0.0.1: group hushland";
    let world = world().await;
    publish(&world).await;
    {
        let mut board = world.board.0.lock().unwrap();
        let about = ["view totals", "view secrets", "source edits"];
        board.troubles = about.map(|about| Trouble::new("view-stale", about, SECRET, SECRET)).to_vec();
        board.others.insert("brokers".to_owned(), json!(SECRET));
        let standstill = Standstill { reason: SECRET.to_owned(), way_out: SECRET.to_owned(), is_for_good: false };
        board.standstills.insert(SourceName::new("edits"), standstill);
    }
    world.announce_partitions(&[0, 1]);
    let plain = reader(these(&["totals"]), &[]);
    for (principal, is_told) in [(Principal::anyone(), true), (plain, false), (ruled(), false), (operator(), false)] {
        let status = world.gateway.status(&principal).await;
        let status = serde_json::to_value(status).unwrap();
        assert_eq!(status.to_string().contains(SECRET), is_told, "{principal:?}: {status}");
        assert_eq!(status["sources"].as_array().unwrap().is_empty(), !is_told, "{status}");
        let problems = status["problems"].as_array().unwrap();
        assert_eq!(problems.len(), if is_told { 3 } else { 1 }, "{status}");
        assert!(problems.iter().any(|problem| problem["about"] == "view totals"), "{status}");
        let totals = status["views"].as_array().unwrap().iter().find(|view| view["view"] == "totals").unwrap();
        assert!(totals["state"] == "served" && totals["envelope"]["stale"] == true, "{status}");
        let answer = world.gateway.rows(&principal, request("totals", &[])).await.unwrap().to_json().unwrap();
        assert_eq!(answer.contains(SECRET), is_told, "{principal:?}: {answer}");
        assert!(answer.contains(r#""stale":true"#), "{answer}");
    }
}

#[tokio::test]
async fn nothing_is_computed_for_who_may_only_send_events() {
    let world = world().await;
    // The key of a page, which its visitors can read.
    let port = Port::open(&world, Some(writer(&["edits"]))).await;
    for sql in
        ["SELECT 1 AS one", "SELECT count(*) AS n FROM generate_series(1, 10) AS a(n)", "SHOW TABLES", "nonsense"]
    {
        let (status, text) = port.ask(sql).await;
        assert!(status == 403 && text.contains("urn:twofold:problem:forbidden"), "{sql}: {status} {text}");
    }
    let operates = Principal::new("operates", Grants { operate: true, ..Grants::default() });
    assert_eq!(Port::open(&world, Some(operates)).await.ask("SELECT 1 AS one").await.0, 200);
}

#[tokio::test]
async fn who_asks_must_be_known() {
    let port = Port::open(&world().await, None).await;
    for question in ["/v1/views", "/v1/views/totals", "/v1/views/totals/rows", "/v1/status", "SELECT 1 AS one"] {
        let (status, text) = port.ask(question).await;
        assert_eq!(status, 500, "{question}: {text}");
        assert!(text.contains("nobody said who makes this request"), "{question}: {text}");
    }
    assert_eq!(port.ask("/").await.0, 200);
}
