//! Quotas: what a grant allows is spent by all requests of a principal together, told in headers, and comes back
//! evenly.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use axum::routing::{get, post};
use collector::CollectorSettings;
use edge::{Access, Audit, Principal, Spending, guard};
use serde_json::Value;
use tower::ServiceExt;

use super::{key_of, keyring};
use crate::collector::fake::FakeLog;
use crate::collector::{collector_of, event};
use crate::decode::clicks;

/// A guarded port without a socket, so that time can stand still.
fn port(quotas: &str) -> Router {
    let file = format!(
        "[grants.some]\nread = ['*']\nwrite = ['clicks']\n{quotas}\n\
         [[keys]]\nname = 'ann'\nhash = '{}'\ngrant = 'some'\n[[keys]]\nname = 'bob'\nhash = '{}'\ngrant = 'some'\n",
        key_of(1).1,
        key_of(2).1
    );
    let log = std::sync::Arc::new(FakeLog::default());
    // As much as the body has letters is spent of both.
    let spend = async |principal: Principal, body: String| {
        principal.spend(Spending::Bytes, body.len() as u64)?;
        principal.spend(Spending::Events, body.len() as u64).map(|()| "done")
    };
    let routes = collector::router(collector_of(log, clicks(), CollectorSettings::default()));
    let routes = routes.route("/who", get(async || "done")).route("/v1/sql", post(async || "done"));
    guard(routes.route("/spend", post(spend)), Access::Keys(keyring(&file).0), Audit::All, Vec::new())
}

/// Status, headers and text of the answer to a key's request.
async fn ask(port: &Router, key: u8, request: (&str, &str), body: &str) -> (StatusCode, HeaderMap, String) {
    let (method, path) = request;
    let request = Request::builder().method(method).uri(path).header("content-type", "application/x-ndjson");
    let request =
        request.header("authorization", format!("Bearer {}", key_of(key).0)).body(Body::from(body.to_owned()));
    let response = port.clone().oneshot(request.unwrap()).await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, headers, String::from_utf8(bytes.to_vec()).unwrap())
}

const WHO: (&str, &str) = ("GET", "/who");
const SPEND: (&str, &str) = ("POST", "/spend");

#[tokio::test(start_paused = true)]
async fn what_was_spent_comes_back_evenly_and_each_principal_has_its_own() {
    let port = port("requests_per_second = 2");
    for left in [1, 0] {
        let (status, headers, text) = ask(&port, 1, WHO, "").await;
        assert_eq!(status, 200, "{text}");
        assert_eq!(headers["ratelimit-policy"], "\"requests\";q=2;w=1");
        assert_eq!(headers["ratelimit"], format!("\"requests\";r={left}"));
    }
    let (status, headers, text) = ask(&port, 1, WHO, "").await;
    let told: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status.as_u16(), &told["type"]), (429, &"urn:twofold:problem:over-quota".into()));
    assert_eq!(
        (headers["retry-after"].as_bytes(), headers["ratelimit"].as_bytes()),
        (&b"1"[..], &b"\"requests\";r=0"[..])
    );
    assert!(text.contains("`ann`") && text.contains("2 requests a second"), "{text}");
    assert!(told["hint"].as_str().unwrap().contains("`requests_per_second`"), "{text}");
    assert_eq!(ask(&port, 2, WHO, "").await.0, 200, "bob has spent nothing");
    tokio::time::advance(Duration::from_millis(500)).await;
    assert_eq!(ask(&port, 1, WHO, "").await.0, 200);
    assert_eq!(ask(&port, 1, WHO, "").await.0, 429);
    tokio::time::advance(Duration::from_secs(3_600)).await;
    for status in [200, 200, 429] {
        assert_eq!(ask(&port, 1, WHO, "").await.0, status, "no more comes together than one span's worth");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_larger_than_its_quota_is_let_in_once_and_paid_off() {
    let port = port("bytes_per_second = 10\nevents_per_second = 1_000");
    assert_eq!(ask(&port, 1, SPEND, &"x".repeat(25)).await.0, 200, "nothing was spent before");
    let (status, headers, text) = ask(&port, 1, SPEND, "x").await;
    assert_eq!((status.as_u16(), headers["retry-after"].as_bytes()), (429, &b"2"[..]), "{text}");
    assert!(text.contains("10 bytes a second"), "{text}");
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(ask(&port, 1, SPEND, "x").await.0, 200);
    assert_eq!(ask(&port, 1, WHO, "").await.0, 200, "requests have no quota here");
}

#[tokio::test(start_paused = true)]
async fn questions_in_sql_are_counted_by_the_minute() {
    let port = port("sql_per_minute = 1");
    let sql = ("POST", "/v1/sql");
    assert_eq!(ask(&port, 1, sql, "").await.0, 200);
    let (status, headers, _) = ask(&port, 1, sql, "").await;
    assert_eq!((status.as_u16(), headers["retry-after"].as_bytes()), (429, &b"60"[..]));
    assert_eq!(ask(&port, 1, WHO, "").await.0, 200);
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(ask(&port, 1, sql, "").await.0, 200);
}

#[tokio::test(start_paused = true)]
async fn events_are_counted_and_none_of_a_refused_request_is_stored() {
    let port = port("events_per_second = 3");
    let send = ("POST", "/v1/sources/clicks/events");
    let two = format!("{}\n{}\n", event("a"), event("b"));
    let (status, headers, text) = ask(&port, 1, send, &two).await;
    assert_eq!((status.as_u16(), headers["ratelimit"].as_bytes()), (200, &b"\"events\";r=1"[..]), "{text}");
    let (status, _, text) = ask(&port, 1, send, &two).await;
    assert_eq!(status, 429, "{text}");
    assert!(text.contains("over-quota") && !text.contains("token"), "{text}");
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(ask(&port, 1, send, &two).await.0, 200);
}

#[tokio::test(start_paused = true)]
async fn who_still_owes_is_refused_before_all_else() {
    for quota in ["bytes_per_second = 10", "events_per_second = 1"] {
        let port = port(quota);
        let send = ("POST", "/v1/sources/clicks/events");
        let two = format!("{}\n{}\n", event("a"), event("b"));
        assert_eq!(ask(&port, 1, send, &two).await.0, 200, "{quota}");
        let wrong = ("POST", "/v1/sources/clicks/events?sent_at=yesterday");
        let (status, _, text) = ask(&port, 1, wrong, &two).await;
        assert!(status == 429 && text.contains("over-quota"), "{quota}: {text}");
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(ask(&port, 1, wrong, &two).await.0, 400, "{quota}");
    }
}
