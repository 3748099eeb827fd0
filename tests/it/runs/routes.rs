//! The routes of runs: who may ask, what is refused, what a key does twice, and events to the end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use edge::{Grants, Names, Principal};
use lake::Lake;
use lake::sequence::Append;
use positions::TimestampMicros;
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use twofold::config::{Config, ConfigInputs};
use twofold::definitions::{Definitions, RunningDefinitions};
use twofold::runs::dry_run::Planning;
use twofold::runs_route::run::follow_runs;
use twofold::runs_route::{ROUTES, RunsFeed, RunsRoute, runs_router};
use views::Pipeline;
use workflow::{Change, Entry, Epoch, RunId, WorkerId, Workflow};

use super::{NOW, PIPELINE};
use crate::lake::memory_lake;
use crate::support::principals::{as_principal, reader, these, writer};
use crate::support::process::DEADLINE;
use crate::support::seams::{ManualClock, SeededIds};

/// A process that serves the routes, and nothing that does tasks.
struct Server {
    lake: Lake,
    workflow: Workflow,
    address: String,
    client: reqwest::Client,
    stop: CancellationToken,
    _set: watch::Sender<RunningDefinitions>,
    _tasks: [AbortOnDropHandle<()>; 2],
}

impl Server {
    async fn start() -> Self {
        Self::start_for(Principal::anyone()).await
    }

    async fn start_for(principal: Principal) -> Self {
        let (lake, clock, ids) = (memory_lake(5), Arc::new(ManualClock::at(NOW)), Arc::new(SeededIds::new(5)));
        let workflow = Workflow::new(&lake, clock.clone(), ids.clone());
        let pipeline = Arc::new(Pipeline::read(PIPELINE, &BTreeMap::new()).unwrap());
        let set = watch::channel(RunningDefinitions { pipeline, ..Default::default() }).0;
        let config = Arc::new(Config::read(ConfigInputs::default()).unwrap());
        let feed = Arc::new(RunsFeed::new(workflow.clone()));
        let route =
            RunsRoute::new(feed.clone(), Definitions::of(&set), Planning { config, lake: lake.clone(), clock, ids });
        let router = as_principal(runs_router(route), principal);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let served = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let followed = follow_runs(feed, stop.clone());
        let following = tokio::spawn(async move { assert!(followed.await.is_ok()) });
        let tasks = [AbortOnDropHandle::new(served), AbortOnDropHandle::new(following)];
        Self { lake, workflow, address, client: reqwest::Client::new(), stop, _set: set, _tasks: tasks }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.address))
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        answer(self.request(Method::GET, path)).await
    }

    async fn post(&self, path: &str) -> (u16, Value) {
        answer(self.request(Method::POST, path)).await
    }

    fn starting(&self, body: &Value) -> RequestBuilder {
        self.request(Method::POST, "/v1/runs").json(body)
    }

    async fn events(&self, run: u64) -> Events {
        let path = format!("/v1/runs/{run}/events");
        let response = self.request(Method::GET, &path).send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Events { response, text: String::new() }
    }
}

async fn answer(request: RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

/// A stream of events, as far as it was read.
struct Events {
    response: Response,
    text: String,
}

impl Events {
    /// The name and the data of the next event; `None` once the stream has ended. Comments are passed over.
    async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.text = rest;
                let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
                if let Some(name) = field("event:") {
                    return Some((name.to_owned(), serde_json::from_str(field("data:").unwrap()).unwrap()));
                }
                continue;
            }
            let chunk = timeout(DEADLINE, self.response.chunk()).await.expect("the stream goes on").unwrap()?;
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }
}

