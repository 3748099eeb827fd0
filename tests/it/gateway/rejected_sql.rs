//! The table of rejected records: what a query asks the process for, what it says of it, and what joins with views may
//! do. Who answers here notes the questions; the records of a master dataset are in `rejected/table.rs`.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use edge::Principal;
use positions::{Offset, PartitionId, TimestampMicros};
use query_gateway::{
    Gateway, GatewayComponents, GatewayError, GatewaySettings, RejectedAnswer, RejectedExtent, RejectedQuestion,
    RejectedReader, RejectedRow, RejectedUnread, RejectedWords, SqlAnswer, SqlRequest,
};
use serde_json::{Value, json};

use super::sql;
use super::world::{START, World};

const THREE_SOURCES: &str = "
CREATE UNBOUNDED EXTERNAL TABLE edits (time TIMESTAMP NOT NULL, page VARCHAR)
STORED AS JSON LOCATION 'kafka://edits' OPTIONS (event_time 'time', partitions '1');
CREATE UNBOUNDED EXTERNAL TABLE two (time TIMESTAMP NOT NULL, page VARCHAR)
STORED AS JSON LOCATION 'kafka://two' OPTIONS (event_time 'time', partitions '1');
CREATE UNBOUNDED EXTERNAL TABLE three (time TIMESTAMP NOT NULL, page VARCHAR)
STORED AS JSON LOCATION 'kafka://three' OPTIONS (event_time 'time', partitions '1');
CREATE MATERIALIZED VIEW by_page AS SELECT page, count(*) AS edits FROM edits GROUP BY page;
";

/// Answers with the same records for each source, and notes what it is asked.
struct Notes {
    records: Vec<RejectedRow>,
    asked: Mutex<Vec<RejectedQuestion>>,
    manner: Manner,
}

/// How questions are answered.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    AtOnce,
    Never,
    WithAnError,
}

impl Notes {
    /// Records that name a page each, as the column that their reason lies in.
    fn of(pages: &[&str]) -> Self {
        let record = |(offset, page): (i64, &&str)| RejectedRow {
            partition: PartitionId(0),
            offset: Offset(offset),
            timestamp: TimestampMicros(START),
            reason: if offset % 2 == 0 { "no_value" } else { "empty" },
            words: Some(RejectedWords { column: Some((*page).to_owned()), error: "no".to_owned(), payload: None }),
        };
        Self { records: (0..).zip(pages).map(record).collect(), asked: Mutex::default(), manner: Manner::AtOnce }
    }

    /// What was asked since the last call: sources, the reason, and whether with payloads.
    fn taken(&self) -> Vec<(String, Option<String>, bool)> {
        let asked = std::mem::take(&mut *self.asked.lock().unwrap());
        asked.into_iter().map(|asked| (asked.source.name.to_string(), asked.reason, asked.with_payloads)).collect()
    }
}

#[async_trait]
impl RejectedReader for Notes {
    async fn read(&self, question: &RejectedQuestion) -> Result<RejectedAnswer, RejectedUnread> {
        self.asked.lock().unwrap().push(question.clone());
        if self.manner == Manner::Never {
            std::future::pending::<()>().await;
        }
        if self.manner == Manner::WithAnError {
            let name = question.source.name.clone();
            return Err(RejectedUnread { name, reason: "the store is away".to_owned() });
        }
        let extent = RejectedExtent {
            source: question.source.name.to_string(),
            reason: question.reason.clone(),
            total: 9,
            rows: self.records.len(),
            complete: false,
            archived: [(PartitionId(0), Offset(20))].into(),
            withheld: None,
            notes: vec!["more".to_owned()],
        };
        Ok(RejectedAnswer { records: self.records.clone(), extent })
    }
}

fn gateway(world: &World, rejected: Option<Arc<Notes>>, settings: GatewaySettings) -> Arc<Gateway> {
    let components = GatewayComponents {
        pipeline: world.pipeline.clone(),
        lake: world.lake.clone(),
        store: world.store.clone(),
        status: world.board.clone(),
        rejected: rejected.map(|notes| notes as Arc<dyn RejectedReader>),
        runs: None,
        clock: world.clock.clone(),
    };
    Gateway::new(components, settings).unwrap()
}

