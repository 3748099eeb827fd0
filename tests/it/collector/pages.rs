//! Pages of other origins: what a browser is told before and after, and what no page may do without being allowed.

use std::sync::Arc;

use collector::{CollectorSettings, allow_origins, router};
use edge::{AllowedOrigins, Origins};
use reqwest::{Method, RequestBuilder};
use tokio_util::sync::CancellationToken;
use twofold::http::Intake;

use super::fake::{FakeLog, Mood};
use super::{Answer, JSON, LINES, Server, collector_of, event};
use crate::decode::clicks;
use crate::support::principals::as_anyone;

const SHOP: &str = "https://shop.example";
const OTHER: &str = "https://other.example";

async fn server(allowed: AllowedOrigins) -> Server {
    Server::start(CollectorSettings { allowed_origins: allowed, ..Default::default() }).await
}

fn only_shop() -> AllowedOrigins {
    AllowedOrigins::everywhere(these(&[SHOP, "http://localhost:3000"]))
}

fn these(origins: &[&str]) -> Origins {
    Origins::These(origins.iter().map(|origin| (*origin).to_owned()).collect())
}

fn nobody() -> AllowedOrigins {
    AllowedOrigins::default()
}

async fn answer(request: RequestBuilder) -> Answer {
    Answer::of(request.send().await.unwrap()).await
}

/// What a browser asks before it lets a page send JSON.
async fn ask(server: &Server, origin: &str) -> Answer {
    let request = reqwest::Client::new().request(Method::OPTIONS, server.events()).header("origin", origin);
    let request = request.header("access-control-request-method", "POST");
    answer(request.header("access-control-request-headers", "content-type")).await
}

async fn send(server: &Server, origin: &str, content_type: &str, body: String) -> Answer {
    answer(server.request("clicks/events", content_type, body).header("origin", origin)).await
}

/// Fails unless a browser lets a page of the origin read the answer.
#[track_caller]
fn check_readable(answer: &Answer, origin: &str) {
    assert_eq!(answer.header("access-control-allow-origin"), Some(origin), "{answer:?}");
    assert_eq!(answer.header("vary"), Some("origin"), "{answer:?}");
    assert_eq!(
        answer.header("cross-origin-resource-policy"),
        Some("cross-origin"),
        "a beacon asks nothing: {answer:?}"
    );
    let exposed = answer.header("access-control-expose-headers").unwrap();
    assert!(["retry-after", "ratelimit"].iter().all(|name| exposed.contains(name)), "{answer:?}");
}

/// Fails if a browser is told anything.
#[track_caller]
fn check_silent(answer: &Answer) {
    let mut told = answer.headers.keys().filter(|name| name.as_str().starts_with("access-control-"));
    assert_eq!(told.next(), None, "{answer:?}");
}

#[tokio::test]
async fn a_browser_that_asks_for_an_allowed_origin_is_told_what_its_page_may_send() {
    let server = server(only_shop()).await;
    for origin in [SHOP, "http://localhost:3000"] {
        let leave = ask(&server, origin).await;
        assert_eq!(leave.status, 204, "{leave:?}");
        check_readable(&leave, origin);
        assert_eq!(leave.header("access-control-allow-methods"), Some("POST"));
        let headers = leave.header("access-control-allow-headers").unwrap();
        assert!(["content-type", "content-encoding", "x-sent-at"].iter().all(|name| headers.contains(name)));
        assert!(leave.header("access-control-max-age").unwrap().parse::<u32>().unwrap() > 0);
        // A beacon of JSON goes with cookies: without this the browser would not send it.
        assert_eq!(leave.header("access-control-allow-credentials"), Some("true"));
    }
}

#[tokio::test]
async fn a_page_of_an_allowed_origin_can_read_every_answer() {
    let server = server(only_shop()).await;
    for content_type in [JSON, "text/plain;charset=UTF-8"] {
        let sent = send(&server, SHOP, content_type, event("a")).await;
        sent.check_counts(1, 0);
        check_readable(&sent, SHOP);
    }
    let broken = send(&server, SHOP, JSON, "[".to_owned()).await;
    broken.check_problem(400, "bad-body", "");
    let of_type = send(&server, SHOP, "text/csv", event("a")).await;
    of_type.check_problem(415, "unsupported-media-type", "");
    let unknown = answer(server.request("klicks/events", JSON, event("a")).header("origin", SHOP)).await;
    unknown.check_problem(404, "unknown", "");
    let got = answer(reqwest::Client::new().get(server.events()).header("origin", SHOP)).await;
    got.check_problem(405, "method-not-allowed", "");
    server.log.set(Mood::Full);
    let busy = send(&server, SHOP, LINES, format!("{}\n{}", event("a"), event("b"))).await;
    busy.check_problem(429, "overloaded", "");
    for refused in [broken, of_type, unknown, got, busy] {
        check_readable(&refused, SHOP);
    }
    assert_eq!(server.log.payloads().len(), 3);
}

