//! Bodies that come compressed: each encoding gives the same events, keeps the same limits, and fails whole.

use std::io::Write;

use collector::CollectorSettings;
use flate2::Compression;
use flate2::write::{DeflateEncoder, ZlibEncoder};

use super::answers::gzip;
use super::{Answer, JSON, LINES, Server, event};

type Pack = fn(&[u8]) -> Vec<u8>;

/// Values of `Content-Encoding`, and how a body is made for each.
const ENCODINGS: [(&str, Pack); 4] =
    [("gzip", pack_gzip), ("deflate", pack_zlib), ("deflate", pack_raw), ("zstd", pack_zstd)];

fn pack_gzip(bytes: &[u8]) -> Vec<u8> {
    gzip(bytes)
}

fn pack_zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn pack_raw(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn pack_zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).unwrap()
}

/// Two events of different lengths, one a line.
fn lines() -> String {
    format!("{}\n{}\n", event("a"), event("bb"))
}

#[tokio::test]
async fn every_encoding_gives_the_same_events() {
    let of_other_case: [(&str, Pack); 4] =
        [("x-gzip", pack_gzip), ("GZip", pack_gzip), (" Deflate ", pack_zlib), ("ZSTD", pack_zstd)];
    for (encoding, pack) in ENCODINGS.into_iter().chain(of_other_case) {
        for body in [lines(), format!("\u{feff}{}", lines()), format!("{}{}", " ".repeat(1 << 20), lines())] {
            let server = Server::start(Default::default()).await;
            server.post_packed(LINES, encoding, pack(body.as_bytes())).await.check_counts(2, 0);
            assert_eq!(server.log.payloads(), [event("a"), event("bb")], "{encoding}");
        }
    }
}

#[tokio::test]
async fn streams_behind_each_other_are_one_body_where_the_encoding_has_it_so() {
    let text = lines();
    let (first, second) = text.split_at(20);
    for (encoding, pack) in [("gzip", pack_gzip as Pack), ("zstd", pack_zstd as Pack)] {
        let server = Server::start(Default::default()).await;
        let body = [pack(first.as_bytes()), pack(second.as_bytes())].concat();
        server.post_packed(LINES, encoding, body).await.check_counts(2, 0);
        assert_eq!(server.log.payloads(), [event("a"), event("bb")], "{encoding}");
    }
    let server = Server::start(Default::default()).await;
    let body = [pack_zlib(first.as_bytes()), pack_zlib(second.as_bytes())].concat();
    server.post_packed(LINES, "deflate", body).await.check_problem(400, "bad-body", "bytes follow the end");
}

#[tokio::test]
async fn a_torn_stream_is_told_as_incomplete_and_nothing_is_stored() {
    let server = Server::start(Default::default()).await;
    for (encoding, pack) in ENCODINGS {
        let whole = pack(lines().as_bytes());
        for length in [0, 1, whole.len() / 2, whole.len() - 1] {
            let answer = server.post_packed(LINES, encoding, whole[..length].to_vec()).await;
            answer.check_problem(400, "bad-body", &format!("the {encoding} body is incomplete"));
        }
    }
    assert!(server.log.payloads().is_empty());
}

#[tokio::test]
async fn what_is_not_so_compressed_is_refused_whole() {
    let server = Server::start(Default::default()).await;
    for (encoding, pack) in ENCODINGS {
        let followed = [pack(lines().as_bytes()), b"junk".to_vec()].concat();
        for body in [lines().into_bytes(), followed] {
            server.post_packed(LINES, encoding, body).await.check_problem(400, "bad-body", encoding);
        }
    }
    assert!(server.log.payloads().is_empty());
}

#[tokio::test]
async fn a_bomb_is_never_inflated_beyond_the_limit() {
    let settings =
        CollectorSettings { max_inflated_bytes: 1 << 20, max_in_flight_bytes: 3 << 20, ..Default::default() };
    let server = Server::start(settings).await;
    let bomb = vec![b' '; 32 << 20];
    for (encoding, pack) in ENCODINGS {
        let packed = pack(&bomb);
        assert!(packed.len() < 1 << 20, "{encoding}");
        // Were the limit not kept, the budget of three times the limit would be broken first, with another status.
        let answer = server.post_packed(JSON, encoding, packed).await;
        answer.check_problem(413, "too-large", "inflated body is larger than 1048576 bytes");
        server.post_packed(LINES, encoding, pack(lines().as_bytes())).await.check_counts(2, 0);
    }
    // Also where only the first bytes tell that there is something to inflate.
    for pack in [pack_gzip as Pack, pack_zstd as Pack] {
        server.post(JSON, pack(&bomb)).await.check_problem(413, "too-large", "inflated body is larger");
    }
}

#[tokio::test]
async fn a_window_beyond_the_limit_is_refused_with_the_way_out() {
    let server = Server::start(Default::default()).await;
    let with_window = |log: u32| {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(log).unwrap();
        encoder.write_all(lines().as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    server.post_packed(LINES, "zstd", with_window(23)).await.check_counts(2, 0);
    let answer = server.post_packed(LINES, "zstd", with_window(24)).await;
    answer.check_problem(400, "bad-body", "zstd");
    assert!(answer.hint().contains("8 MiB"), "{answer:?}");
    assert_eq!(server.log.payloads().len(), 2);
}

#[tokio::test]
async fn a_compressed_body_without_its_header_is_known_by_its_first_bytes() {
    for pack in [pack_gzip as Pack, pack_zstd as Pack] {
        let server = Server::start(Default::default()).await;
        let body = pack(lines().as_bytes());
        for content_type in [Some(JSON), Some(LINES), Some("text/plain"), None] {
            server.post_of(content_type, body.clone()).await.check_counts(2, 0);
        }
        server.post_packed(JSON, "identity", body.clone()).await.check_counts(2, 0);
        assert_eq!(server.log.payloads().len(), 10);
        let torn = server.post(JSON, body[..body.len() - 1].to_vec()).await;
        torn.check_problem(400, "bad-body", "body is incomplete");
        assert_eq!(server.log.payloads().len(), 10);
    }
}

#[tokio::test]
async fn a_body_that_was_compressed_twice_is_said_to_be() {
    let server = Server::start(Default::default()).await;
    let twice = gzip(gzip(lines()));
    for content_type in [JSON, LINES] {
        let answer = server.post_packed(content_type, "gzip", twice.clone()).await;
        answer.check_problem(415, "unsupported-media-type", "gzip within what was inflated");
        server.post(content_type, twice.clone()).await.check_problem(415, "unsupported-media-type", "gzip within");
    }
    assert!(server.log.payloads().is_empty());
}

#[tokio::test]
async fn another_encoding_is_answered_with_those_that_work() {
    let server = Server::start(Default::default()).await;
    for encoding in ["br", "compress", "snappy", "gzip, gzip", "deflate, gzip"] {
        let answer = server.post_packed(LINES, encoding, gzip(lines())).await;
        answer.check_problem(415, "unsupported-media-type", &format!("Content-Encoding {encoding}"));
        assert_eq!(answer.header("accept-encoding"), Some("gzip, deflate, zstd"));
        assert!(["gzip", "deflate", "zstd"].iter().all(|name| answer.hint().contains(name)), "{answer:?}");
    }
    let twice = server.request("clicks/events", LINES, gzip(lines()));
    let twice = twice.header("content-encoding", "gzip").header("content-encoding", "gzip");
    let answer = Answer::of(twice.send().await.unwrap()).await;
    answer.check_problem(415, "unsupported-media-type", "gzip, gzip");
    assert!(server.log.payloads().is_empty());
}