async fn ask(gateway: &Gateway, sql: &str) -> SqlAnswer {
    gateway.sql(&Principal::anyone(), SqlRequest::new(sql)).await.unwrap_or_else(|error| panic!("{sql}: {error}"))
}

async fn refused(gateway: &Gateway, sql: &str) -> GatewayError {
    gateway.sql(&Principal::anyone(), SqlRequest::new(sql)).await.err().unwrap_or_else(|| panic!("{sql} was run"))
}

fn body(answer: &SqlAnswer) -> Value {
    serde_json::from_str(&answer.to_json().unwrap()).unwrap()
}

#[tokio::test]
async fn only_what_a_query_needs_is_read() {
    let world = World::on(THREE_SOURCES, GatewaySettings::default());
    world.own(0).await;
    let notes = Arc::new(Notes::of(&["A", "B", "A"]));
    let gateway = gateway(&world, Some(notes.clone()), GatewaySettings::default());
    let all: &[&str] = &["edits", "two", "three"];
    let empty = Some("empty");
    let cases: [(&str, &[&str], Option<&str>, bool); 16] = [
        ("SELECT count(*) AS n FROM system.rejected", all, None, false),
        ("SELECT count(*) AS n FROM system.rejected WHERE source = 'two'", &["two"], None, false),
        ("SELECT count(*) AS n FROM system.rejected WHERE 'two' = source", &["two"], None, false),
        ("SELECT reason FROM system.rejected WHERE source IN ('edits', 'two', 'x')", &["edits", "two"], None, false),
        ("SELECT reason FROM system.rejected WHERE source LIKE 't%'", &["two", "three"], None, false),
        ("SELECT reason FROM system.rejected WHERE source <> 'two'", &["edits", "three"], None, false),
        ("SELECT reason FROM system.rejected WHERE source = 'none'", &[], None, false),
        ("SELECT time FROM system.rejected WHERE source = 'two' OR reason = 'empty'", all, None, false),
        ("SELECT time FROM system.rejected WHERE source = 'two' AND reason = 'empty'", &["two"], empty, false),
        ("SELECT time FROM system.rejected WHERE source = 'two' AND reason IN ('empty', 'x')", &["two"], None, false),
        ("SELECT time FROM system.rejected WHERE source = 'two' AND payload_bytes > 10", &["two"], None, true),
        ("SELECT payload FROM system.rejected WHERE source = 'two'", &["two"], None, true),
        ("SELECT * FROM system.rejected AS r WHERE r.source = 'two'", &["two"], None, true),
        ("SELECT log_offset, error FROM twofold.system.rejected WHERE source = 'two'", &["two"], None, false),
        (
            "WITH r AS (SELECT * FROM system.rejected) \
             SELECT reason, count(*) AS n FROM r WHERE source = 'two' GROUP BY reason",
            &["two"],
            None,
            false,
        ),
        (
            "SELECT p.page, r.reason FROM system.rejected r JOIN by_page p ON r.column = p.page WHERE r.source = 'two'",
            &["two"],
            None,
            false,
        ),
    ];
    for (sql, sources, reason, with_payloads) in cases {
        ask(&gateway, sql).await;
        let question = |source: &&str| ((*source).to_owned(), reason.map(str::to_owned), with_payloads);
        assert_eq!(notes.taken(), sources.iter().map(question).collect::<Vec<_>>(), "{sql}");
    }
    let by_value = SqlRequest {
        params: serde_json::from_value(json!(["two"])).unwrap(),
        ..SqlRequest::new("SELECT count(*) AS n FROM system.rejected WHERE source = $1")
    };
    gateway.sql(&Principal::anyone(), by_value).await.unwrap();
    assert_eq!(notes.taken(), [("two".to_owned(), None, false)]);
}

