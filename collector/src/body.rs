//! The body of a request: read within limits.
//!
//! Guarantee: never holds more bytes than the limits.

use axum::body::BodyDataStream;
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use positions::format_span;

use crate::admission::Admitted;
use crate::config::CollectorSettings;
use edge::{Problem, ProblemKind};

/// Reads a whole body, as sent.
///
/// # Errors
/// 413 beyond the limit, 408 where the client takes too long, 400 where it breaks off, 429 where all bodies together
/// are too much.
pub(super) async fn read(
    body: &mut BodyDataStream,
    headers: &HeaderMap,
    settings: &CollectorSettings,
    admitted: &mut Admitted,
) -> Result<Bytes, Problem> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|bytes| bytes > settings.max_body_bytes) {
        return Err(too_large("body", settings.max_body_bytes));
    }
    let reading = read_stream(body, settings.max_body_bytes, admitted);
    tokio::time::timeout(settings.read_timeout, reading).await.unwrap_or_else(|_| {
        let detail = format!("the body was not complete after {}", format_span(settings.read_timeout));
        Err(Problem::new(ProblemKind::SlowBody, detail))
    })
}

/// Reads what is left of a refused body and forgets it, as much as the largest one may have. A client that is still
/// sending would otherwise lose its connection, and with it the answer: why, and when to come back.
pub(super) async fn discard(body: &mut BodyDataStream, headers: &HeaderMap, settings: &CollectorSettings) {
    // Such a client waits with its body for the answer.
    if headers.contains_key(header::EXPECT) {
        return;
    }
    let reading = async {
        let mut left = settings.max_body_bytes;
        while let Some(Ok(chunk)) = body.next().await {
            let Some(rest) = left.checked_sub(chunk.len()) else { return };
            left = rest;
        }
    };
    // One that is too slow has had its time.
    let _ = tokio::time::timeout(settings.read_timeout, reading).await;
}

/// A 400 for a body that cannot be taken apart; nothing of it was stored.
pub(super) fn bad_body(detail: String) -> Problem {
    Problem::new(ProblemKind::BadBody, format!("{detail}; nothing was stored"))
}

/// A 413.
pub(super) fn too_large(what: &str, limit: usize) -> Problem {
    let detail = format!("the {what} is larger than {limit} bytes; nothing was stored");
    Problem::new(ProblemKind::TooLarge, detail)
        .with_hint("send fewer events in one request")
        .with_member("limit", limit)
}

async fn read_stream(body: &mut BodyDataStream, max_bytes: usize, admitted: &mut Admitted) -> Result<Bytes, Problem> {
    let mut read = BytesMut::new();
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|error| bad_body(format!("the body ended early: {error}")))?;
        if read.len() + chunk.len() > max_bytes {
            return Err(too_large("body", max_bytes));
        }
        admitted.hold(chunk.len())?;
        read.extend_from_slice(&chunk);
    }
    Ok(read.freeze())
}
