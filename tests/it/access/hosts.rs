//! A port without keys: for this machine, by its own names, and for no page of another origin.

use edge::{Access, ProblemKind};
use reqwest::Method;

use super::{Answer, CLICKS, Port, SHOP};

#[tokio::test]
async fn a_loopback_port_is_asked_by_loopback_names_alone() {
    let port = Port::open(Access::Local).await;
    for host in ["localhost", "LOCALHOST:8080", "127.0.0.1", "127.9.8.7:1", "[::1]:8080", "[::ffff:127.0.0.1]:1"] {
        let answer = Answer::of(port.get("/who").header("host", host)).await;
        assert_eq!((answer.status, answer.text.as_str()), (200, "anyone"), "{host}");
    }
    // A name that an attacker's server leads here (DNS rebinding).
    for host in [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "10.0.0.7",
        "0.0.0.0",
        "2130706433",
        "user@evil.example",
        "localhost@evil.example",
        "evil.example@localhost",
        "evil.example:80@127.0.0.1:1",
        "[localhost]",
        "[127.0.0.1]",
        "[::2]",
        "%",
    ] {
        for path in ["/who", "/", "/nothing"] {
            let answer = Answer::of(port.get(path).header("host", host)).await;
            answer.check_problem(ProblemKind::Misdirected, "access.mode");
        }
        let sent = Answer::of(port.post("/events").header("host", host)).await;
        sent.check_problem(ProblemKind::Misdirected, "localhost");
    }
    // A balancer asks by whatever address it has.
    assert_eq!(Answer::of(port.get("/healthz").header("host", "10.0.0.7")).await.status, 200);
}

#[tokio::test]
async fn what_a_proxy_passes_on_may_not_operate() {
    let port = Port::open(Access::Local).await;
    assert_eq!(Answer::of(port.get("/operate")).await.text, "done");
    for name in ["x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "forwarded", "x-real-ip", "via"] {
        assert_eq!(Answer::of(port.get("/who").header(name, "10.0.0.7")).await.text, "passed on", "{name}");
        let refused = Answer::of(port.get("/operate").header(name, "10.0.0.7")).await;
        refused.check_problem(ProblemKind::Forbidden, "operate = true");
    }
}

#[tokio::test]
async fn pages_of_other_origins_are_refused_but_where_a_route_lets_them() {
    let port = Port::open(Access::Local).await;
    let own = port.address.clone();
    let other = "https://other.example";
    for (method, path, headers, status) in [
        // Its own page.
        (Method::GET, "/who", vec![("origin", own.as_str())], 200),
        (Method::POST, "/events", vec![("origin", own.as_str())], 200),
        (Method::GET, "/who", vec![("sec-fetch-site", "same-origin")], 200),
        (Method::GET, "/", vec![("sec-fetch-site", "none")], 200),
        // A link that somebody followed.
        (
            Method::GET,
            "/",
            vec![("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")],
            200,
        ),
        (
            Method::GET,
            "/",
            vec![("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")],
            403,
        ),
        // An image, a script, a form, a fetch.
        (Method::GET, "/who", vec![("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors")], 403),
        (Method::GET, "/who", vec![("sec-fetch-site", "same-site")], 403),
        (Method::GET, "/who", vec![("origin", other)], 403),
        (Method::GET, "/who", vec![("origin", "null")], 403),
        (Method::GET, "/who", vec![("origin", "http://127.0.0.1:1")], 403),
        (Method::POST, "/events", vec![("origin", other)], 403),
        (Method::POST, "/events", vec![("origin", other), ("sec-fetch-site", "cross-site")], 403),
        // The one origin that may, where it may.
        (Method::POST, "/events", vec![("origin", SHOP), ("sec-fetch-site", "cross-site")], 200),
        (Method::GET, "/who", vec![("origin", SHOP), ("sec-fetch-site", "cross-site")], 403),
        (Method::POST, "/nothing", vec![("origin", SHOP)], 403),
        (Method::POST, "/of/visits/events", vec![("origin", SHOP)], 200),
        // One that may for one name alone.
        (Method::POST, "/of/clicks/events", vec![("origin", CLICKS), ("sec-fetch-site", "cross-site")], 200),
        (Method::POST, "/of/%63licks/events", vec![("origin", CLICKS)], 200),
        (Method::POST, "/of/visits/events", vec![("origin", CLICKS)], 403),
        (Method::POST, "/of/clicks%2Fevents/events", vec![("origin", CLICKS)], 403),
        (Method::POST, "/of/%ff/events", vec![("origin", CLICKS)], 403),
        (Method::POST, "/events", vec![("origin", CLICKS)], 403),
    ] {
        let request = port.client.request(method.clone(), format!("{own}{path}")).body("");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let answer = Answer::of(request).await;
        assert_eq!(answer.status, status, "{method} {path} {headers:?}: {answer:?}");
        if status == 403 {
            answer.check_problem(ProblemKind::OriginNotAllowed, "allowed_origins");
            assert_eq!(answer.header("access-control-allow-origin"), None);
        }
    }
}

#[tokio::test]
async fn a_browser_that_asks_is_answered_by_the_route() {
    let port = Port::open(Access::Local).await;
    let ask = |origin: &'static str, path: &str| {
        let request = port.client.request(Method::OPTIONS, format!("{}{path}", port.address));
        request.header("origin", origin).header("access-control-request-method", "POST")
    };
    let leave = Answer::of(ask(SHOP, "/events")).await;
    assert_eq!((leave.status, leave.header("access-control-allow-origin")), (204, Some(SHOP)));
    Answer::of(ask("https://other.example", "/events")).await.check_problem(ProblemKind::OriginNotAllowed, "the route");
    Answer::of(ask(SHOP, "/who")).await.check_problem(ProblemKind::OriginNotAllowed, "allowed_origins");
}

#[tokio::test]
async fn a_port_that_is_open_in_writing_lets_in_everybody() {
    let port = Port::open(Access::Open).await;
    let answer = Answer::of(port.get("/who").header("host", "twofold.example").header("origin", SHOP)).await;
    assert_eq!(answer.text, "anyone");
    let passed_on = Answer::of(port.get("/operate").header("x-forwarded-for", "10.0.0.7")).await;
    assert_eq!(passed_on.text, "done");
}

#[tokio::test]
async fn every_answer_tells_browsers_to_make_no_more_of_it() {
    let port = Port::open(Access::Local).await;
    let refused = port.get("/who").header("host", "evil.example");
    for request in [port.get("/who"), port.get("/nothing"), refused, port.post("/who")] {
        let answer = Answer::of(request).await;
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cache-control", "no-store"),
            ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{answer:?}");
        }
    }
}
