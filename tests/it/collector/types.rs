//! What a body says it is, and what it is: every name of the types that have events, bodies that only their content
//! tells, and bodies that are plainly something else.

use collector::CollectorSettings;
use serde_json::json;

use super::{JSON, LINES, Server, event};

/// Types that say nothing of how events are set apart.
const SAYS_NOTHING: [Option<&str>; 5] = [
    Some("text/plain"),
    Some("text/plain;charset=UTF-8"),
    Some("Text/Plain ; charset=utf-8"),
    Some("application/x-www-form-urlencoded"),
    None,
];

fn two() -> [String; 2] {
    [event("a"), event("bb")]
}

#[tokio::test]
async fn every_json_type_takes_an_object_or_an_array() {
    for content_type in [
        JSON,
        "text/json",
        "application/cloudevents+json",
        "application/cloudevents-batch+json",
        "application/vnd.api+json",
        "Application/CloudEvents+JSON; charset=UTF-8",
    ] {
        let server = Server::start(Default::default()).await;
        server.post(content_type, event("a")).await.check_counts(1, 0);
        server.post(content_type, format!("[{}]", event("bb"))).await.check_counts(1, 0);
        assert_eq!(server.log.payloads(), two(), "{content_type}");
        server.post(content_type, "").await.check_problem(400, "bad-body", "empty");
    }
}

#[tokio::test]
async fn every_name_of_lines_takes_lines_and_a_bad_one_costs_itself() {
    for content_type in [
        LINES,
        "application/ndjson",
        "application/jsonl",
        "application/x-jsonl",
        "application/jsonlines",
        "application/x-jsonlines",
        "application/json-lines",
        "application/x-json-lines",
        "application/x-json-stream",
        "application/stream+json",
        "application/ldjson",
        "application/x-ldjson",
        "text/x-ndjson",
        "text/jsonl",
        "APPLICATION/X-NDJSON ; charset=utf-8",
        "application/json-seq",
    ] {
        let server = Server::start(Default::default()).await;
        let [a, b] = two();
        let answer = server.post(content_type, format!("{a}\nbad\n{b}\n")).await;
        answer.check_counts(2, 1);
        assert_eq!(answer.body["errors"][0]["index"], json!(1), "{content_type}");
        assert_eq!(server.log.payloads(), [a, "bad".to_owned(), b], "{content_type}");
        server.post(content_type, "\n").await.check_problem(400, "bad-body", "empty");
    }
}

#[tokio::test]
async fn objects_that_go_over_lines_are_no_lines() {
    let [a, b] = two();
    let over = |event: &str| event.replace('{', "{\n  ").replace(", ", ",\n  ").replace('}', "\n}");
    for body in [
        over(&a) + &over(&b),
        format!("{}\n{}\n", over(&a), over(&b)),
        format!("[\n{a},\n{b}\n]\n"),
        format!("[{},\r\n{b}]", over(&a)),
        format!("{}\n{b}", a.replace(", ", ",\n")),
    ] {
        for content_type in [LINES, "application/json-seq"] {
            let server = Server::start(Default::default()).await;
            server.post(content_type, body.clone()).await.check_counts(2, 0);
            assert_eq!(server.log.payloads().len(), 2, "{body}");
        }
    }
    // Where the whole is no JSON, each line stands for itself.
    let server = Server::start(Default::default()).await;
    server.post(LINES, format!("{{\n{a}\n[\n{b}")).await.check_counts(2, 2);
    assert_eq!(server.log.payloads(), ["{".to_owned(), a, "[".to_owned(), b]);
}

#[tokio::test]
async fn a_sequence_is_read_without_its_separators() {
    let [a, b] = two();
    // A text of a sequence may go over lines.
    let pretty = b.replace(", ", ",\n  ");
    for content_type in ["application/json-seq", "Application/JSON-Seq; charset=utf-8", "application/geo+json-seq"] {
        let server = Server::start(Default::default()).await;
        let answer = server.post(content_type, format!("\u{1e}{a}\n\u{1e}{{torn\n\u{1e}{pretty}\n")).await;
        answer.check_counts(2, 1);
        assert_eq!(answer.body["errors"][0]["index"], json!(1), "{answer:?}");
        assert_eq!(server.log.payloads(), [a.clone(), "{torn".to_owned(), pretty.clone()]);
        server.post(content_type, "\u{1e}\n").await.check_problem(400, "bad-body", "empty");
    }
}

