//! Refusals of every route of every role: one dialect, and every kind of problem is told somewhere.

use std::collections::BTreeSet;
use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use collector::CollectorSettings;
use edge::{Problem, ProblemKind};
use futures::{StreamExt, stream};
use positions::{Hole, Offset, PartitionId};
use query_gateway::{GatewayError, GatewaySettings};
use reqwest::{Body, Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use twofold::config::{Config, ConfigInputs};
use twofold::definitions::Definitions;
use twofold::definitions_route::definitions_router;
use twofold::http::{Intake, health_router, routes_beside, status_router, whole_router};
use twofold::lives::Lives;
use twofold::log_route::log_router;
use twofold::metrics_text::MetricsText;
use twofold::read_again_route::read_again_router;
use twofold::readiness::Hindrances;
use twofold::rejected_route::rejected_router;
use twofold::role::Roles;
use twofold::runs::dry_run::Planning;
use twofold::runs_route::{RunsFeed, RunsRoute, runs_router};
use twofold::status::StatusBoard;
use workflow::Workflow;

use super::world::{World, event};
use crate::collector::fake::{FakeLog, Mood};
use crate::collector::{JSON, LINES, collector_of};
use crate::decode::clicks;
use crate::lake::memory_lake;
use crate::support::principals::as_anyone;
use crate::support::seams::{ManualClock, SeededIds};

/// The page that people read of all this.
const PAGE: &str = include_str!("../../../docs/http.md");

const ROOM_FOR_VIEWS: &str = "raise `gateway.view_memory` or use a coarser bucket";

const GATEWAY_ROUTES: [&str; 7] = [
    "GET /",
    "GET /v1/views",
    "GET /v1/views/{view}",
    "GET /v1/views/{view}/rows",
    "GET /v1/views/{view}/exactness",
    "POST /v1/sql",
    "GET /v1/status",
];
/// The routes of the collector, of the log, of rejected records, of definitions, of runs and of health.
const BESIDE: [&str; 20] = [
    "GET /v1/sources/{source}",
    "POST /v1/sources/{source}/events",
    "GET /v1/sources/{source}/log",
    "GET /v1/sources/{source}/rejected",
    "POST /v1/sources/{source}/rejected/read-again",
    "GET /v1/definitions",
    "POST /v1/definitions",
    "GET /v1/runs",
    "POST /v1/runs",
    "GET /v1/runs/{run}",
    "GET /v1/runs/{run}/events",
    "POST /v1/runs/{run}/pause",
    "POST /v1/runs/{run}/resume",
    "POST /v1/runs/{run}/cancel",
    "POST /v1/runs/{run}/retry",
    "POST /v1/runs/pause",
    "POST /v1/runs/resume",
    "GET /metrics",
    "GET /healthz",
    "GET /readyz",
];
/// The paths that are there for two methods.
const FOR_TWO: [&str; 2] = ["/v1/definitions", "/v1/runs"];
const STATUS_ROUTES: [&str; 1] = ["GET /v1/status"];

/// A process that listens, with a collector beside its other routes.
struct Process {
    address: String,
    client: reqwest::Client,
    log: Arc<FakeLog>,
    intake: CancellationToken,
    shutdown: CancellationToken,
}

impl Drop for Process {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

impl Process {
    /// Beside a gateway, or without one.
    async fn start(gateway: Option<&World>, settings: CollectorSettings) -> Self {
        let (log, intake, shutdown) =
            (Arc::new(FakeLog::default()), CancellationToken::new(), CancellationToken::new());
        let answers: Router = match gateway {
            Some(world) => query_gateway::router(world.gateway.clone(), routes_beside(true, true, false)),
            None => status_router(Arc::new(StatusBoard::default()), routes_beside(true, true, false)),
        };
        let (lives, definitions) = (Lives::new(memory_lake(3)), Definitions::of(&watch::Sender::default()));
        let of_log = log_router(log.clone(), Arc::new(lives), definitions.clone());
        let of_rejected = rejected_router(memory_lake(3), definitions.clone());
        let of_reading = read_again_router(memory_lake(3), definitions.clone(), None);
        let of_runs = runs_of(definitions);
        let health = health_router(MetricsText::default(), || ready(Hindrances::new()));
        let collector = collector::router(collector_of(log.clone(), clicks(), settings));
        let collector = Intake::new(intake.clone()).guard(collector);
        let router = as_anyone(whole_router(
            answers,
            [of_log, of_rejected, of_reading, definitions_of(), of_runs, health, collector],
        ));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let served = axum::serve(listener, router).with_graceful_shutdown(shutdown.clone().cancelled_owned());
        tokio::spawn(served.into_future());
        Self { address, client: reqwest::Client::new(), log, intake, shutdown }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.address))
    }

    fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    fn send(&self, content_type: &str, body: impl Into<Body>) -> RequestBuilder {
        let request = self.request(Method::POST, "/v1/sources/clicks/events");
        request.header("content-type", content_type).body(body)
    }

    fn sql(&self, body: &str) -> RequestBuilder {
        self.request(Method::POST, "/v1/sql").header("content-type", "application/json").body(body.to_owned())
    }
}

