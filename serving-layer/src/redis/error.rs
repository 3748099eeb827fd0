//! What the errors of the Redis client mean for a caller.

use redis::{ErrorKind, RedisError, Value};

use super::way_out::way_out;
use crate::ServingError;

/// How errors name this store.
pub(super) const STORE: &str = "redis";

/// Whether Redis refused a write because it is full.
pub(super) fn is_out_of_memory(error: &RedisError) -> bool {
    let errors = error.clone().into_server_errors();
    errors.is_some_and(|errors| errors.iter().any(|(_, error)| error.code() == "OOM"))
}

/// Whether a server refused to let this client in, as it is now or with the settings that it has now.
pub(super) fn is_of_connecting(error: &RedisError) -> bool {
    let (code, text) = code_and_text(error);
    ["NOAUTH", "WRONGPASS", "DENIED"].contains(&code.as_str())
        || ["max number of clients", "DB index is out of range"].iter().any(|words| text.contains(words))
}

/// Trying again does not help.
pub(super) fn unusable(reason: String) -> ServingError {
    ServingError::Unusable { store: STORE, reason }
}

/// A reply to a swap that no script of ours gives.
pub(super) fn unexpected(reply: &[Value]) -> ServingError {
    ServingError::Unreachable { store: STORE, reason: format!("unexpected reply to a swap: {reply:?}") }
}

/// Reads errors of the client, with what the ways out of them name.
#[derive(Clone)]
pub(super) struct ErrorReader {
    pub(super) prefix: String,
    pub(super) is_cluster: bool,
    pub(super) is_encrypted: bool,
}

impl ErrorReader {
    /// An error of a store that was in use: try again, also where it asks for another password by now, since whoever
    /// changed it may change it back.
    pub(super) fn passing(&self, error: RedisError) -> ServingError {
        let (is_answer, reason, _) = self.read(&error);
        if is_answer {
            ServingError::Refusing { store: STORE, reason }
        } else {
            ServingError::Unreachable { store: STORE, reason }
        }
    }

    /// An error of a start: for good where the settings, or rights, are to blame.
    pub(super) fn at_start(&self, error: RedisError) -> ServingError {
        let (_, reason, is_for_good) = self.read(&error);
        let is_of_settings = matches!(error.kind(), ErrorKind::InvalidClientConfig | ErrorKind::RESP3NotSupported);
        if is_for_good || is_of_settings {
            return unusable(reason);
        }
        let hung_up = error.is_connection_dropped() && !error.is_connection_refusal();
        // A port that speaks TLS hangs up on who does not; one that does not waits for the end of a line.
        let advice = match self.is_encrypted {
            false if hung_up => "; if this port speaks TLS, begin `realtime.store` with `rediss://`",
            true if hung_up || error.is_timeout() => {
                "; if this port speaks no TLS, begin `realtime.store` with `redis://`"
            }
            _ => return self.passing(error),
        };
        ServingError::Unreachable { store: STORE, reason: reason + advice }
    }

    /// Whether Redis itself said so, what it said with the way out, and whether it stays like this.
    fn read(&self, error: &RedisError) -> (bool, String, bool) {
        let (code, text) = code_and_text(error);
        let said = if code.is_empty() { text.clone() } else { format!("{code} {text}").trim_end().to_owned() };
        let Some(known) = way_out(&code, &text, &self.prefix, self.is_cluster) else {
            return (!code.is_empty(), said, false);
        };
        (!code.is_empty(), format!("{} ({said}): {}", known.trouble, known.advice), known.is_for_good)
    }
}

/// As Redis sent them; no code where the connection failed. Of a pipeline, the first.
fn code_and_text(error: &RedisError) -> (String, String) {
    let errors = error.clone().into_server_errors();
    if let Some((_, error)) = errors.as_deref().and_then(|errors| errors.first()) {
        return (error.code().to_owned(), error.details().unwrap_or_default().to_owned());
    }
    let text = error.to_string();
    // The client of a cluster tells what kept it from connecting as a text.
    let code = ["NOAUTH", "WRONGPASS"].into_iter().find(|code| text.contains(code));
    let is_of_authentication = error.kind() == ErrorKind::AuthenticationFailed;
    let code = code.or_else(|| is_of_authentication.then_some("WRONGPASS"));
    (code.unwrap_or_default().to_owned(), text)
}