#[tokio::test]
async fn a_type_that_says_nothing_is_told_by_the_content() {
    let [a, b] = two();
    let pretty = a.replace(", ", ",\n  ");
    for content_type in SAYS_NOTHING {
        for (body, stored) in [
            (a.clone(), vec![&a]),
            (format!(" \r\n{a}\n"), vec![&a]),
            (pretty.clone(), vec![&pretty]),
            (format!("{pretty}\n{b}"), vec![&pretty, &b]),
            (format!("[{a},{b}]"), vec![&a, &b]),
            (format!("{a}\n{b}"), vec![&a, &b]),
            // As `curl -d @FILE` sends a file of lines.
            (format!("{a}{b}"), vec![&a, &b]),
            (format!("\u{feff}{a}\n{b}"), vec![&a, &b]),
        ] {
            let server = Server::start(Default::default()).await;
            server.post_of(content_type, body.clone()).await.check_counts(stored.len(), 0);
            assert_eq!(server.log.payloads().iter().collect::<Vec<_>>(), stored, "{content_type:?}: {body}");
        }
        let server = Server::start(Default::default()).await;
        let answer = server.post_of(content_type, format!("{a}\nbad\n{b}")).await;
        answer.check_counts(2, 1);
        assert_eq!(answer.body["errors"][0]["index"], json!(1), "{answer:?}");
    }
}

#[tokio::test]
async fn content_that_tells_nothing_is_refused_with_the_types_that_work() {
    let server = Server::start(Default::default()).await;
    for content_type in SAYS_NOTHING {
        for body in ["x", "a=1&b=2", "7", "\"{}\"", "k\n{}"] {
            let answer = server.post_of(content_type, body).await;
            answer.check_problem(415, "unsupported-media-type", "begins with neither { nor [");
            assert!(answer.hint().contains(JSON) && answer.hint().contains(LINES), "{answer:?}");
        }
        server.post_of(content_type, " \n").await.check_problem(400, "bad-body", "empty");
        // Nothing tells that lines were meant.
        let torn = server.post_of(content_type, format!("{{torn\n{}", event("a"))).await;
        torn.check_problem(400, "bad-body", "event 0 of the body");
        assert!(torn.hint().contains(LINES), "{torn:?}");
    }
    assert!(server.log.payloads().is_empty());
}

#[tokio::test]
async fn another_type_is_answered_with_those_that_work() {
    let server = Server::start(Default::default()).await;
    for content_type in
        ["text/csv", "multipart/form-data; boundary=x", "application/octet-stream", "application/xml", "json"]
    {
        let answer = server.post(content_type, event("a")).await;
        answer.check_problem(415, "unsupported-media-type", &format!("Content-Type {content_type} cannot be read"));
        assert!([JSON, LINES, "text/plain"].iter().all(|works| answer.hint().contains(works)), "{answer:?}");
    }
    assert!(server.log.payloads().is_empty());
}

#[tokio::test]
async fn what_is_plainly_something_else_is_refused_whole_by_its_name() {
    let server = Server::start(Default::default()).await;
    let wide = |bytes: fn(u16) -> [u8; 2]| event("a").encode_utf16().flat_map(bytes).collect::<Vec<u8>>();
    let (little, big) = (wide(u16::to_le_bytes), wide(u16::to_be_bytes));
    let cases: [(&str, Vec<u8>); 20] = [
        ("Parquet", b"PAR1\x15\x04\nPAR1".to_vec()),
        ("Avro", b"Obj\x01\x04\x16avro.schema".to_vec()),
        ("Arrow", b"ARROW1\0\0".to_vec()),
        ("zip", b"PK\x03\x04\x14\0\x08\0\n{".to_vec()),
        ("PNG", b"\x89PNG\r\n\x1a\n\0\0".to_vec()),
        ("JPEG", b"\xff\xd8\xff\xe0\0\x10JFIF".to_vec()),
        ("GIF", b"GIF89a\x01\0".to_vec()),
        ("WebP", b"RIFF\x24\0\0\0WEBP".to_vec()),
        ("PDF", b"%PDF-1.7\n".to_vec()),
        ("SQLite", b"SQLite format 3\0\x10\0".to_vec()),
        ("bzip2", b"BZh91AY&SY".to_vec()),
        ("xz", b"\xfd7zXZ\0\0\x04".to_vec()),
        ("UTF-16", [b"\xff\xfe".to_vec(), little.clone()].concat()),
        ("UTF-16", [b"\xfe\xff".to_vec(), big.clone()].concat()),
        ("another encoding", little),
        ("another encoding", big),
        ("CSV", b"time,k,n\n2026-03-01T12:00:00Z,c,1\n".to_vec()),
        ("CSV", b"\xef\xbb\xbftime;k\r\n2026;\"a;b\"\r\n".to_vec()),
        ("CSV", b"time\tk\n2026\ta".to_vec()),
        ("XML", b"\n<html>\n<body>no</body>\n</html>".to_vec()),
    ];
    for (name, body) in cases {
        for content_type in [Some(JSON), Some(LINES), Some("application/json-seq"), Some("text/plain"), None] {
            let answer = server.post_of(content_type, body.clone()).await;
            answer.check_problem(415, "unsupported-media-type", name);
            assert!(answer.body["detail"].as_str().unwrap().contains("nothing was stored"), "{answer:?}");
        }
    }
    assert!(server.log.payloads().is_empty());
}