#[tokio::test]
async fn who_only_looks_at_the_table_reads_no_record() {
    let world = World::on(THREE_SOURCES, GatewaySettings::default());
    world.own(0).await;
    let notes = Arc::new(Notes::of(&["A"]));
    let gateway = gateway(&world, Some(notes.clone()), GatewaySettings::default());
    for sql in [
        "SELECT count(*) AS n FROM by_page",
        "SHOW TABLES",
        "DESCRIBE system.rejected",
        "EXPLAIN SELECT * FROM system.rejected",
    ] {
        let answer = body(&ask(&gateway, sql).await);
        assert!(answer["envelope"].get("rejected").is_none() && notes.taken().is_empty(), "{sql}: {answer}");
    }
}

#[tokio::test]
async fn conditions_hold_whatever_was_read() {
    let world = World::on(THREE_SOURCES, GatewaySettings::default());
    let notes = Arc::new(Notes::of(&["A", "B", "A"]));
    let gateway = gateway(&world, Some(notes), GatewaySettings::default());
    // The one who answers gives all records, whatever reason is asked for.
    for (condition, count) in [
        ("source = 'edits'", 3),
        ("source = 'edits' AND reason = 'empty'", 1),
        ("source IN ('edits', 'two') AND \"column\" = 'A'", 4),
        ("source = 'edits' AND reason = 'nothing of the kind'", 0),
        ("source = 'none'", 0),
        ("source <> 'edits' AND log_offset >= 1", 4),
        ("time >= '2026-01-01T00:00:00Z'", 9),
        ("payload IS NULL AND encoding IS NULL AND truncated IS NULL", 9),
    ] {
        let sql = format!("SELECT count(*) AS n FROM system.rejected WHERE {condition}");
        assert_eq!(body(&ask(&gateway, &sql).await)["rows"], json!([{ "n": count }]), "{condition}");
    }
}

#[tokio::test]
async fn a_query_asks_the_same_once_and_says_what_it_was_told() {
    let world = World::on(THREE_SOURCES, GatewaySettings::default());
    let notes = Arc::new(Notes::of(&["A", "B", "A"]));
    let gateway = gateway(&world, Some(notes.clone()), GatewaySettings::default());
    let of_edits = "(SELECT reason, count(*) AS n FROM system.rejected WHERE source = 'edits' GROUP BY reason)";
    let answer = ask(&gateway, &format!("SELECT a.n FROM {of_edits} a JOIN {of_edits} b ON a.reason = b.reason")).await;
    assert_eq!(answer.rows.num_rows(), 2);
    assert_eq!(notes.taken(), [("edits".to_owned(), None, false)]);
    let told = json!({
        "source": "edits", "reason": null, "total": 9, "rows": 3, "complete": false, "archived": {"0": 20},
        "withheld": null, "notes": ["more"],
    });
    assert_eq!(body(&answer)["envelope"], json!({"stale": false, "views": {}, "rejected": [told]}));
    let later = ask(&gateway, "SELECT * FROM system.rejected WHERE source = 'edits'").await;
    assert_eq!((later.rows.num_rows(), notes.taken().len()), (3, 1), "nothing is kept from one query to the next");
}