#[tokio::test]
async fn all_of_it_is_for_who_may_operate() {
    let operator_of_rows = Grants { operate: true, ..Grants::all() };
    let with_rules = Grants { rows: [("page".to_owned(), ["a".to_owned()].into())].into(), ..operator_of_rows };
    for principal in [reader(Names::All, &[]), writer(&["hits"]), Principal::new("rows", with_rules)] {
        let server = Server::start_for(principal.clone()).await;
        for route in ROUTES {
            let (method, path) = route.split_once(' ').unwrap();
            let path = path.replace("{run}", "1");
            let (status, told) = answer(server.request(method.parse().unwrap(), &path)).await;
            let kind = "urn:twofold:problem:forbidden";
            assert_eq!((status, told["type"].as_str()), (403, Some(kind)), "{route} {}: {told}", principal.name());
        }
        assert!(server.workflow.refresh().await.unwrap().runs.is_empty());
    }
    assert!(reader(these(&["by_hour"]), &[]).check_operates("runs are").is_err());
}

#[tokio::test]
async fn no_page_of_a_browser_changes_anything() {
    let server = Server::start().await;
    for route in ROUTES.iter().filter(|route| route.starts_with("POST")) {
        let path = route.split_once(' ').unwrap().1.replace("{run}", "1");
        let request = server.request(Method::POST, &path).header("origin", "http://localhost:8080").json(&json!({}));
        assert_eq!(answer(request).await.0, 403, "{route}");
    }
    assert!(server.workflow.refresh().await.unwrap().runs.is_empty());
}

#[tokio::test]
async fn a_request_that_is_sent_again_with_its_key_starts_nothing_more() {
    let server = Server::start().await;
    let keyed = |body: Value| server.starting(&body).header("Idempotency-Key", "night-1");
    let (status, first) = answer(keyed(json!({ "full": true }))).await;
    let runs = json!({"runs": [
        {"run": 1, "source": "hits", "started": true}, {"run": 2, "source": "sales", "started": true}
    ]});
    assert_eq!((status, &first), (201, &runs));
    // Also once they have ended.
    assert_eq!(server.post("/v1/runs/1/cancel").await.1["state"], "cancelled");
    let (status, again) = answer(keyed(json!({ "full": true }))).await;
    assert_eq!((status, &again["runs"][0]["run"], &again["runs"][0]["started"]), (200, &json!(1), &json!(false)));
    let (status, other) = answer(keyed(json!({}))).await;
    assert_eq!((status, other["type"].as_str()), (409, Some("urn:twofold:problem:conflict")), "{other}");
    // Without a key, what does the same and has not ended is joined.
    let (status, joined) = answer(server.starting(&json!({ "full": true, "source": "sales" }))).await;
    assert_eq!((status, &joined), (200, &json!({"runs": [{"run": 2, "source": "sales", "started": false}]})));
    // A key that joins finds it from then on.
    let sales = || server.starting(&json!({ "full": true, "source": "sales" })).header("Idempotency-Key", "late");
    assert_eq!(answer(sales()).await, (200, joined.clone()));
    assert_eq!(server.post("/v1/runs/2/cancel").await.0, 200);
    assert_eq!(answer(sales()).await, (200, joined));
    assert_eq!(server.get("/v1/runs/2").await.1["joined_keys"], json!(["late"]));
    assert_eq!(server.workflow.refresh().await.unwrap().runs.len(), 2);
}