#[tokio::test]
async fn a_line_of_another_kind_costs_only_itself() {
    let (good, server) = (event("a"), Server::start(Default::default()).await);
    for (body, rejected) in [
        (format!("a,b\nc,d\n{good}"), 2),
        (format!("{good}\n<html>"), 1),
        (format!("<html>\n{good}"), 1),
        (format!("{good}\nPAR1"), 1),
        (format!("{good}\n\0\0"), 1),
    ] {
        server.post(LINES, body).await.check_counts(1, rejected);
    }
    server.post(LINES, "a,b").await.check_counts(0, 1);
    server.post(LINES, "a,b\nc").await.check_counts(0, 2);
}

#[tokio::test]
async fn lines_sent_as_json_are_refused_by_the_event_with_the_type_that_takes_lines() {
    let server = Server::start(Default::default()).await;
    for end in ["", "\n", "\r\n", "\n{\"id\":\"y\"}\n"] {
        let body = format!("{}\n{}\n{{\"id\":\"x\" \"k\":1}}{end}", event("a"), event("b"));
        let answer = server.post(JSON, body).await;
        answer.check_problem(400, "bad-body", "event 2 of the body: bad JSON");
        let detail = answer.body["detail"].as_str().unwrap();
        assert!(detail.contains("found `\"k\":1}`; nothing was stored"), "{detail}");
        assert!(answer.hint().contains(LINES), "{answer:?}");
    }
    let comma = server.post(JSON, format!("[{},]", event("a"))).await;
    comma.check_problem(400, "bad-body", "expected something after a comma");
    assert!(server.log.payloads().is_empty());
}

#[tokio::test]
async fn a_line_may_be_an_array_and_a_bad_one_is_told_how_arrays_are_sent() {
    let [a, b] = two();
    let server = Server::start(Default::default()).await;
    let answer = server.post(LINES, format!("{a}\n[{a}, 7 ,{b}]\n")).await;
    answer.check_counts(3, 1);
    assert_eq!(answer.body["errors"][0]["index"], json!(1), "{answer:?}");
    assert_eq!(server.log.payloads(), [a.clone(), a, "7".to_owned(), b]);
    let server = Server::start(CollectorSettings { max_events: 2, ..Default::default() }).await;
    server.post(LINES, "[{},{},{}]").await.check_problem(413, "too-many-events", "more than 2 events");
    server.post(LINES, "{}\n[{},{}]").await.check_problem(413, "too-many-events", "more than 2 events");
    let server = Server::start(Default::default()).await;
    let array = "[{]";
    for content_type in [LINES, "application/json-seq"] {
        let answer = server.post(content_type, format!("{}\n{array}\n7", event("b"))).await;
        answer.check_counts(1, 2);
        let told = |at: usize| answer.body["errors"][at]["error"].as_str().unwrap();
        assert!(told(0).contains("this line begins an array") && told(0).contains(JSON), "{answer:?}");
        assert!(!told(1).contains("array"), "{answer:?}");
    }
    // Inside of an array it is an element, and the type is the right one already.
    let inside = server.post(JSON, "[[7]]").await;
    inside.check_counts(0, 1);
    assert!(!inside.body["errors"][0]["error"].as_str().unwrap().contains("this line"), "{inside:?}");
}

#[tokio::test]
async fn an_object_around_events_is_one_rejected_event() {
    let server = Server::start(Default::default()).await;
    let answer = server.post(JSON, format!("{{\"batch\":[{}]}}", event("a"))).await;
    answer.check_counts(0, 1);
    assert_eq!(answer.body["errors"][0]["stored"], json!(true));
    assert_eq!(server.log.payloads(), [format!("{{\"batch\":[{}]}}", event("a"))]);
}