#[tokio::test]
async fn the_table_is_listed_beside_views_and_takes_no_name_from_them() {
    let pipeline = THREE_SOURCES.replace("VIEW by_page", "VIEW rejected");
    let world = World::on(&pipeline, GatewaySettings::default());
    world.own(0).await;
    let gateway = gateway(&world, Some(Arc::new(Notes::of(&["A"]))), GatewaySettings::default());
    let shown = body(&ask(&gateway, "SHOW TABLES").await);
    let tables = json!([
        {"table_name": "rejected"}, {"table_name": "system.exactness"}, {"table_name": "system.rejected"},
        {"table_name": "system.run_tasks"}, {"table_name": "system.runs"}
    ]);
    assert_eq!(shown["rows"], tables);
    let kinds =
        "SELECT table_schema, table_type FROM information_schema.tables WHERE table_name = 'rejected' ORDER BY 1";
    let kinds = body(&ask(&gateway, kinds).await);
    let expected = json!([
        {"table_schema": "public", "table_type": "VIEW"}, {"table_schema": "system", "table_type": "SYSTEM VIEW"}
    ]);
    assert_eq!(kinds["rows"], expected);
    // Each that is shown can be read and described, and is what it is called.
    let listed = LISTED.join(", ");
    for (name, columns) in [("rejected", "page, edits"), ("system.rejected", listed.as_str())] {
        let answer = ask(&gateway, &format!("SELECT * FROM {name}")).await;
        let schema = answer.rows.schema();
        let found: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        assert_eq!(found.join(", "), columns, "{name}");
        for describe in [format!("DESCRIBE {name}"), format!("SHOW COLUMNS FROM {name}")] {
            let described = body(&ask(&gateway, &describe).await);
            let described =
                described["rows"].as_array().unwrap().iter().map(|row| row["column_name"].as_str().unwrap());
            assert_eq!(described.collect::<Vec<_>>().join(", "), columns, "{describe}");
        }
        // Bare, in whatever place: none of the columns is a word that SQL keeps for itself.
        let grouped = format!("SELECT count(*) AS n, {columns} FROM {name} GROUP BY {columns} ORDER BY n, {columns}");
        ask(&gateway, &grouped).await;
    }
    for sql in ["SELECT * FROM system.records", "SELECT * FROM other.system.rejected", "DESCRIBE system.records"] {
        assert_eq!(refused(&gateway, sql).await.problem().status().as_u16(), 404, "{sql}");
    }
}

const LISTED: [&str; 11] = [
    "source",
    "partition",
    "log_offset",
    "time",
    "reason",
    "column",
    "error",
    "payload",
    "encoding",
    "payload_bytes",
    "truncated",
];

/// The pages A, B and C have 3, 1 and 1 edits.
#[tokio::test]
async fn a_join_with_a_view_merges_no_state_twice() {
    let world = sql::world().await;
    let gateway = gateway(&world, Some(Arc::new(Notes::of(&["A", "B", "A"]))), GatewaySettings::default());
    // Page A has two records: its states would be merged twice.
    for from in [
        "by_page p JOIN system.rejected r ON r.\"column\" = p.page",
        "by_page p LEFT JOIN system.rejected r ON r.\"column\" = p.page AND r.source = 'edits'",
        "system.rejected r RIGHT JOIN by_page p ON r.\"column\" = p.page AND r.log_offset = 0",
        "by_page p CROSS JOIN system.rejected r",
        "by_page p JOIN (SELECT \"column\", log_offset FROM system.rejected) r ON r.\"column\" = p.page",
    ] {
        let error = refused(&gateway, &format!("SELECT MEASURE(edits) AS n FROM {from}")).await;
        assert_eq!(error.problem().status().as_u16(), 400, "{from}: {error}");
        assert!(error.to_string().contains("may repeat rows of view by_page"), "{from}: {error}");
    }
    // As the message says: joined on what has one row each, grouped by what is joined on, or tested.
    let distinct = "SELECT DISTINCT \"column\" AS page FROM system.rejected";
    let counted = "SELECT \"column\" AS page, count(*) AS bad FROM system.rejected GROUP BY \"column\"";
    for (sql, rows) in [
        (
            format!("SELECT MEASURE(edits) AS n FROM by_page p JOIN ({distinct}) r ON r.page = p.page"),
            json!([{"n": 4}]),
        ),
        (format!("SELECT MEASURE(edits) AS n FROM by_page WHERE page IN ({distinct})"), json!([{"n": 4}])),
        (format!("SELECT MEASURE(edits) AS n FROM by_page WHERE page NOT IN ({distinct})"), json!([{"n": 1}])),
        (
            format!(
                "SELECT p.page, MEASURE(p.edits) AS n, max(r.bad) AS bad FROM by_page p LEFT JOIN ({counted}) r \
                 ON r.page = p.page GROUP BY p.page ORDER BY p.page"
            ),
            json!([
                {"page": "A", "n": 3, "bad": 2}, {"page": "B", "n": 1, "bad": 1}, {"page": "C", "n": 1, "bad": null}
            ]),
        ),
    ] {
        let answer = ask(&gateway, &sql).await;
        assert_eq!(body(&answer)["rows"], rows, "{sql}");
        assert!(answer.envelope.views.contains_key("by_page") && answer.envelope.rejected.len() == 1, "{sql}");
    }
    let error = refused(&gateway, "SELECT MEASURE(log_offset) AS n FROM system.rejected").await;
    assert_eq!(error.problem().status().as_u16(), 400, "{error}");
}