#[tokio::test]
async fn what_is_wrong_with_a_start_is_told_before_anything_is_started() {
    let server = Server::start().await;
    let range = |from: &str, to: &str| json!({ "views": ["by_hour"], "from": from, "to": to });
    for (body, status, part) in [
        (json!({ "view": ["by_hour"] }), 400, "unknown field `view`"),
        (json!({ "views": "by_hour" }), 400, "invalid type"),
        (json!({ "views": ["by_huor"] }), 404, "there is no view `by_huor`"),
        (json!({ "source": "hit" }), 404, "there is no source `hit`"),
        (json!({ "source": "sales", "views": ["by_hour"] }), 404, "there is no view `by_hour`"),
        (json!({ "max_concurrent": 0 }), 400, "`max_concurrent` must be 1 to 1000"),
        (json!({ "retries": 1_001 }), 400, "`retries` must be 0 to 1000"),
        (json!({ "deadline": "soon" }), 400, "`deadline` must be a span of time"),
        (json!({ "deadline": "0s" }), 400, "`deadline` must be longer than nothing"),
        (json!([]), 400, "no JSON object"),
        (json!(["hits", ["by_hour"], true]), 400, "no JSON object"),
        (json!({ "only_missing": true }), 400, "`only_missing` is of a range"),
        (json!({ "views": ["by_hour"], "from": "2026-01-01" }), 400, "give both, or none"),
        (json!({ "from": "2026-01-01", "to": "2026-01-02" }), 400, "of views that are named"),
        (range("x", "2026-01-02"), 400, "`from` must be a date"),
        (range("2026-01-02", "2026-01-01"), 400, "is empty"),
        (range("2026-01-01T00:30:00Z", "2026-01-02"), 400, "the nearest bounds are"),
    ] {
        let (told_status, told) = answer(server.starting(&body)).await;
        assert_eq!(told_status, status, "{body}: {told}");
        assert!(told["detail"].as_str().unwrap().contains(part), "{body}: {told}");
    }
    let plain = server.request(Method::POST, "/v1/runs").header("content-type", "text/plain").body("{}");
    assert_eq!(answer(plain).await.0, 415);
    let broken = server.request(Method::POST, "/v1/runs").header("content-type", "application/json").body("{");
    assert_eq!(answer(broken).await.0, 400);
    assert_eq!(answer(server.starting(&json!({ "views": ["x".repeat(70_000)] }))).await.0, 413);
    assert_eq!(answer(server.starting(&json!({})).header("idempotency-key", "a b")).await.0, 400);
    let twice = server.starting(&json!({})).header("idempotency-key", "a").header("idempotency-key", "b");
    assert_eq!(answer(twice).await.0, 400);
    assert!(server.workflow.refresh().await.unwrap().runs.is_empty());
}

#[tokio::test]
async fn a_dry_run_says_what_would_be_computed_and_starts_nothing() {
    let server = Server::start().await;
    let backfill = json!({ "views": ["by_day"], "from": "2026-01-01", "to": "2026-02-01", "dry_run": true });
    let nothing = json!({ "view": "by_day", "reason": "nothing to compute: nothing of its source is archived" });
    let expected = json!({ "started": false, "plans": [], "nothing_to_do": [nothing] });
    assert_eq!(answer(server.starting(&backfill)).await, (200, expected));
    let (status, told) = answer(server.starting(&json!({ "dry_run": true }))).await;
    assert_eq!((status, told["nothing_to_do"].as_array().map(Vec::len)), (200, Some(2)), "{told}");
    let crooked = json!({ "views": ["by_day"], "from": "2026-01-01T01:00:00Z", "to": "2026-02-01", "dry_run": true });
    let (status, told) = answer(server.starting(&crooked)).await;
    assert!(status == 400 && told["detail"].as_str().unwrap().contains("the nearest bounds are"), "{told}");
    assert!(server.workflow.refresh().await.unwrap().runs.is_empty());
}

