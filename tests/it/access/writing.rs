//! What a principal may do on the routes of collector and process: forbidden looks like unknown.

use std::collections::BTreeMap;
use std::future::ready;
use std::sync::Arc;

use collector::CollectorSettings;
use edge::{Grants, Names, Principal, ProblemKind};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use twofold::definitions::{Definitions, RunningDefinitions};
use twofold::http::{health_router, routes_beside, status_router, whole_router};
use twofold::lives::Lives;
use twofold::log_route::log_router;
use twofold::metrics_text::MetricsText;
use twofold::read_again_route::read_again_router;
use twofold::readiness::Hindrances;
use twofold::rejected_route::rejected_router;
use twofold::role::Role;
use twofold::status::StatusBoard;

use super::Answer;
use crate::collector::fake::{FakeLog, Mood};
use crate::collector::{collector_of, event};
use crate::decode::clicks;
use crate::lake::memory_lake;
use crate::support::principals::{as_principal, rules_of, writer};

const SOURCES: &str = "
CREATE UNBOUNDED EXTERNAL TABLE clicks (time TIMESTAMP, id VARCHAR, page VARCHAR) STORED AS JSON
LOCATION 'kafka://clicks' OPTIONS (event_time 'time', event_id 'id');
CREATE MATERIALIZED VIEW by_page AS SELECT page, count(*) AS n FROM clicks GROUP BY page;
";

