//! The body of a request: read and inflated within limits, and what kind of text it says it is.
//!
//! Guarantee: never holds more bytes than the limits; a bomb is noticed one buffer after the limit.

use std::io::Read;

use axum::body::BodyDataStream;
use axum::http::{HeaderMap, HeaderValue, header};
use bytes::{Bytes, BytesMut};
use flate2::bufread::MultiGzDecoder;
use futures::StreamExt;
use positions::format_span;

use crate::admission::Admitted;
use crate::config::CollectorSettings;
use edge::{Problem, ProblemKind};

/// How the events of a body are set apart, as its `Content-Type` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `application/json`: one array, or one object after another.
    Json,
    /// `application/x-ndjson`: one object a line.
    Lines,
}

/// Whether a body must be inflated, as its `Content-Encoding` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// As it is.
    Plain,
    /// One or more gzip members.
    Gzip,
}

/// Reads `Content-Type`.
///
/// # Errors
/// 415 for any other type, and for none: a web page of another site can send those from a visitor's browser without
/// asking, and a listener on loopback must not take them.
pub(super) fn form(headers: &HeaderMap) -> Result<Form, Problem> {
    let value = headers.get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or("not readable"));
    let media_type = value.and_then(|value| value.split(';').next()).unwrap_or_default().trim().to_ascii_lowercase();
    match media_type.as_str() {
        "application/json" => Ok(Form::Json),
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Ok(Form::Lines),
        _ => {
            let detail = match value {
                Some(value) => format!("Content-Type {value} cannot be read as events"),
                None => "the request has no Content-Type".to_owned(),
            };
            Err(Problem::new(ProblemKind::UnsupportedMediaType, detail)
                .with_hint("send `Content-Type: application/json` (an array or an object) or `application/x-ndjson`"))
        }
    }
}

/// Reads `Content-Encoding`.
///
/// # Errors
/// 415 for anything but gzip.
pub(super) fn encoding(headers: &HeaderMap) -> Result<Encoding, Problem> {
    let value = headers.get(header::CONTENT_ENCODING).map(|value| value.to_str().unwrap_or("not readable"));
    match value.map(|value| value.trim().to_ascii_lowercase()).as_deref() {
        None | Some("" | "identity") => Ok(Encoding::Plain),
        Some("gzip" | "x-gzip") => Ok(Encoding::Gzip),
        Some(other) => {
            let detail = format!("Content-Encoding {other} is not supported");
            Err(Problem::new(ProblemKind::UnsupportedMediaType, detail)
                .with_hint("send the body plain or with `Content-Encoding: gzip`")
                .with_header(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip")))
        }
    }
}

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

/// Inflates a gzip body.
///
/// # Errors
/// 413 beyond the limit, 400 where it is not gzip, 429 where all bodies together are too much.
pub(super) async fn inflate(body: &Bytes, max_bytes: usize, admitted: &mut Admitted) -> Result<Bytes, Problem> {
    const BUFFER_BYTES: usize = 256 * 1024;
    let mut decoder = MultiGzDecoder::new(&body[..]);
    let mut inflated = BytesMut::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let count = decoder.read(&mut buffer).map_err(|error| {
            bad_body(format!(
                "the body is not the gzip that Content-Encoding says: {error} after {} bytes",
                inflated.len()
            ))
        })?;
        if count == 0 {
            return Ok(inflated.freeze());
        }
        if inflated.len() + count > max_bytes {
            return Err(too_large("inflated body", max_bytes));
        }
        admitted.hold(count)?;
        inflated.extend_from_slice(&buffer[..count]);
        // Inflating is work of the processor alone: let others have their turn.
        tokio::task::yield_now().await;
    }
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
