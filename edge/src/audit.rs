//! The audit log: who asked for what, and what came of it.
//!
//! In: the head of a request, its principal, its answer. Out: one event of the log with the target `audit`.
//! Guarantee: written behind the last byte that a handler decides, whatever the handler is; no key, no token, no body
//! and no parameter stands in it (parameters of rows name people, and a write key may be among them).
//! Not here: where the log goes (`twofold/src/logging.rs`).

use std::net::IpAddr;

use axum::http::request::Parts;
use axum::http::{Method, StatusCode, Uri};
use tokio::time::Instant;
use tracing::info;

use crate::keys::without_keys;

/// Of what a client chose, so much is noted: a head may be much longer, and would fill the log.
const MAX_CHARS: usize = 256;

/// Which requests are noted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Audit {
    /// None.
    Off,
    /// Those that were refused for who made them: no or a wrong credential, a right that is missing, a quota.
    #[default]
    Refused,
    /// All but probes that were answered.
    All,
}

/// A request, as it is noted once it has been answered.
#[derive(Debug)]
pub(crate) struct Asked {
    began: Instant,
    peer: Option<IpAddr>,
    method: Method,
    uri: Uri,
    is_probe: bool,
}

impl Asked {
    /// Of the head of a request.
    pub(crate) fn new(parts: &Parts, peer: Option<IpAddr>, is_probe: bool) -> Self {
        // Both are cheap to copy; most requests are not noted.
        let (method, uri) = (parts.method.clone(), parts.uri.clone());
        Self { began: Instant::now(), peer, method, uri, is_probe }
    }

    /// Notes it, if it is to be noted. `principal`: the name, if anybody is known by what was shown.
    pub(crate) fn note(&self, audit: Audit, principal: Option<&str>, status: StatusCode) {
        let is_noted = match audit {
            Audit::Off => false,
            Audit::Refused => is_refusal(status),
            Audit::All => !(self.is_probe && status.is_success()),
        };
        if is_noted {
            let peer = self.peer.map(|peer| peer.to_string());
            let (method, path) = (noted(self.method.as_str()), noted(self.uri.path()));
            info!(
                target: "audit",
                principal = principal.unwrap_or("unknown"),
                peer = peer.as_deref().unwrap_or("unknown"),
                method = method.as_str(),
                path = path.as_str(),
                status = status.as_u16(),
                milliseconds = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX),
                "request"
            );
        }
    }
}

/// A text of a client, as far as it is noted. A key that was written into a path by mistake is none of it.
fn noted(text: &str) -> String {
    let mut noted = without_keys(text);
    if let Some((end, _)) = noted.char_indices().nth(MAX_CHARS) {
        noted.truncate(end);
        noted.push_str("...");
    }
    noted
}

/// Whether somebody was refused, rather than something. What is forbidden looks like unknown, so that counts as well.
fn is_refusal(status: StatusCode) -> bool {
    let of_callers = [
        StatusCode::UNAUTHORIZED,
        StatusCode::FORBIDDEN,
        StatusCode::NOT_FOUND,
        StatusCode::MISDIRECTED_REQUEST,
        StatusCode::TOO_MANY_REQUESTS,
    ];
    of_callers.contains(&status)
}
