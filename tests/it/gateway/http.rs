//! The gateway over HTTP, with the routes that every process has beside it: status codes, problem details, health.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::StreamExt;
use query_gateway::{GatewaySettings, router};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use twofold::http::{health_router, routes_beside, whole_router};
use twofold::metrics_text::MetricsText;
use twofold::readiness::Hindrances;
use twofold::role::Role;

use super::world::{World, event};
use crate::support::principals::as_anyone;
use crate::support::process::DEADLINE;

/// A gateway on a loopback port; ends with the value.
pub(super) struct Served {
    world: World,
    hindrances: Arc<Mutex<Hindrances>>,
    address: String,
    client: reqwest::Client,
    shutdown: CancellationToken,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

pub(super) async fn serve() -> Served {
    serve_with(GatewaySettings::default()).await
}

pub(super) async fn serve_with(settings: GatewaySettings) -> Served {
    let world = World::with_settings(settings);
    world.send(0, [event(0, "A", "ann", 3), event(70, "B & C", "bob", 5)]);
    world.append_run(0).await;
    world.publish("by_page", &[2, 0]).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let shutdown = CancellationToken::new();
    let hindrances = Arc::new(Mutex::new(Hindrances::from([(Role::Gateway, Vec::new())])));
    let known = hindrances.clone();
    let of_health = health_router(MetricsText::default(), move || std::future::ready(known.lock().unwrap().clone()));
    let router =
        as_anyone(whole_router(router(world.gateway.clone(), routes_beside(false, false, false)), [of_health]));
    let served = axum::serve(listener, router).with_graceful_shutdown(shutdown.clone().cancelled_owned());
    tokio::spawn(served.into_future());
    Served { world, hindrances, address, client: reqwest::Client::new(), shutdown }
}

impl Served {
    pub(super) fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("{}{path}", self.address))
    }

    pub(super) async fn get(&self, path: &str) -> (u16, String, String) {
        answer(self.client.get(format!("{}{path}", self.address))).await
    }

    pub(super) async fn post_sql(&self, body: impl Into<reqwest::Body>) -> (u16, String, String) {
        answer(self.request(reqwest::Method::POST, "/v1/sql").header("content-type", "application/json").body(body))
            .await
    }
}

async fn answer(request: reqwest::RequestBuilder) -> (u16, String, String) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let kind = response.headers().get("content-type").map_or("", |kind| kind.to_str().unwrap()).to_owned();
    (status, kind, response.text().await.unwrap())
}

fn check_problem((status, kind, text): (u16, String, String), expected: u16) -> Value {
    assert_eq!((status, kind.as_str()), (expected, "application/problem+json"), "{text}");
    let problem: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(problem["status"], json!(expected));
    assert!(problem["title"].is_string() && problem["detail"].is_string() && problem["type"].is_string(), "{text}");
    problem
}