#[tokio::test]
async fn a_process_that_stops_tells_pages_so_too() {
    let stop = CancellationToken::new();
    let collector = collector_of(Arc::new(FakeLog::default()), clicks(), CollectorSettings::default());
    let guarded = Intake::new(stop.clone()).guard(router(collector));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1/sources/clicks/events", listener.local_addr().unwrap());
    let served = axum::serve(listener, as_anyone(allow_origins(guarded, only_shop())));
    tokio::spawn(served.into_future());
    stop.cancel();
    let refused = answer(reqwest::Client::new().post(url).header("origin", SHOP).body(event("a"))).await;
    refused.check_problem(503, "shutting-down", "");
    check_readable(&refused, SHOP);
}

#[tokio::test]
async fn a_browser_that_asks_for_another_origin_is_refused_with_the_setting() {
    for (allowed, origin) in [
        (nobody(), SHOP),
        (nobody(), "null"),
        (only_shop(), OTHER),
        (only_shop(), "null"),
        (only_shop(), "http://shop.example"),
        (only_shop(), "https://shop.example:8443"),
        (only_shop(), "https://shop.example.other.example"),
    ] {
        let refused = ask(&server(allowed).await, origin).await;
        refused.check_problem(403, "origin-not-allowed", origin);
        assert!(refused.hint().contains("`collector.allowed_origins`"), "{refused:?}");
        check_silent(&refused);
    }
}

#[tokio::test]
async fn a_page_of_another_origin_sends_nothing_that_a_browser_would_not_ask_for() {
    for (allowed, origin) in [(nobody(), SHOP), (nobody(), "null"), (only_shop(), OTHER)] {
        let server = server(allowed).await;
        for content_type in ["text/plain", "text/plain;charset=UTF-8", "application/x-www-form-urlencoded"] {
            let refused = send(&server, origin, content_type, event("a")).await;
            refused.check_problem(403, "origin-not-allowed", content_type);
            assert!(refused.hint().contains("`collector.allowed_origins`"), "{refused:?}");
            check_silent(&refused);
        }
        let untyped = reqwest::Client::new().post(server.events()).header("origin", origin).body(event("a"));
        answer(untyped).await.check_problem(403, "origin-not-allowed", "without Content-Type");
        assert!(server.log.payloads().is_empty());
        // Its browser would have asked: whoever sends this is no page, and may name what it likes.
        let sent = send(&server, origin, JSON, event("a")).await;
        sent.check_counts(1, 0);
        check_silent(&sent);
    }
}

#[tokio::test]
async fn all_origins_can_be_allowed_but_never_with_cookies() {
    let server = server(AllowedOrigins::everywhere(Origins::Any)).await;
    for origin in [SHOP, OTHER, "null"] {
        let (leave, sent) = (ask(&server, origin).await, send(&server, origin, "text/plain", event("a")).await);
        assert_eq!(leave.status, 204, "{leave:?}");
        sent.check_counts(1, 0);
        for told in [leave, sent] {
            assert_eq!(told.header("access-control-allow-origin"), Some("*"), "{told:?}");
            assert_eq!(told.header("access-control-allow-credentials"), None, "{told:?}");
        }
    }
}

#[tokio::test]
async fn an_origin_that_is_allowed_for_a_source_sends_to_that_source_alone() {
    let of = |source: &str, origins: Origins| only_shop().and_of(source, origins);
    for (allowed, is_let) in [
        (of("clicks", these(&[OTHER])), true),
        (of("clicks", these(&["https://third.example"])), false),
        (of("visits", these(&[OTHER])), false),
        (of("visits", Origins::Any), false),
        (of("Clicks", these(&[OTHER])), false),
    ] {
        let server = server(allowed.clone()).await;
        let (leave, sent) = (ask(&server, OTHER).await, send(&server, OTHER, "text/plain", event("a")).await);
        if is_let {
            assert_eq!((leave.status, sent.status), (204, 200), "{allowed:?}");
            check_readable(&leave, OTHER);
            check_readable(&sent, OTHER);
        } else {
            for refused in [leave, sent] {
                refused.check_problem(403, "origin-not-allowed", OTHER);
                check_silent(&refused);
            }
            assert!(server.log.payloads().is_empty(), "{allowed:?}");
        }
        // Those that are allowed everywhere stay so.
        send(&server, SHOP, "text/plain", event("b")).await.check_counts(1, 0);
    }
    let server = server(of("clicks", Origins::Any)).await;
    let any = ask(&server, OTHER).await;
    assert_eq!((any.status, any.header("access-control-allow-origin")), (204, Some("*")), "{any:?}");
}

#[tokio::test]
async fn nothing_else_is_told_to_browsers() {
    let server = server(only_shop()).await;
    let client = reqwest::Client::new();
    let details = format!("{}/v1/sources/clicks", server.address);
    let read = answer(client.get(&details).header("origin", SHOP)).await;
    assert_eq!(read.status, 200);
    let asked = client.request(Method::OPTIONS, &details).header("origin", SHOP);
    let asked = answer(asked.header("access-control-request-method", "GET")).await;
    asked.check_problem(405, "method-not-allowed", "OPTIONS");
    let of_no_page = server.post(JSON, event("a")).await;
    of_no_page.check_counts(1, 0);
    let no_question = answer(client.request(Method::OPTIONS, server.events())).await;
    no_question.check_problem(405, "method-not-allowed", "OPTIONS");
    for silent in [read, asked, of_no_page, no_question] {
        check_silent(&silent);
    }
}