fn definitions_of() -> Router {
    let lake = memory_lake(3);
    let workflow = Workflow::new(&lake, Arc::new(ManualClock::at(0)), Arc::new(SeededIds::new(4)));
    let config = Arc::new(Config::read(ConfigInputs::default()).unwrap());
    definitions_router(&lake, &workflow, (config, Roles::all()), watch::Sender::default())
}

fn runs_of(definitions: Definitions) -> Router {
    let (lake, clock, ids) = (memory_lake(3), Arc::new(ManualClock::at(0)), Arc::new(SeededIds::new(3)));
    let workflow = Workflow::new(&lake, clock.clone(), ids.clone());
    let config = Arc::new(Config::read(ConfigInputs::default()).unwrap());
    runs_router(RunsRoute::new(Arc::new(RunsFeed::new(workflow)), definitions, Planning { config, lake, clock, ids }))
}

/// The kinds that were told so far.
#[derive(Default)]
struct Told(BTreeSet<ProblemKind>);

impl Told {
    /// Sends a request and fails unless it is refused with this kind, in the one shape.
    async fn check(&mut self, kind: ProblemKind, request: RequestBuilder) -> Value {
        let response = request.send().await.unwrap();
        let status = response.status();
        let header = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let (content_type, retry_after) = (header("content-type"), header("retry-after"));
        let url = response.url().clone();
        let text = response.text().await.unwrap();
        assert_eq!(content_type.as_deref(), Some("application/problem+json"), "{url}: {status} {text}");
        let problem: Value = serde_json::from_str(&text).unwrap();
        let expected = (kind.status().as_u16(), json!(format!("urn:twofold:problem:{}", kind.name())));
        assert_eq!((status.as_u16(), problem["type"].clone()), expected, "{url}: {text}");
        check_members(kind, &problem);
        assert_eq!(problem["retry_after"].as_u64().map(|seconds| seconds.to_string()), retry_after, "{url}: {text}");
        self.0.insert(kind);
        problem
    }
}

fn check_members(kind: ProblemKind, problem: &Value) {
    assert_eq!(problem["status"], json!(kind.status().as_u16()), "{problem}");
    assert_eq!(problem["title"], json!(kind.title()), "{problem}");
    assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{problem}");
    assert!(problem.get("hint").is_none_or(Value::is_string), "{problem}");
    let is_list =
        |known: &Value| known.as_array().is_some_and(|all| !all.is_empty() && all.iter().all(Value::is_string));
    assert!(problem.get("known").is_none_or(is_list), "{problem}");
}

/// Batch up to offset 2, realtime up to 2; `totals` has nothing yet.
async fn world(settings: GatewaySettings) -> World {
    let world = World::with_settings(settings);
    world.send(0, [event(0, "A", "ann", 3), event(70, "B", "bob", 5)]);
    world.append_run_of(0, &["by_page"]).await;
    world.own(1).await;
    world.publish("by_page", &[2, 0]).await;
    world
}

