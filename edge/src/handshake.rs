//! How a connection begins on a port that speaks TLS.
//!
//! Guarantee: what comes out is secured. A client that speaks plain HTTP is told so, in plain HTTP, and let go; one
//! that is refused may read why.
//! Not here: how long all of it may take, and who makes room (`run.rs`).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::connection::{Traffic, Watched};
use crate::security::said;
use crate::tls::Tls;
use crate::{Problem, ProblemKind};

/// What every TLS connection begins with: a record of the handshake. No method of HTTP does.
const HANDSHAKE: u8 = 0x16;
/// As much of what a refused client goes on to send is read and forgotten.
const MAX_UNREAD_BYTES: u64 = 64 << 10;
/// For so long it is; meanwhile it makes no room for others.
const MAX_GOODBYE: Duration = Duration::from_secs(1);

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
    match TlsAcceptor::from(tls.config()).accept(watched).into_fallible().await {
        Ok(secured) => Some(secured),
        // The library has said why.
        Err((_, refused)) => {
            let _ = close(refused).await;
            None
        }
    }
}

async fn refuse_plain(mut stream: TcpStream) -> io::Result<()> {
    let problem = Problem::new(ProblemKind::BadRequest, "this port speaks TLS, and the request was sent without it");
    let body = problem.with_hint("ask again with https:// in the place of http://").to_json();
    let (head, length) = ("HTTP/1.1 400 Bad Request\r\nconnection: close\r\n", body.len());
    let kind = "content-type: application/problem+json";
    let security: String = said().iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let answer = format!("{head}{security}{kind}\r\ncontent-length: {length}\r\n\r\n{body}");
    stream.write_all(answer.as_bytes()).await?;
    close(stream).await
}

/// Ends a connection whose client is still to read why: what is unread at the end would reset it, and the client might
/// never see the answer.
async fn close(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    stream.shutdown().await?;
    let (mut rest, mut nowhere) = (stream.take(MAX_UNREAD_BYTES), tokio::io::sink());
    timeout(MAX_GOODBYE, tokio::io::copy(&mut rest, &mut nowhere)).await??;
    Ok(())
}
