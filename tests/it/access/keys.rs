//! Keys: what each request shows, and what is told where it shows none.

use edge::{Access, ProblemKind, Sha256Sum, key_text};
use reqwest::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Answer, CLICKS, Port, SHOP, key_of, keyring};

fn file() -> String {
    let [ann, bob, old, young] = [1, 2, 3, 4].map(|byte| key_of(byte).1);
    format!(
        "[grants.all]\nread = ['*']\nwrite = ['*']\noperate = true\n[grants.reader]\nread = ['v']\n\
         [[keys]]\nname = 'ann'\nhash = '{ann}'\ngrant = 'all'\n\
         [[keys]]\nname = 'bob'\nhash = '{bob}'\ngrant = 'reader'\n\
         [[keys]]\nname = 'old'\nhash = '{old}'\ngrant = 'all'\nexpires = 2026-01-31T12:00:00Z\n\
         [[keys]]\nname = 'young'\nhash = '{young}'\ngrant = 'all'\nexpires = 2026-01-31T13:00:01+01:00\n"
    )
}

#[tokio::test]
async fn a_request_is_made_by_whom_its_key_stands_for() {
    let (keyring, _wanted) = keyring(&file());
    let port = Port::open(Access::Keys(keyring)).await;
    for (byte, name) in [(1, "ann"), (2, "bob"), (4, "young")] {
        assert_eq!(port.who(&key_of(byte).0).await.text, name);
    }
    let scheme = Answer::of(port.get("/who").header("authorization", format!("bearer  {}", key_of(1).0))).await;
    assert_eq!(scheme.text, "ann");
    assert_eq!(Answer::of(port.get("/operate").bearer_auth(key_of(1).0)).await.text, "done");
    let refused = Answer::of(port.get("/operate").bearer_auth(key_of(2).0)).await;
    refused.check_problem(ProblemKind::Forbidden, "`bob`");
}

#[tokio::test]
async fn nothing_is_told_to_whom_nobody_knows_also_not_on_this_machine() {
    let (keyring, _wanted) = keyring(&file());
    let port = Port::open(Access::Keys(keyring)).await;
    let unknown = [key_of(9).0, key_of(3).0, key_text(&[1; 32]).to_uppercase(), "tf_".to_owned(), "x".to_owned()];
    for shown in unknown.iter().map(|key| format!("Bearer {key}")).chain(["Basic YTpi".to_owned(), "Bearer".to_owned()])
    {
        let refused = Answer::of(port.get("/who").header("authorization", &shown)).await;
        refused.check_problem(ProblemKind::Unauthenticated, "detail");
        assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
        assert!(!refused.text.contains("tf_"), "{refused:?}");
    }
    for request in [port.get("/who"), port.get("/nothing"), port.post("/events"), port.post("/who")] {
        let refused = Answer::of(request).await;
        refused.check_problem(ProblemKind::Unauthenticated, "twofold key new");
        assert_eq!(refused.header("x-content-type-options"), Some("nosniff"));
    }
    Answer::of(port.get("/who").bearer_auth(key_of(3).0)).await.check_problem(ProblemKind::Unauthenticated, "expired");
    // A proxy in front may have looked at the other one.
    let two = port.get("/who").bearer_auth(key_of(1).0).header("authorization", format!("Bearer {}", key_of(2).0));
    Answer::of(two).await.check_problem(ProblemKind::Unauthenticated, "more than once");
}

#[tokio::test]
async fn probes_and_the_page_are_open_and_know_a_good_key() {
    let (keyring, _wanted) = keyring(&file());
    let port = Port::open(Access::Keys(keyring)).await;
    for path in ["/healthz", "/"] {
        assert_eq!(Answer::of(port.get(path)).await.text, "nobody");
        assert_eq!(Answer::of(port.get(path).bearer_auth("tf_wrong")).await.text, "nobody");
        assert_eq!(Answer::of(port.get(path).bearer_auth(key_of(1).0)).await.text, "ann");
    }
}

#[tokio::test]
async fn a_page_that_may_ask_can_read_why_it_is_refused() {
    let (keyring, _wanted) = keyring(&file());
    let port = Port::open(Access::Keys(keyring)).await;
    let question = port.client.request(Method::OPTIONS, format!("{}/events", port.address));
    let leave = Answer::of(question.header("origin", SHOP).header("access-control-request-method", "POST")).await;
    assert_eq!(leave.status, 204, "a browser shows no key when it asks: {leave:?}");
    assert!(leave.header("access-control-allow-headers").unwrap().contains("authorization"));
    let refused = Answer::of(port.post("/events").header("origin", SHOP)).await;
    refused.check_problem(ProblemKind::Unauthenticated, "");
    assert_eq!(refused.header("access-control-allow-origin"), Some(SHOP));
    let elsewhere = Answer::of(port.post("/events").header("origin", "https://other.example")).await;
    assert_eq!(elsewhere.header("access-control-allow-origin"), None);
    // A program shows the key: no browser adds it for a page.
    let sent = port.post("/events").header("origin", "https://other.example").bearer_auth(key_of(1).0);
    assert_eq!(Answer::of(sent).await.text, "ann");
}

