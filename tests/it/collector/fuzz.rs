//! Bodies of every form and encoding, most of them damaged: what is taken is stored and judged as both layers will
//! judge it, what is not is refused with words and leaves nothing.

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::answers::gzip;
use super::{Answer, JSON, LINES, Server, event};
use crate::decode::{clicks, decode_one, error};
use crate::support::damage::damage;
use crate::support::seeds::seeds;

const SEQUENCE: &str = "application/json-seq";
const TYPES: [Option<&str>; 5] = [Some(JSON), Some(LINES), Some(SEQUENCE), Some("text/plain"), None];

/// A request as it is drawn.
#[derive(Debug)]
struct Drawn {
    content_type: Option<&'static str>,
    encoding: Option<&'static str>,
    body: Vec<u8>,
}

/// Events, good and bad, set apart in some way, in whichever type, plain or packed, damaged before or after it.
fn draw(random: &mut StdRng) -> Drawn {
    let events: Vec<String> = (0..random.random_range(0..6)).map(|_| draw_event(random)).collect();
    let separator = ["\n", "\r\n", " ", "\u{1e}", ",", ""][random.random_range(0..6)];
    let text = match random.random_range(0..4) {
        0 => format!("[{}]", events.join(" , ")),
        1 => format!("\u{1e}{}\n", events.join("\n\u{1e}")),
        2 => format!("\u{feff}{}", events.join(separator)),
        _ => events.join(separator),
    };
    let mut body = text.into_bytes();
    if random.random_bool(0.5) {
        damage(&mut body, event("other").as_bytes(), random);
    }
    let encoding = [None, None, Some("gzip"), Some("deflate"), Some("zstd")][random.random_range(0..5)];
    if let Some(encoding) = encoding {
        body = pack(encoding, &body);
        if random.random_bool(0.5) {
            damage(&mut body, &pack(encoding, b"another body"), random);
        }
    }
    Drawn { content_type: TYPES[random.random_range(0..TYPES.len())], encoding, body }
}

fn draw_event(random: &mut StdRng) -> String {
    let number: u8 = random.random();
    match random.random_range(0..8) {
        0 => number.to_string(),
        1 => format!("[{},{}]", event("x"), event("y")),
        2 => format!(r#"{{"time":"2026-01-31T11:59:59Z","page":"/","bytes":"{number} times"}}"#),
        3 => format!("{{\n\"time\": 1769860799, \"page\": \"\\ud83d{number}\", \"tags\": [null, \"}}\"]\n}}"),
        _ => event(&format!("e{number}")),
    }
}

fn pack(encoding: &str, body: &[u8]) -> Vec<u8> {
    match encoding {
        "gzip" => gzip(body),
        "zstd" => zstd::encode_all(body, 3).unwrap(),
        _ => {
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(body).unwrap();
            encoder.finish().unwrap()
        }
    }
}

/// What is stored behind the first `before` records.
fn stored(server: &Server, before: usize) -> Vec<Bytes> {
    server.log.stored.lock().unwrap()[before..].iter().map(|(_, _, record)| record.payload.clone()).collect()
}

/// The receipt accounts for each record that was stored, and calls good what both layers will call good.
fn check_receipt(answer: &Answer, stored: &[Bytes], context: &str) {
    let count = |name: &str| answer.body[name].as_u64().unwrap() as usize;
    let source = clicks();
    // An element may be an array: it is as good as the worst of its events.
    let is_good = |payload: &&Bytes| {
        let rows = decode_one(&source, (*payload).clone());
        (0..rows.num_rows()).all(|row| error(&rows, row).is_none())
    };
    let good = stored.iter().filter(is_good).count();
    assert_eq!((count("accepted"), count("rejected")), (good, stored.len() - good), "{answer:?}\n{context}");
    let errors = answer.body["errors"].as_array().unwrap();
    let places: Vec<u64> = errors.iter().map(|error| error["index"].as_u64().unwrap()).collect();
    // Elements of one line share its number.
    assert!(places.is_sorted(), "{places:?}\n{context}");
    let is_told = |error: &serde_json::Value| error["stored"] == true && error["error"].is_string();
    assert!(places.len() == count("rejected") && errors.iter().all(is_told), "{answer:?}\n{context}");
}

#[tokio::test]
async fn whatever_is_sent_is_stored_and_judged_or_refused_whole() {
    let (server, client) = (Server::start(Default::default()).await, reqwest::Client::new());
    let mut statuses = std::collections::BTreeMap::new();
    for seed in seeds(1_000) {
        let drawn = draw(&mut StdRng::seed_from_u64(seed));
        let context = format!("TWOFOLD_SEED={seed}: {drawn:?}");
        let before = server.log.stored.lock().unwrap().len();
        let headers = [("content-type", drawn.content_type), ("content-encoding", drawn.encoding)];
        let headers = headers.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let request = client.post(server.events()).body(drawn.body);
        let request = headers.fold(request, |request, (name, value)| request.header(name, value));
        let answer = Answer::of(request.send().await.unwrap()).await;
        let stored = stored(&server, before);
        *statuses.entry(answer.status).or_insert(0) += 1;
        match answer.status {
            200 => check_receipt(&answer, &stored, &context),
            400 | 413 | 415 => {
                assert!(stored.is_empty(), "{answer:?}\n{context}");
                let is_told = answer.body["detail"].as_str().is_some_and(|detail| !detail.is_empty());
                assert!(is_told && answer.content_type == "application/problem+json", "{answer:?}\n{context}");
            }
            _ => panic!("{answer:?}\n{context}"),
        }
    }
    eprintln!("answers by status: {statuses:?}");
    assert!(std::env::var("TWOFOLD_SEED").is_ok() || statuses.keys().eq(&[200, 400, 415]), "{statuses:?}");
}

#[tokio::test]
async fn a_damaged_line_costs_itself_alone() {
    let server = Server::start(Default::default()).await;
    for seed in seeds(300) {
        let mut random = StdRng::seed_from_u64(seed);
        let events: Vec<String> = (0..6).map(|number| event(&format!("e{seed}-{number}"))).collect();
        // The first one tells that these are events.
        let at = random.random_range(1..events.len());
        let mut damaged = events[at].clone().into_bytes();
        damage(&mut damaged, events[0].as_bytes(), &mut random);
        damaged.retain(|byte| *byte != b'\n');
        let mut lines: Vec<&[u8]> = events.iter().map(|event| event.as_bytes()).collect();
        lines[at] = &damaged;

        let before = server.log.stored.lock().unwrap().len();
        let answer = server.post(LINES, lines.join(&b'\n')).await;
        let mut stored = stored(&server, before);
        check_receipt(&answer, &stored, &format!("TWOFOLD_SEED={seed}"));
        if stored.len() == events.len() {
            assert_eq!(stored.remove(at), damaged.trim_ascii(), "TWOFOLD_SEED={seed}");
        }
        let mut whole = events;
        whole.remove(at);
        assert_eq!(stored, whole, "TWOFOLD_SEED={seed}");
    }
}