#[tokio::test]
async fn runs_are_listed_shown_paused_and_ended() {
    let server = Server::start().await;
    let backfill = json!({ "views": ["by_day"], "from": "2026-01-01", "to": "2026-02-01", "max_concurrent": 1 });
    assert_eq!(answer(server.starting(&backfill)).await.0, 201);
    assert_eq!(answer(server.starting(&json!({ "source": "hits" }))).await.0, 201);
    let (_, list) = server.get("/v1/runs?limit=1").await;
    assert_eq!((&list["runs"][0]["run"], &list["left_out"]), (&json!(2), &json!(1)), "{list}");
    let (_, run) = server.get("/v1/runs/1").await;
    assert_eq!((&run["kind"], &run["retries"], &run["max_concurrent"]), (&json!("backfill"), &json!(0), &json!(1)));
    assert_eq!((&run["tasks"][0]["kind"], &run["grids"]), (&json!("choose"), &json!([])), "{run}");

    assert_eq!(server.post("/v1/runs/1/pause").await.1["state"], "paused");
    assert_eq!(server.post("/v1/runs/1/pause").await.0, 200);
    assert_eq!(server.post("/v1/runs/pause").await, (200, json!({ "paused": true })));
    assert_eq!(server.get("/v1/runs").await.1["paused"], true);
    assert_eq!(server.post("/v1/runs/resume").await, (200, json!({ "paused": false })));
    assert_eq!(server.post("/v1/runs/1/resume").await.1["state"], "queued");
    assert_eq!(server.post("/v1/runs/1/cancel").await.1["state"], "cancelled");
    let (status, told) = server.post("/v1/runs/1/pause").await;
    assert_eq!((status, told["detail"].as_str()), (409, Some("run 1 has ended")));
    for (filter, expected) in [
        ("state=open", json!([2])),
        ("state=cancelled", json!([1])),
        ("source=hits&view=by_hour", json!([2])),
        ("since=2999-01-01", json!([])),
        ("before=2", json!([1])),
    ] {
        let (_, told) = server.get(&format!("/v1/runs?{filter}")).await;
        let numbers: Vec<&Value> = told["runs"].as_array().unwrap().iter().map(|run| &run["run"]).collect();
        assert_eq!((json!(numbers), &told["known"]), (expected, &json!(2)), "{filter}: {told}");
    }
    assert_eq!(server.post("/v1/runs/1/retry").await.1["state"], "queued");
    assert_eq!(server.post("/v1/runs/2/retry").await.0, 409);

    for path in ["/v1/runs/9", "/v1/runs/9/events"] {
        let (status, told) = server.get(path).await;
        assert_eq!((status, &told["known"]), (404, &json!(["2", "1"])), "{path}: {told}");
    }
    for path in
        ["/v1/runs/x", "/v1/runs/0", "/v1/runs/1?tasks=x", "/v1/runs?limit=0", "/v1/runs?state=old", "/v1/runs?since=x"]
    {
        assert_eq!(server.get(path).await.0, 400, "{path}");
    }
    assert_eq!(server.post("/v1/runs/1/pause?a=1").await.0, 400);
}

#[tokio::test]
async fn of_a_run_that_is_not_kept_any_more_it_is_said_where_it_went() {
    let server = Server::start().await;
    assert_eq!(answer(server.starting(&json!({}))).await.0, 201);
    assert_eq!(server.post("/v1/runs/1/cancel").await.0, 200);
    // As the leader does with runs beyond those that are kept.
    let journal = server.lake.sequence("_workflow/journal");
    let run = RunId(1);
    let changes = [vec![Change::Lead], vec![Change::Archived { run }, Change::Forgotten { run }]];
    for (epoch, changes) in (0..).map(Epoch).zip(changes) {
        let entry = Entry { epoch, by: WorkerId::from_drawn(9), at: TimestampMicros(NOW), changes };
        let newest = journal.newest().await.unwrap();
        assert!(matches!(journal.append(newest, &entry, 7 + u128::from(epoch.0)).await, Ok(Append::Appended(_))));
    }
    let (status, told) = server.get("/v1/runs/1").await;
    assert_eq!((status, &told["known"]), (404, &json!(["2"])), "{told}");
    assert!(told["hint"].as_str().unwrap().contains("is not kept any more: `workflow.history_runs`"), "{told}");
    let (status, told) = server.get("/v1/runs/9").await;
    assert_eq!((status, told.get("hint")), (404, None), "{told}");
}