#[tokio::test]
async fn records_that_cannot_be_read_are_refused_in_words() {
    let world = sql::world().await;
    let sql = "SELECT count(*) AS n FROM system.rejected";
    let away = Notes { manner: Manner::WithAnError, ..Notes::of(&[]) };
    let gateway_of = |notes| gateway(&world, notes, GatewaySettings::default());
    let problem = refused(&gateway_of(Some(Arc::new(away))), sql).await.problem();
    let told = "rejected records of source edits cannot be read: the store is away";
    assert_eq!((problem.status().as_u16(), problem.detail()), (503, told));
    assert_eq!(problem.retry_after_seconds(), Some(5));

    let problem = refused(&gateway_of(None), sql).await.problem();
    assert_eq!(problem.status().as_u16(), 400);
    assert!(problem.detail().contains("without access to rejected records"), "{}", problem.detail());
    assert!(problem.hint().unwrap().contains("`twofold rejected edits`"), "{:?}", problem.hint());

    // Who takes the table for a view, or a source for a table, is told its name, which works.
    for sql in ["SELECT * FROM rejected", "SELECT reason FROM edits"] {
        let problem = refused(&gateway_of(None), sql).await.problem();
        assert!(problem.hint().unwrap().contains("the table system.rejected"), "{sql}: {:?}", problem.hint());
    }
    let notes = Some(Arc::new(Notes::of(&["A"])));
    assert_eq!(ask(&gateway_of(notes), "SELECT * FROM system.rejected").await.rows.num_rows(), 1);
}

#[tokio::test]
async fn the_records_of_a_query_count_towards_its_memory() {
    let world = sql::world().await;
    let pages = vec!["a page of some length, so that records have a size"; 20_000];
    let settings = GatewaySettings { sql_memory_bytes: 1 << 20, ..GatewaySettings::default() };
    let small = gateway(&world, Some(Arc::new(Notes::of(&pages))), settings);
    let sql = "SELECT source, count(*) AS n FROM system.rejected GROUP BY source";
    let problem = refused(&small, sql).await.problem();
    assert_eq!(problem.status().as_u16(), 413, "{}", problem.detail());
    // What it held is free again.
    assert_eq!(body(&ask(&small, "SELECT count(*) AS n FROM totals").await)["rows"], json!([{"n": 3}]));
    let large = gateway(&world, Some(Arc::new(Notes::of(&pages))), GatewaySettings::default());
    assert_eq!(body(&ask(&large, sql).await)["rows"], json!([{"source": "edits", "n": 20_000}]));
}

#[tokio::test]
async fn a_question_that_nobody_answers_ends_with_its_query() {
    let world = sql::world().await;
    let settings = GatewaySettings {
        max_sql_queries: 1,
        sql_queue_wait: Duration::from_secs(60),
        sql_time_limit: Duration::from_secs(1),
        ..GatewaySettings::default()
    };
    let silent = Arc::new(Notes { manner: Manner::Never, ..Notes::of(&["A"]) });
    let gateway = gateway(&world, Some(silent.clone()), settings);
    // Each needs the only place: a question that was still asked would keep it.
    for _ in 0..2 {
        let problem = refused(&gateway, "SELECT * FROM system.rejected").await.problem();
        assert_eq!(problem.status().as_u16(), 408, "{}", problem.detail());
    }
    assert!(!silent.taken().is_empty());
}