#[tokio::test]
async fn a_page_that_may_send_shows_a_key_that_only_writes_as_a_parameter() {
    let text = format!("{}[[keys]]\nname = 'beacon'\nhash = '{}'\ngrant = 'writer'\n", file(), key_of(5).1);
    let (keyring, _wanted) = keyring(&format!("{text}[grants.writer]\nwrite = ['*']\n"));
    let port = Port::open(Access::Keys(keyring)).await;
    let (beacon, ann) = (key_of(5).0, key_of(1).0);
    let send = |query: String, origin: &'static str| {
        Answer::of(port.post(&format!("/events?{query}")).header("origin", origin).header("content-type", "text/plain"))
    };
    for (query, rest) in [
        (format!("key={beacon}"), ""),
        (format!("key={beacon}&sent_at=1"), "?sent_at=1"),
        (format!("a=%20&key={beacon}&b=2"), "?a=%20&b=2"),
    ] {
        let sent = send(query, SHOP).await;
        assert_eq!((sent.text, sent.status), (format!("beacon{rest}"), 200));
    }
    send(format!("key={ann}"), SHOP).await.check_problem(ProblemKind::Unauthenticated, "nothing but write");
    send("key=x".to_owned(), SHOP).await.check_problem(ProblemKind::Unauthenticated, "no key");
    send(format!("key={}", key_of(9).0), SHOP).await.check_problem(ProblemKind::Unauthenticated, "not known");
    // For pages that may send, where they may, and for nobody else.
    let elsewhere = send(format!("key={beacon}"), "https://other.example").await;
    elsewhere.check_problem(ProblemKind::Unauthenticated, "no credential");
    let no_page = Answer::of(port.post(&format!("/events?key={beacon}"))).await;
    no_page.check_problem(ProblemKind::Unauthenticated, "no credential");
    let of_source = |path: &str| {
        let path = format!("{path}?key={beacon}");
        Answer::of(port.post(&path).header("origin", CLICKS).header("content-type", "text/plain"))
    };
    assert_eq!(of_source("/of/clicks/events").await.text, "beacon");
    of_source("/of/visits/events").await.check_problem(ProblemKind::Unauthenticated, "no credential");
    let read = Answer::of(port.get(&format!("/who?key={beacon}")).header("origin", SHOP)).await;
    read.check_problem(ProblemKind::Unauthenticated, "no credential");
}

#[test]
fn a_key_has_one_text() {
    let key = key_text(&[0xfb; 32]);
    assert!(key.starts_with("tf_") && key.len() == 46, "{key}");
    assert_eq!(Sha256Sum::of_key(&key), Some(Sha256Sum::of(&[0xfb; 32])));
    let last = key.chars().last().unwrap();
    let others =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=+/ ".chars().filter(|one| *one != last);
    for other in others {
        let changed = format!("{}{other}", &key[..45]);
        assert_ne!(Sha256Sum::of_key(&changed), Sha256Sum::of_key(&key), "{changed}");
    }
    for wrong in ["", "tf_", &key[3..], &key[..45], &format!("{key}A"), &format!(" {key}")] {
        assert_eq!(Sha256Sum::of_key(wrong), None, "{wrong}");
    }
}

#[test]
fn a_hash_is_read_as_it_is_written_elsewhere() {
    let sum = Sha256Sum::of(b"x");
    let text = sum.to_string();
    let with_colons: Vec<&str> = (0..32).map(|at| &text[2 * at..2 * at + 2]).collect();
    let with_colons = with_colons.join(":");
    let in_base64 = "LXEWQrcmsEQBYnyp+6wy9chTD7GQPMTbAiWHF5IaSIE=";
    for written in [text.as_str(), &text.to_uppercase(), &with_colons, &with_colons.to_uppercase(), in_base64] {
        assert_eq!(Sha256Sum::read(written), Some(sum), "{written}");
    }
    for wrong in ["", "x", &text[1..], &format!("{text}0"), &format!("+{}", &text[1..]), "LXEW"] {
        assert_eq!(Sha256Sum::read(wrong), None, "{wrong}");
    }
}

#[tokio::test]
async fn who_is_refused_is_not_asked_for_a_body() {
    let (keyring, _wanted) = keyring(&file());
    let port = Port::open(Access::Keys(keyring)).await;
    let mut stream = TcpStream::connect(port.address.trim_start_matches("http://")).await.unwrap();
    let head = "POST /events HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\nconnection: close";
    stream.write_all(format!("{head}\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
}