#[tokio::test]
async fn events_tell_each_change_once_and_end_with_the_run() {
    let server = Server::start().await;
    assert_eq!(answer(server.starting(&json!({ "source": "hits" }))).await.0, 201);
    let mut events = [server.events(1).await, server.events(1).await];
    for stream in &mut events {
        let (name, first) = stream.next().await.unwrap();
        assert_eq!((name.as_str(), &first["state"], &first["run"]), ("progress", &json!("queued"), &json!(1)));
    }
    server.workflow.pause(Some(RunId(1))).await.unwrap();
    for stream in &mut events {
        let (name, second) = stream.next().await.unwrap();
        assert_eq!((name.as_str(), &second["state"]), ("progress", &json!("paused")), "{second}");
    }
    server.workflow.cancel(RunId(1)).await.unwrap();
    for stream in &mut events {
        let (name, last) = stream.next().await.unwrap();
        assert_eq!((name.as_str(), &last["state"]), ("end", &json!("cancelled")), "{last}");
        assert_eq!(stream.next().await, None);
    }
    // Of a run that has ended, how it ended.
    let mut late = server.events(1).await;
    assert_eq!(late.next().await.unwrap().0, "end");
    assert_eq!(late.next().await, None);
}

#[tokio::test]
async fn streams_end_with_the_process() {
    let server = Server::start().await;
    assert_eq!(answer(server.starting(&json!({ "source": "hits" }))).await.0, 201);
    let mut events = server.events(1).await;
    assert_eq!(events.next().await.unwrap().0, "progress");
    server.stop.cancel();
    assert_eq!(events.next().await, None);
}

#[tokio::test]
async fn streams_are_bounded_and_a_client_that_leaves_makes_room() {
    let server = Server::start().await;
    assert_eq!(answer(server.starting(&json!({ "source": "hits" }))).await.0, 201);
    let mut open = Vec::new();
    for _ in 0..64 {
        open.push(server.events(1).await);
    }
    let (status, told) = server.get("/v1/runs/1/events").await;
    assert_eq!((status, told["type"].as_str()), (429, Some("urn:twofold:problem:overloaded")), "{told}");
    drop(open);
    let freed = async {
        while server.request(Method::GET, "/v1/runs/1/events").send().await.unwrap().status() != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(DEADLINE, freed).await.expect("the places are free again");
}

#[tokio::test]
async fn housekeeping_is_started_for_each_source_that_is_meant() {
    let server = Server::start().await;
    let (status, told) = answer(server.starting(&json!({ "housekeeping": true }))).await;
    assert_eq!((status, told["runs"].as_array().unwrap().len()), (201, 4), "{told}");
    let (status, told) = answer(server.starting(&json!({ "housekeeping": true, "source": "sales" }))).await;
    let joined = [3, 4].map(|run| json!({ "run": run, "source": "sales", "started": false }));
    assert_eq!((status, &told["runs"]), (200, &json!(joined)), "{told}");
    let (status, told) = answer(server.starting(&json!({ "housekeeping": true, "full": true }))).await;
    assert_eq!((status, told["type"].as_str()), (400, Some("urn:twofold:problem:bad-request")), "{told}");
    let (_, shown) = server.get("/v1/runs/1").await;
    assert_eq!(
        (shown["kind"].as_str(), shown["priority"].as_str()),
        (Some("housekeeping"), Some("by_hand")),
        "{shown}"
    );
}

#[tokio::test]
async fn a_dry_run_of_housekeeping_names_each_task_and_starts_nothing() {
    let server = Server::start().await;
    let dry = json!({ "housekeeping": true, "source": "sales", "dry_run": true });
    let merges = json!({ "source": "sales", "task": "compact", "due": false, "merges": 0, "files": 0, "bytes": 0 });
    let deletes = json!({ "source": "sales", "task": "vacuum", "due": false });
    let expected = json!({ "started": false, "housekeeping": [merges, deletes] });
    assert_eq!(answer(server.starting(&dry)).await, (200, expected));
    assert!(server.workflow.refresh().await.unwrap().runs.is_empty());
}
