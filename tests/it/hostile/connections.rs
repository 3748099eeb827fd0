//! Clients that hold connections: those that say nothing, those that read nothing, and too many of them.

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use edge::ConnectionSettings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::support::large_body::{LARGE_BYTES, with_large_body};
use crate::support::process::DEADLINE;

/// A port on loopback; ends with the value.
struct Port {
    address: String,
    large_is_gone: CancellationToken,
    _stop: DropGuard,
}

async fn serve(settings: ConnectionSettings) -> Port {
    let (listener, stop) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), CancellationToken::new());
    let address = listener.local_addr().unwrap().to_string();
    let (router, large_is_gone) = with_large_body(Router::new().route("/small", get(async || "small")));
    tokio::spawn(edge::serve(listener, router, settings, stop.clone()));
    Port { address, large_is_gone, _stop: stop.drop_guard() }
}

/// Reads until the other side ends the connection, and what came until then.
async fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut read = Vec::new();
    // Where bytes of ours were not read, the system says so with a reset.
    let _ = timeout(DEADLINE, stream.read_to_end(&mut read)).await.expect("the connection ended");
    read
}

#[tokio::test]
async fn a_client_that_sends_no_whole_head_is_let_go() {
    let short = ConnectionSettings { head_timeout: Duration::from_millis(200), ..ConnectionSettings::default() };
    let port = serve(short).await;
    for begun in ["", "GET /small HTTP/1.1\r\nhost: x\r\n", "GET /small HTTP/1.1\r\nhost: x\r\n\r\nGET /sm"] {
        let mut stream = TcpStream::connect(&port.address).await.unwrap();
        stream.write_all(begun.as_bytes()).await.unwrap();
        let read = String::from_utf8(read_to_end(&mut stream).await).unwrap();
        assert_eq!(read.contains("small"), begun.contains("\r\n\r\n"), "{begun:?}: {read}");
    }
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused_and_the_next_client_answered() {
    let port = serve(ConnectionSettings::default()).await;
    let many = format!("GET /small HTTP/1.1\r\nhost: x\r\n{}\r\n", "x: y\r\n".repeat(200));
    let long = format!("GET /small HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "y".repeat(1 << 20));
    let path = format!("GET /small?{} HTTP/1.1\r\nhost: x\r\n\r\n", "y".repeat(70_000));
    for (head, status) in [(many, "431"), (long, "431"), (path, "414"), ("\u{0}\r\n\r\n".to_owned(), "400")] {
        let mut stream = TcpStream::connect(&port.address).await.unwrap();
        // The port stops to read where it has had enough.
        let _ = stream.write_all(head.as_bytes()).await;
        let mut begun = [0; 12];
        let read = timeout(DEADLINE, stream.read_exact(&mut begun)).await.expect("it was answered");
        // Unread bytes may reset the connection before its answer is read.
        if read.is_ok() {
            assert_eq!(String::from_utf8_lossy(&begun), format!("HTTP/1.1 {status}"));
        }
    }
    let answer = reqwest::get(format!("http://{}/small", port.address)).await.unwrap();
    assert_eq!(answer.text().await.unwrap(), "small");
}

#[tokio::test]
async fn an_answer_that_nobody_reads_is_dropped() {
    let short = ConnectionSettings { answer_timeout: Duration::from_millis(200), ..ConnectionSettings::default() };
    let port = serve(short).await;
    let mut stream = TcpStream::connect(&port.address).await.unwrap();
    stream.write_all(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    timeout(DEADLINE, port.large_is_gone.cancelled()).await.expect("the answer was dropped");
    let read = read_to_end(&mut stream).await;
    assert!(read.len() < LARGE_BYTES, "{} bytes", read.len());
}

#[tokio::test]
async fn an_answer_counts_until_its_last_byte_is_read() {
    let port = serve(ConnectionSettings::default()).await;
    let mut stream = TcpStream::connect(&port.address).await.unwrap();
    stream.write_all(b"GET /large HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut begun = vec![0; 1 << 20];
    stream.read_exact(&mut begun).await.unwrap();
    assert!(!port.large_is_gone.is_cancelled(), "most of it was not read");
    let rest = read_to_end(&mut stream).await;
    assert!(begun.len() + rest.len() > LARGE_BYTES);
    timeout(DEADLINE, port.large_is_gone.cancelled()).await.expect("all of it was read");
}

#[tokio::test]
async fn connections_that_say_nothing_make_room_for_those_that_ask() {
    let port = serve(ConnectionSettings { max_connections: 4, ..ConnectionSettings::default() }).await;
    let mut silent = Vec::new();
    for _ in 0..12 {
        silent.push(TcpStream::connect(&port.address).await.unwrap());
    }
    let answer =
        timeout(DEADLINE, reqwest::get(format!("http://{}/small", port.address))).await.expect("it was answered");
    assert_eq!(answer.unwrap().text().await.unwrap(), "small");
}