/// All routes of a process without a gateway, asked by one principal.
struct Process {
    address: String,
    log: Arc<FakeLog>,
    stop: CancellationToken,
    _served: AbortOnDropHandle<()>,
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Process {
    async fn start(principal: Principal) -> Self {
        let log = Arc::new(FakeLog::default());
        let pipeline = Arc::new(views::Pipeline::read(SOURCES, &BTreeMap::new()).unwrap());
        let set = watch::channel(RunningDefinitions { pipeline, ..Default::default() }).0;
        let definitions = Definitions::of(&set);
        let lives = Arc::new(Lives::new(memory_lake(3)));
        let hindrances = Hindrances::from([(Role::Collector, vec!["the log is away".to_owned()])]);
        let beside = [
            log_router(log.clone(), lives, definitions.clone()),
            rejected_router(memory_lake(3), definitions.clone()),
            read_again_router(memory_lake(3), definitions, None),
            health_router(MetricsText::default(), move || ready(hindrances.clone())),
            collector::router(collector_of(log.clone(), clicks(), CollectorSettings::default())),
        ];
        let status = status_router(Arc::new(StatusBoard::default()), routes_beside(true, true, false));
        let router = as_principal(whole_router(status, beside), principal);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let serving = axum::serve(listener, router).with_graceful_shutdown(stop.clone().cancelled_owned());
        let served = AbortOnDropHandle::new(tokio::spawn(async move { serving.await.unwrap() }));
        Self { address, log, stop, _served: served }
    }

    async fn get(&self, path: &str) -> Answer {
        Answer::of(reqwest::Client::new().get(format!("{}{path}", self.address))).await
    }

    async fn post(&self, path: &str, body: String) -> Answer {
        let request = reqwest::Client::new().post(format!("{}{path}", self.address)).body(body);
        Answer::of(request.header("content-type", "application/json")).await
    }
}

fn operator() -> Principal {
    Principal::new("operator", Grants { operate: true, ..Grants::default() })
}

fn reader() -> Principal {
    Principal::new("reader", Grants { read: Names::All, ..Grants::default() })
}

#[tokio::test]
async fn a_source_that_may_not_be_written_looks_like_one_that_does_not_exist() {
    let process = Process::start(reader()).await;
    for (there, not_there) in
        [("/v1/sources/clicks", "/v1/sources/klicks"), ("/v1/sources/clicks/rejected", "/v1/sources/klicks/rejected")]
    {
        let (forbidden, unknown) = (process.get(there).await, process.get(not_there).await);
        unknown.check_problem(ProblemKind::Unknown, "klicks");
        assert_eq!(forbidden.text, unknown.text.replace("klicks", "clicks"));
        assert!(!forbidden.text.contains(r#""known""#), "nothing else is told either: {forbidden:?}");
        assert_eq!((forbidden.status, forbidden.headers.len()), (unknown.status, unknown.headers.len()));
    }
    let (forbidden, unknown) = (
        process.post("/v1/sources/clicks/events", event("a")).await,
        process.post("/v1/sources/klicks/events", event("a")).await,
    );
    unknown.check_problem(ProblemKind::Unknown, "klicks");
    assert_eq!(forbidden.text, unknown.text.replace("klicks", "clicks"));
    assert!(process.log.payloads().is_empty());
}

#[tokio::test]
async fn who_may_write_a_source_sends_and_sees_it() {
    let process = Process::start(writer(&["clicks", "others"])).await;
    let receipt: Value =
        serde_json::from_str(&process.post("/v1/sources/clicks/events", event("a")).await.text).unwrap();
    assert_eq!(receipt["accepted"], json!(1), "{receipt}");
    assert_eq!(process.get("/v1/sources/clicks").await.status, 200);
    let counts: Value = serde_json::from_str(&process.get("/v1/sources/clicks/rejected").await.text).unwrap();
    assert_eq!((&counts["total"], &counts["records"]), (&json!(0), &json!([])));
    assert!(counts["withheld"].as_str().is_some_and(|why| why.contains("operate")), "{counts}");
    let unknown = process.get("/v1/sources/others").await;
    unknown.check_problem(ProblemKind::Unknown, r#""known":["clicks"]"#);
    for (method, path) in [
        ("GET", "/metrics"),
        ("GET", "/v1/status"),
        ("GET", "/v1/sources/clicks/log"),
        ("GET", "/v1/sources/klicks/log"),
        ("POST", "/v1/sources/clicks/rejected/read-again"),
        ("POST", "/v1/sources/klicks/rejected/read-again"),
    ] {
        let refused = if method == "GET" { process.get(path).await } else { process.post(path, String::new()).await };
        refused.check_problem(ProblemKind::Forbidden, "`writer`");
    }
}

#[tokio::test]
async fn what_the_log_says_of_itself_is_told_to_operators_alone() {
    let operates = Grants { write: Names::All, operate: true, ..Grants::default() };
    for (principal, is_told) in [(writer(&["clicks"]), false), (Principal::new("operator", operates), true)] {
        let process = Process::start(principal).await;
        process.log.set(Mood::Down);
        let refused = process.post("/v1/sources/clicks/events", event("a")).await;
        refused.check_problem(ProblemKind::NotAcknowledged, "whose `stored` is null");
        assert_eq!(refused.text.contains("no broker answers"), is_told, "{refused:?}");
        assert_eq!(refused.text.contains("whoever operates the system"), !is_told, "{refused:?}");
        // What is wrong with an event is the sender's.
        process.log.set(Mood::Well);
        let bad = process.post("/v1/sources/clicks/events", "[5]".to_owned()).await;
        assert!(bad.status == 200 && !bad.text.contains("whoever operates"), "{bad:?}");
    }
}

/// What these routes tell is of all records, and no rule of rows can divide it.
#[tokio::test]
async fn who_does_not_see_all_rows_operates_nothing_and_is_told_no_counts() {
    let rows = rules_of(&[("country", &["de"])]);
    let grants = Grants { write: Names::All, operate: true, rows, ..Grants::default() };
    let process = Process::start(Principal::new("ruled", grants)).await;
    for path in ["/metrics", "/v1/status", "/v1/sources/clicks/log"] {
        process.get(path).await.check_problem(ProblemKind::Forbidden, "`ruled`");
    }
    process.get("/v1/sources/clicks/rejected").await.check_problem(ProblemKind::Unknown, "no source `clicks`");
    assert_eq!(process.post("/v1/sources/clicks/events", event("a")).await.status, 200);
}

#[tokio::test]
async fn who_may_operate_sees_everything_and_writes_nothing() {
    let process = Process::start(operator()).await;
    for path in ["/metrics", "/v1/status"] {
        assert_eq!(process.get(path).await.status, 200, "{path}");
    }
    let shown: Value = serde_json::from_str(&process.get("/v1/sources/clicks/rejected").await.text).unwrap();
    assert_eq!((&shown["source"], &shown["withheld"]), (&json!("clicks"), &Value::Null));
    process.get("/v1/sources/klicks/log").await.check_problem(ProblemKind::Unknown, "clicks");
    process
        .post("/v1/sources/clicks/events", event("a"))
        .await
        .check_problem(ProblemKind::Unknown, "no source `clicks`");
    assert!(process.log.payloads().is_empty());
}

#[tokio::test]
async fn who_does_not_see_all_rows_is_shown_nothing_that_is_of_all_of_them() {
    let rows = rules_of(&[("page", &["a"])]);
    let process = Process::start(Principal::new("ruled", Grants { rows, ..Grants::all() })).await;
    for path in ["/metrics", "/v1/status", "/v1/sources/clicks/log"] {
        process.get(path).await.check_problem(ProblemKind::Forbidden, "no `rows`");
    }
    let refused = process.post("/v1/sources/clicks/rejected/read-again", String::new()).await;
    refused.check_problem(ProblemKind::Forbidden, "no `rows`");
    process.get("/v1/sources/clicks/rejected").await.check_problem(ProblemKind::Unknown, "no source `clicks`");
    let sent = process.post("/v1/sources/clicks/events", event("a")).await;
    assert_eq!(sent.status, 200, "what is sent is seen by who sends it: {sent:?}");
}

#[tokio::test]
async fn a_probe_learns_whether_and_an_operator_why() {
    let parse = |answer: Answer| (answer.status, serde_json::from_str::<Value>(&answer.text).unwrap());
    let (status, told) = parse(Process::start(Principal::nobody()).await.get("/readyz").await);
    assert_eq!((status, told), (503, json!({ "ready": false })));
    let (status, told) = parse(Process::start(operator()).await.get("/readyz").await);
    assert_eq!((status, &told["problems"][0]), (503, &json!("collector: the log is away")));
}