/// What no handler sees: paths that do not exist, and other methods on those that do.
async fn check_routes(told: &mut Told, process: &Process, routes: &[&str]) {
    let all: Vec<&str> = routes.iter().chain(&BESIDE).copied().collect();
    for path in
        ["/v2", "/v1", "/v1/nothing", "/%ff", "/v1/sources", "/v1/sources/clicks/events/1", "/v1/source/clicks/events"]
    {
        let problem = told.check(ProblemKind::Unknown, process.get(path)).await;
        assert_eq!(problem["known"], json!(all), "{path}");
    }
    for route in all {
        let (allowed, path) = route.split_once(' ').unwrap();
        let of_path = path.replace("{view}", "by_page").replace("{source}", "clicks").replace("{run}", "1");
        let (other, allow) = match allowed {
            _ if FOR_TWO.contains(&path) => (Method::PUT, "GET, HEAD, POST"),
            "GET" => (Method::POST, "GET, HEAD"),
            _ => (Method::GET, "POST"),
        };
        let both = json!([format!("GET {path}"), format!("POST {path}")]);
        let known = if FOR_TWO.contains(&path) { both } else { json!([route]) };
        for method in [other, Method::PUT, Method::PATCH, Method::DELETE] {
            let problem = told.check(ProblemKind::MethodNotAllowed, process.request(method.clone(), &of_path)).await;
            assert_eq!(problem["known"], known, "{method} {route}");
            let response = process.request(method, &of_path).send().await.unwrap();
            assert_eq!(response.headers()["allow"], allow, "{route}");
        }
        let listed = format!("| `{route}` |");
        assert!(PAGE.contains(&listed), "docs/http.md does not list {listed}");
    }
    // `GET /metrics` and the checks of life must not fail for what a proxy adds.
    for path in [
        "/v1/status?verbose=1",
        "/v1/status?%ff",
        "/v1/sources/clicks?a=1",
        "/v1/sources/%ff",
        "/v1/sources/%ff/rejected",
        "/v1/sources/clicks/rejected?limit=0",
    ] {
        told.check(ProblemKind::BadRequest, process.get(path)).await;
    }
    told.check(ProblemKind::Unknown, process.request(Method::POST, "/v1/runs/1/retry")).await;
    let apply = |body: &'static str| {
        process.request(Method::POST, "/v1/definitions").header("content-type", "application/json").body(body)
    };
    told.check(ProblemKind::BadBody, apply("[]")).await;
    told.check(ProblemKind::BadRequest, apply(r#"{"pipeline": "SELECT 1"}"#)).await;
    told.check(ProblemKind::Forbidden, apply("{}").header("origin", "http://localhost:8080")).await;
    let read_again = "/v1/sources/clicks/rejected/read-again";
    told.check(ProblemKind::BadRequest, process.request(Method::POST, &format!("{read_again}?a=1"))).await;
    let of_page = process.request(Method::POST, read_again).header("origin", "http://localhost:8080");
    told.check(ProblemKind::Forbidden, of_page).await;
    let (number, at_least) = ("`limit` must be 1 to 1000", "must be a whole number of at least 0, got `-1`");
    for (query, detail) in [
        ("limit=0", number),
        ("limit=1001", number),
        ("limit=x", number),
        ("limit=1&limit=2", "`limit` is given twice"),
        ("from=-1", at_least),
        ("partition=-1", at_least),
        ("wait=soon", "`wait` must be a span of time such as '500ms'"),
        ("wait=11s", "`wait` must be at most 10s, got `11s`"),
        ("wait_ms=5", "there is no parameter `wait_ms`"),
        ("next=%ff", "not percent-encoded UTF-8"),
    ] {
        let problem =
            told.check(ProblemKind::BadRequest, process.get(&format!("/v1/sources/clicks/log?{query}"))).await;
        assert!(problem["detail"].as_str().is_some_and(|told| told.contains(detail)), "{query}: {problem}");
    }
}

/// What the collector refuses, in whatever process it is.
async fn check_collector(told: &mut Told, process: &Process) {
    let (good, no_source) = (crate::collector::event("a"), "/v1/sources/klicks");
    assert_eq!(told.check(ProblemKind::Unknown, process.get(no_source)).await["known"], json!(["clicks"]));
    told.check(ProblemKind::Unknown, process.request(Method::POST, &format!("{no_source}/events"))).await;
    for query in ["on_error=drop", "onerror=keep", "on_error=keep&on_error=keep", "on_error=%ff"] {
        let path = format!("/v1/sources/clicks/events?{query}");
        told.check(ProblemKind::BadRequest, process.request(Method::POST, &path)).await;
    }
    told.check(ProblemKind::BadRequest, process.request(Method::POST, "/v1/sources/%ff/events")).await;
    told.check(ProblemKind::BadBody, process.send(JSON, "[")).await;
    told.check(ProblemKind::UnsupportedMediaType, process.send("text/plain", "x")).await;
    let encoded = process.send(JSON, "x").header("content-encoding", "br");
    told.check(ProblemKind::UnsupportedMediaType, encoded).await;
    let of_page = process.send("text/plain", good.clone()).header("origin", "https://shop.example");
    told.check(ProblemKind::OriginNotAllowed, of_page).await;
    told.check(ProblemKind::TooLarge, process.send(JSON, " ".repeat(20_000))).await;
    told.check(ProblemKind::TooManyEvents, process.send(LINES, format!("{good}\n{good}\n{good}"))).await;
    let endless = stream::iter([Ok::<_, std::io::Error>(good.clone())]).chain(stream::pending());
    told.check(ProblemKind::SlowBody, process.send(JSON, Body::wrap_stream(endless))).await;
    process.log.set(Mood::Down);
    told.check(ProblemKind::NotAcknowledged, process.send(JSON, good.clone())).await;
    process.log.set(Mood::Full);
    told.check(ProblemKind::Overloaded, process.send(LINES, format!("{good}\n{good}"))).await;
    process.intake.cancel();
    told.check(ProblemKind::ShuttingDown, process.send(JSON, good)).await;
    told.check(ProblemKind::ShuttingDown, process.get("/v1/sources/clicks")).await;
}

async fn check_gateway(told: &mut Told, process: &Process, world: &World) {
    let rows = "/v1/views/by_page/rows";
    for path in ["/v1/views?a=1", "/v1/views/by_page?a=1", "/v1/views/%ff", "/v1/views/%ff/rows"] {
        told.check(ProblemKind::BadRequest, process.get(path)).await;
    }
    for query in ["pag=A", "limit=x", "limit=1&limit=1", "by=%ff", "after=zz", "timeout=soon", "version=new"] {
        told.check(ProblemKind::BadRequest, process.get(&format!("{rows}?{query}"))).await;
    }
    told.check(ProblemKind::BadRequest, process.get(rows).header("x-twofold-after", "zz")).await;
    told.check(ProblemKind::BadRequest, process.sql(r#"{"sql": "DROP TABLE by_page"}"#)).await;
    for path in ["/v1/views/nothing", "/v1/views/nothing/rows", &format!("{rows}?version=99")] {
        told.check(ProblemKind::Unknown, process.get(path)).await;
    }
    told.check(ProblemKind::Unknown, process.sql(r#"{"sql": "SELECT * FROM nothing"}"#)).await;
    told.check(ProblemKind::BadBody, process.sql("SELECT 1")).await;
    let plain = process.request(Method::POST, "/v1/sql").header("content-type", "text/plain").body("{}");
    told.check(ProblemKind::UnsupportedMediaType, plain).await;
    told.check(ProblemKind::NotAcceptable, process.get(rows).header("accept", "text/csv")).await;
    told.check(ProblemKind::TooLarge, process.sql(&"x".repeat(1_000_000))).await;
    let long = json!({ "sql": format!("SELECT '{}'", "x".repeat(20_000)) });
    told.check(ProblemKind::TooLarge, process.sql(&long.to_string())).await;
    told.check(ProblemKind::BeingBuilt, process.get("/v1/views/totals/rows")).await;
    let token = world.token(0, 5);
    let behind = json!([{"partition": 0, "asked": 7, "reached": 2}]);
    let not_yet = told.check(ProblemKind::NotYet, process.get(&format!("{rows}?after={token}&timeout=10ms"))).await;
    assert_eq!(not_yet["behind"], behind);
    let of_version = process.get(&format!("{rows}?after={token}&version=1"));
    assert_eq!(told.check(ProblemKind::NotInVersion, of_version).await["behind"], behind);
}

#[tokio::test]
async fn every_refusal_of_every_role_is_of_one_dialect() {
    let settings = CollectorSettings {
        max_body_bytes: 10_000,
        max_events: 2,
        read_timeout: Duration::from_millis(200),
        ..Default::default()
    };
    let mut told = Told::default();
    let world = world(GatewaySettings::default()).await;
    let whole = Process::start(Some(&world), settings.clone()).await;
    check_routes(&mut told, &whole, &GATEWAY_ROUTES).await;
    check_gateway(&mut told, &whole, &world).await;
    check_collector(&mut told, &whole).await;
    let without_gateway = Process::start(None, settings).await;
    check_routes(&mut told, &without_gateway, &STATUS_ROUTES).await;
    check_collector(&mut told, &without_gateway).await;
    for path in ["/healthz", "/readyz", "/metrics", "/v1/status", "/healthz?x=%ff"] {
        assert_eq!(without_gateway.get(path).send().await.unwrap().status(), 200, "{path}");
    }
    check_busy(&mut told).await;
    // No request leads to it: it would be a defect.
    told.0.insert(ProblemKind::Defect);
    // Told by the route that reads the log, which belongs to the process (`cli::`).
    told.0.extend([ProblemKind::NotInLog, ProblemKind::LogUnavailable]);
    // Told of runs (`runs::`).
    told.0.insert(ProblemKind::Conflict);
    // Told before any route is asked (`access::`).
    told.0.extend([ProblemKind::Unauthenticated, ProblemKind::Misdirected, ProblemKind::OverQuota]);
    // Told of a source that has stopped (`topology::`).
    told.0.insert(ProblemKind::SourceStopped);
    assert_eq!(told.0.into_iter().collect::<BTreeSet<_>>(), ProblemKind::ALL.iter().copied().collect());
}

/// A gateway that may do nothing, and one whose stores are away.
async fn check_busy(told: &mut Told) {
    let no_query = GatewaySettings { max_queries: 0, max_sql_queries: 0, max_waiting: 0, ..Default::default() };
    let (busy, rows) = (world(no_query).await, "/v1/views/by_page/rows");
    let process = Process::start(Some(&busy), CollectorSettings::default()).await;
    let token = busy.token(0, 5);
    told.check(ProblemKind::Overloaded, process.get(rows)).await;
    told.check(ProblemKind::Overloaded, process.get(&format!("{rows}?after={token}"))).await;
    told.check(ProblemKind::Overloaded, process.sql(r#"{"sql": "SELECT 1 AS one"}"#)).await;
    let slow = world(GatewaySettings { sql_time_limit: Duration::ZERO, ..Default::default() }).await;
    let process = Process::start(Some(&slow), CollectorSettings::default()).await;
    // Long to plan: a short query may be done before anybody looks at the clock.
    let joined: Vec<String> = (0..16).map(|one| format!("by_page AS v{one}")).collect();
    let long = json!({ "sql": format!("SELECT v0.page FROM {}", joined.join(" CROSS JOIN ")) });
    told.check(ProblemKind::TimedOut, process.sql(&long.to_string())).await;
    let down = World::with_settings(GatewaySettings { view_memory_bytes: 1, ..Default::default() });
    down.send(0, [event(0, "A", "ann", 3)]);
    down.publish("by_page", &[1, 0]).await;
    let process = Process::start(Some(&down), CollectorSettings::default()).await;
    let newest = told.check(ProblemKind::Unavailable, process.get(rows)).await;
    assert!(newest["detail"].as_str().is_some_and(|detail| detail.contains("gateway.view_memory")), "{newest}");
    let named = told.check(ProblemKind::Unavailable, process.get(&format!("{rows}?version=1"))).await;
    assert_eq!((named.get("retry_after"), &named["hint"]), (None, &json!(ROOM_FOR_VIEWS)), "{named}");
}

#[test]
fn kinds_are_told_apart_and_each_is_on_the_page() {
    let names: BTreeSet<&str> = ProblemKind::ALL.iter().map(|kind| kind.name()).collect();
    assert_eq!(names.len(), ProblemKind::ALL.len(), "two kinds of one name");
    assert!(ProblemKind::ALL.is_sorted_by_key(|kind| kind.status()), "kinds are listed by status");
    for kind in ProblemKind::ALL {
        let listed = format!("| `{}` | {} |", kind.name(), kind.status().as_u16());
        assert!(PAGE.contains(&listed), "docs/http.md does not list {listed}");
    }
}

#[test]
fn a_defect_is_a_problem_too() {
    let error = GatewayError::Arrow(arrow::error::ArrowError::ComputeError("no".to_owned()));
    let problem = Problem::from(error);
    assert_eq!((problem.kind(), problem.status().as_u16()), (ProblemKind::Defect, 500));
    assert_eq!(problem.detail(), "batch: Compute error: no");
}

#[test]
fn a_hole_is_told_as_it_is_stored() {
    let hole = Hole { partition: PartitionId(1), from: Offset(20), to: Offset(31) };
    let text = r#"{"partition":1,"from":20,"to":31}"#;
    assert_eq!(serde_json::to_string(&hole).unwrap(), text);
    assert_eq!(serde_json::from_str::<Hole>(text).unwrap(), hole);
}
