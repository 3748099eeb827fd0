//! A compressed body to what was compressed, within limits.
//!
//! Guarantee: a bomb is noticed one buffer after the limit; a stream that ends early, or that something follows, is
//! refused whole. The window of zstd holds no more than has been inflated, so that inflating takes at most twice the
//! bytes that are held for the body.

use std::io::{self, ErrorKind, Read};

use axum::http::{HeaderMap, HeaderValue, header};
use bytes::{Bytes, BytesMut};
use flate2::bufread::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use zstd::stream::read::Decoder as ZstdDecoder;

use crate::admission::Admitted;
use crate::body::{bad_body, too_large};
use edge::{Problem, ProblemKind};
use records::in_place;

/// 8 MiB: the largest window that a zstd body may ask for.
/// # Source
/// RFC 9659: such a sender must not use a larger one, and such a receiver must take this one.
const ZSTD_WINDOW_LOG: u32 = 23;

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    /// One or more gzip members.
    Gzip,
    /// A zlib stream, as RFC 9110 has it, or the bare deflate stream that some clients send by this name.
    Deflate,
    /// One or more zstd frames.
    Zstd,
}

impl Compression {
    /// Reads `Content-Encoding`; `None`: not compressed.
    ///
    /// # Errors
    /// 415 for any other encoding, and for several.
    pub fn of(headers: &HeaderMap) -> Result<Option<Self>, Problem> {
        let values = headers.get_all(header::CONTENT_ENCODING).iter();
        let values: Vec<&str> = values.map(|value| value.to_str().unwrap_or("not readable").trim()).collect();
        match values.join(", ").to_ascii_lowercase().as_str() {
            "" | "identity" => Ok(None),
            "gzip" | "x-gzip" => Ok(Some(Self::Gzip)),
            "deflate" => Ok(Some(Self::Deflate)),
            "zstd" => Ok(Some(Self::Zstd)),
            other => {
                let detail = format!("Content-Encoding {other} is not supported");
                Err(Problem::new(ProblemKind::UnsupportedMediaType, detail)
                    .with_hint("send the body plain, or with `Content-Encoding: gzip`, `deflate` or `zstd`")
                    .with_header(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip, deflate, zstd")))
            }
        }
    }

    /// What a body that is said to be plain begins like. Neither beginning is UTF-8, so no events are taken for it.
    pub fn of_magic(body: &[u8]) -> Option<Self> {
        match body {
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Self::Zstd),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Zstd => "zstd",
        }
    }

    /// What is inflated from `body`, which is moved on to what follows the stream.
    fn decoder<'a>(self, body: &'a mut &[u8]) -> io::Result<Box<dyn Read + Send + 'a>> {
        let has_header = is_zlib(body);
        let decoder: Box<dyn Read + Send + 'a> = match self {
            Self::Gzip => Box::new(MultiGzDecoder::new(body)),
            Self::Deflate if has_header => Box::new(ZlibDecoder::new(body)),
            Self::Deflate => Box::new(DeflateDecoder::new(body)),
            Self::Zstd => {
                let mut decoder = ZstdDecoder::with_buffer(body)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                Box::new(decoder)
            }
        };
        Ok(decoder)
    }

    /// A 400 for a stream that failed after so many inflated bytes.
    fn broken(self, error: &io::Error, inflated: usize) -> Problem {
        let name = self.name();
        if error.kind() == ErrorKind::UnexpectedEof {
            return bad_body(format!("the {name} body is incomplete: it ends after {inflated} inflated bytes"));
        }
        let why = error.to_string();
        let problem = bad_body(format!("the body is not {name}, or is broken after {inflated} inflated bytes: {why}"));
        // The only words that zstd has for a window beyond the limit.
        if self == Self::Zstd && why.contains("too much memory") {
            return problem.with_hint("compress with a window of at most 8 MiB, as levels up to 19 do");
        }
        problem
    }
}

/// Whether a body begins with the header of zlib. A bare deflate stream does not: it would begin with a stored block
/// whose padding is not zero, which no encoder writes.
/// # Source
/// RFC 1950, 2.2.
fn is_zlib(body: &[u8]) -> bool {
    match body {
        [method, flags, ..] => {
            method & 0x0f == 8 && method >> 4 <= 7 && u16::from_be_bytes([*method, *flags]).is_multiple_of(31)
        }
        _ => false,
    }
}

/// Inflates a body.
///
/// # Errors
/// 413 beyond the limit, 400 where it is not so compressed, 429 where all bodies together are too much.
pub(super) async fn inflate(
    body: &Bytes,
    compression: Compression,
    max_bytes: usize,
    admitted: &mut Admitted,
) -> Result<Bytes, Problem> {
    const BUFFER_BYTES: usize = 256 * 1024;
    let mut rest: &[u8] = body;
    let mut inflated = BytesMut::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut decoder = compression.decoder(&mut rest).map_err(|error| compression.broken(&error, 0))?;
    loop {
        // Also members that hold nothing are gone through before it returns.
        let read = in_place(body.len(), || decoder.read(&mut buffer));
        let count = read.map_err(|error| compression.broken(&error, inflated.len()))?;
        if count == 0 {
            break;
        }
        if inflated.len() + count > max_bytes {
            return Err(too_large("inflated body", max_bytes));
        }
        admitted.hold(count)?;
        inflated.extend_from_slice(&buffer[..count]);
        // Inflating is work of the processor alone: let others have their turn.
        tokio::task::yield_now().await;
    }
    drop(decoder);
    match rest.len() {
        0 => Ok(inflated.freeze()),
        bytes => Err(bad_body(format!("{bytes} bytes follow the end of the {} body", compression.name()))),
    }
}