#[tokio::test]
async fn a_question_that_does_not_come_whole_is_refused() {
    let never = || reqwest::Body::wrap_stream(futures::stream::pending::<Result<Vec<u8>, std::io::Error>>());
    let served = serve_with(GatewaySettings { read_timeout: Duration::from_millis(100), ..Default::default() }).await;
    let problem = check_problem(served.post_sql(never()).await, 408);
    assert_eq!(problem["type"], json!("urn:twofold:problem:slow-body"));
    // As the hint says: with more time the same body, which comes in two parts, is taken.
    let parts = [r#"{"sql": "SELECT "#, r#"1 AS one"}"#].map(|part| Ok::<_, std::io::Error>(part.to_owned()));
    let slowly = futures::stream::iter(parts).then(|part| async move {
        tokio::task::yield_now().await;
        part
    });
    let (status, _, text) = serve().await.post_sql(reqwest::Body::wrap_stream(slowly)).await;
    assert!(status == 200 && text.starts_with(r#"{"rows":[{"one":1}]"#), "{status}: {text}");
}

#[tokio::test]
async fn an_answer_that_is_longer_than_its_limit_is_refused_in_rows_and_in_sql() {
    let served = serve_with(GatewaySettings { max_answer_bytes: 100, ..GatewaySettings::default() }).await;
    check_problem(served.get("/v1/views/by_page/rows").await, 413);
    check_problem(served.post_sql(r#"{"sql": "SELECT page FROM by_page"}"#).await, 413);
}

/// Sends a question over a connection of its own, and reads no more than the first byte of the answer.
async fn ask_and_read_nothing(served: &Served, body: &str) -> TcpStream {
    let mut stream = TcpStream::connect(served.address.trim_start_matches("http://")).await.unwrap();
    let head = "POST /v1/sql HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n";
    let head = format!("{head}content-length: {}\r\n\r\n", body.len());
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    assert_eq!(stream.read_u8().await.unwrap(), b'H');
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_not_read_keeps_its_memory_and_no_place() {
    let settings = GatewaySettings { max_sql_queries: 1, unread_bytes: 0, ..GatewaySettings::default() };
    let served = serve_with(settings).await;
    // 20 MB, of 32 MiB for all: much more than the system itself takes before its reader reads.
    let large = json!({ "sql": "SELECT repeat('x', 4000) AS x FROM generate_series(1, 5000)" }).to_string();
    let mut unread = ask_and_read_nothing(&served, &large).await;
    let (status, _, text) = served.post_sql(r#"{"sql": "SELECT 1 AS one"}"#).await;
    assert_eq!(status, 200, "{text}");
    let problem = check_problem(served.post_sql(large.clone()).await, 429);
    assert!(problem["detail"].as_str().unwrap().contains("gateway.unread_answers"), "{problem}");

    let mut rest = Vec::new();
    unread.read_to_end(&mut rest).await.unwrap();
    assert!(rest.len() > 20_000_000, "{} bytes", rest.len());
    let deadline = Instant::now() + DEADLINE;
    while served.post_sql(large.clone()).await.0 != 200 {
        assert!(Instant::now() < deadline, "its memory was not given back");
    }
}

#[tokio::test]
async fn rows_and_sql_answer_over_http() {
    let served = serve().await;
    let (status, kind, text) = served.get("/v1/views/by_page/rows?page=B%20%26%20C&by=page").await;
    assert_eq!((status, kind.as_str()), (200, "application/json"), "{text}");
    let body: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&body["rows"][0]["page"], &body["rows"][0]["added"]), (&json!("B & C"), &json!(5)));
    assert_eq!(body["envelope"]["cut"], json!({"0": 2, "1": 0}));
    let (status, _, text) = served.post_sql(r#"{"sql": "SELECT MEASURE(added) AS added FROM by_page"}"#).await;
    let body: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status, &body["rows"]), (200, &json!([{"added": 8}])), "{text}");
    assert_eq!(body["envelope"]["views"]["by_page"]["version"], json!(1));
}

#[tokio::test]
async fn everything_about_the_system_can_be_asked() {
    let served = serve().await;
    let (_, _, text) = served.get("/v1/views").await;
    let body: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(body["views"][0]["measures"][2]["class"], json!("sketch"), "{text}");
    let (_, _, text) = served.get("/v1/views/by_page").await;
    let body: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&body["time_dimension"], &body["versions"][0]["cut"]), (&json!("hour"), &json!({"0": 2, "1": 0})));
    let (_, _, text) = served.get("/v1/status").await;
    let body: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(body["sources"][0]["partitions"][0]["realtime"], json!(2), "{text}");
    assert_eq!(body["sources"][0]["rejected"], Value::Null, "nothing was rejected");
    assert_eq!(body["views"][0]["state"], json!("served"));
    for (path, expected, begins) in [
        ("/", "text/html; charset=utf-8", "<!doctype html>"),
        ("/healthz", "text/plain; charset=utf-8", "alive"),
        ("/readyz", "application/json", "{\"ready\":true"),
        ("/metrics", "text/plain; version=0.0.4", ""),
    ] {
        let (status, kind, text) = served.get(path).await;
        assert!(text.starts_with(begins), "{path}: {text}");
        assert_eq!((status, kind.as_str()), (200, expected), "{path}");
    }
}

#[tokio::test]
async fn the_page_for_people_shows_runs_and_asks_nobody_else() {
    let (_, _, page) = serve().await.get("/").await;
    for asked in ["ask(\"/v1/views\")", "ask(\"/v1/status\")", "ask(`/v1/runs?limit="] {
        assert!(page.contains(asked), "{asked}");
    }
    // Whatever the script puts something into is there.
    let named = ["$(\"", "put(\"", "buttons(\""].map(|call| page.split(call).skip(1).collect::<Vec<&str>>()).concat();
    let ids: BTreeSet<&str> = named.iter().map(|rest| rest.split('"').next().unwrap()).collect();
    assert!(ids.contains("runs") && ids.contains("runs-section"), "{ids:?}");
    for id in ids {
        assert!(page.contains(&format!("id=\"{id}\"")), "there is no element {id}");
    }
    // The one address of elsewhere is the name of a language.
    for (at, _) in page.match_indices("://") {
        assert!(page[at..].starts_with("://www.w3.org/2000/svg"), "{}", &page[at.saturating_sub(10)..at + 20]);
    }
}

#[tokio::test]
async fn columns_of_a_view_have_the_types_of_sql() {
    let served = serve().await;
    let (_, _, text) = served.get("/v1/views/by_page").await;
    let body: Value = serde_json::from_str(&text).unwrap();
    let column = |column: &Value| format!("{} {}", column["name"].as_str().unwrap(), column["type"].as_str().unwrap());
    let columns = |of: &str| body[of].as_array().unwrap().iter().map(column).collect::<Vec<String>>();
    assert_eq!(columns("dimensions"), ["page VARCHAR", "hour TIMESTAMP"]);
    assert_eq!(
        columns("measures"),
        ["edits BIGINT", "added BIGINT", "editors BIGINT", "mean_added BIGINT", "price DECIMAL(20,2)", "weight DOUBLE"]
    );
}

#[tokio::test]
async fn a_process_is_ready_by_its_roles_or_by_the_one_that_is_asked_for() {
    let served = serve().await;
    let away = vec!["the object store does not answer".to_owned()];
    *served.hindrances.lock().unwrap() = [(Role::Archive, away.clone()), (Role::Gateway, Vec::new())].into();
    let told = json!({"ready": true, "problems": [], "roles": {"archive": false, "gateway": true}});
    for path in ["/readyz", "/readyz?role=gateway", "/readyz?x=%ff&role=gateway"] {
        let (status, kind, text) = served.get(path).await;
        assert_eq!((status, kind.as_str()), (200, "application/json"), "{path}: {text}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), told);
    }
    let (status, kind, text) = served.get("/readyz?role=archive").await;
    assert_eq!((status, kind.as_str()), (503, "application/json"), "{text}");
    let why: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(why["problems"], json!(["archive: the object store does not answer"]));
    // Where requests come to no role, all count.
    *served.hindrances.lock().unwrap() = [(Role::Archive, away), (Role::Batch, Vec::new())].into();
    assert_eq!(served.get("/readyz").await.0, 503);
    let problem = check_problem(served.get("/readyz?role=gateway").await, 400);
    assert_eq!(problem["known"], json!(["archive", "batch"]));
    check_problem(served.get("/readyz?role=getaway").await, 400);
}

#[tokio::test]
async fn every_failure_is_a_problem() {
    let served = serve().await;
    assert_eq!(check_problem(served.get("/v1/views/nothing/rows").await, 404)["known"], json!(["by_page", "totals"]));
    assert!(check_problem(served.get("/v2").await, 404)["known"].to_string().contains("/v1/views/{view}/rows"));
    let of_source = check_problem(served.post_sql(r#"{"sql": "SELECT _error FROM edits"}"#).await, 404);
    assert_eq!(of_source["detail"], json!("`edits` is a source, and SQL reads views"));
    assert_eq!(of_source["known"], json!(["by_page", "totals"]));
    for part in ["ask by_page or totals", "`twofold rejected edits`", "GET /v1/sources/edits/rejected"] {
        assert!(of_source["hint"].as_str().unwrap().contains(part), "{part}: {of_source}");
    }
    let qualified = check_problem(served.post_sql(r#"{"sql": "SELECT * FROM public.edits"}"#).await, 404);
    assert_eq!(qualified["detail"], of_source["detail"]);
    let elsewhere = check_problem(served.post_sql(r#"{"sql": "SELECT * FROM private.edits"}"#).await, 404);
    assert_eq!(elsewhere["detail"], json!("there is no view `private.edits`"));
    check_problem(served.get("/v1/sql").await, 405);
    check_problem(served.get("/v1/views/by_page/rows?limit=x").await, 400);
    check_problem(served.get("/v1/status?verbose=1").await, 400);
    check_problem(served.post_sql("SELECT 1").await, 400);
    check_problem(served.post_sql(r#"{"sql": "SELECT 1", "format": "csv"}"#).await, 400);
    let large = check_problem(served.post_sql("x".repeat(1_000_000)).await, 413);
    assert_eq!(large["detail"], json!("the body is larger than 98304 bytes"));
    let unpublished = check_problem(served.get("/v1/views/totals/rows?version=1").await, 404);
    assert_eq!(unpublished["hint"], json!("there is no version yet"));
    check_problem(served.get("/v1/views/by_page/rows?after=zz").await, 400);
    let token = served.world.token(0, 5);
    let behind = check_problem(served.get(&format!("/v1/views/by_page/rows?after={token}&timeout=10ms")).await, 504);
    assert_eq!(behind["behind"], json!([{"partition": 0, "asked": 7, "reached": 2}]));
    let request = served.client.get(format!("{}/v1/views/by_page/rows?timeout=10ms", served.address));
    check_problem(answer(request.header("X-Twofold-After", token)).await, 504);
}

#[tokio::test]
async fn a_view_that_is_being_built_says_when_to_ask_again() {
    let served = serve().await;
    served.world.send(1, [event(0, "A", "ann", 3)]);
    served.world.append_run_of(1, &["by_page"]).await;
    let request = served.client.get(format!("{}/v1/views/totals/rows", served.address));
    let response = request.send().await.unwrap();
    assert_eq!((response.status().as_u16(), response.headers()["retry-after"].to_str().unwrap()), (503, "1"));
}

#[tokio::test]
async fn what_is_no_text_is_a_problem_too() {
    let served = serve().await;
    for path in [
        "/v1/views/%ff",
        "/v1/views/%ff/rows",
        "/v1/views/by_page/rows?by=%ff",
        "/v1/views/by_page/rows?%ff=1",
        "/v1/views/by_page/rows?page=%f0%9f",
        "/v1/views/by_page/rows?limit=1&limit=2",
        "/v1/views/by_page/rows?limit=abc",
        "/v1/views?x=%ff",
        "/v1/status?%ff",
    ] {
        check_problem(served.get(path).await, 400);
    }
    check_problem(served.get("/v1/views/%00").await, 404);
    check_problem(served.get("/%ff").await, 404);
    assert_eq!(
        served.get("/v1/views/by_page/rows?page=%EF%BF%BD&order=%2Dpage").await.0,
        200,
        "a letter as good as any"
    );
    for (method, path, known) in [
        (reqwest::Method::POST, "/v1/views", "GET /v1/views"),
        (reqwest::Method::DELETE, "/v1/views/by_page/rows", "GET /v1/views/{view}/rows"),
        (reqwest::Method::PUT, "/v1/sql", "POST /v1/sql"),
        (reqwest::Method::PATCH, "/healthz", "GET /healthz"),
    ] {
        let request = served.client.request(method.clone(), format!("{}{path}", served.address));
        let problem = check_problem(answer(request).await, 405);
        assert_eq!(problem["known"], json!([known]), "{method} {path}");
    }
}
