//! An answer that is larger than what stands between a server and a client that reads nothing.

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use bytes::Bytes;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Much more than what the system itself takes from a server before its client reads.
pub const LARGE_BYTES: usize = 64 << 20;

/// A body that tells when nobody holds it any more.
struct Held {
    bytes: Vec<u8>,
    _gone: DropGuard,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// With the route `/large`; the token is cancelled once an answer of it is not held any more.
pub fn with_large_body(router: Router) -> (Router, CancellationToken) {
    let is_gone = CancellationToken::new();
    let gone = is_gone.clone();
    let large = move || {
        let held = Held { bytes: vec![b'x'; LARGE_BYTES], _gone: gone.clone().drop_guard() };
        async move { Body::from(Bytes::from_owner(held)) }
    };
    (router.route("/large", get(large)), is_gone)
}
