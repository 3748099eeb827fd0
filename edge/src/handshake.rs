//! How a connection begins on a port that speaks TLS.
//!
//! Guarantee: what comes out is secured. A client that speaks plain HTTP is told so, in plain HTTP, and let go.
//! Not here: how long all of it may take, and who makes room (`run.rs`).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::connection::{Traffic, Watched};
use crate::tls::Tls;
use crate::{Problem, ProblemKind};

/// What every TLS connection begins with: a record of the handshake. No method of HTTP does.
const HANDSHAKE: u8 = 0x16;
/// As much of a plain request is read and forgotten.
const MAX_PLAIN_BYTES: u64 = 64 << 10;

/// The connection, secured; `None` where its client does not come to terms.
pub(crate) async fn secure(
    stream: TcpStream,
    tls: &Tls,
    traffic: &Arc<Traffic>,
    answer_timeout: Duration,
) -> Option<TlsStream<Watched>> {
    let mut first = [0];
    if stream.peek(&mut first).await.ok()? == 0 {
        return None;
    }
    if first != [HANDSHAKE] {
        // Whoever has gone needs no answer.
        let _ = refuse_plain(stream).await;
        return None;
    }
    let watched = Watched::new(stream, traffic.clone(), answer_timeout);
    TlsAcceptor::from(tls.config()).accept(watched).await.ok()
}

async fn refuse_plain(mut stream: TcpStream) -> io::Result<()> {
    let problem = Problem::new(ProblemKind::BadRequest, "this port speaks TLS, and the request was sent without it");
    let body = problem.with_hint("ask again with https:// in the place of http://").to_json();
    let (head, length) = ("HTTP/1.1 400 Bad Request\r\nconnection: close\r\n", body.len());
    let kind = "content-type: application/problem+json";
    let answer = format!("{head}{kind}\r\ncontent-length: {length}\r\n\r\n{body}");
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    // What is unread at the end resets the connection, and the client may then never see the answer.
    tokio::io::copy(&mut stream.take(MAX_PLAIN_BYTES), &mut tokio::io::sink()).await?;
    Ok(())
}
