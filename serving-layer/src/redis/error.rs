//! What the errors of the Redis client mean for a caller.

use redis::{ErrorKind, RedisError, Value};

use crate::ServingError;

/// How errors name this store.
pub(super) const STORE: &str = "redis";

/// Whether Redis refused a write because it is full.
pub(super) fn is_out_of_memory(error: &RedisError) -> bool {
    let errors = error.clone().into_server_errors();
    errors.is_some_and(|errors| errors.iter().any(|(_, error)| error.code() == "OOM"))
}

/// Try again.
pub(super) fn unreachable(error: RedisError) -> ServingError {
    ServingError::Unreachable { store: STORE, reason: error.to_string() }
}

/// A connection that could not be made: for good where the settings are to blame.
pub(super) fn refused(error: RedisError) -> ServingError {
    match error.kind() {
        ErrorKind::AuthenticationFailed | ErrorKind::InvalidClientConfig | ErrorKind::RESP3NotSupported => {
            unusable(error)
        }
        _ => unreachable(error),
    }
}

/// Trying again does not help.
pub(super) fn unusable(error: RedisError) -> ServingError {
    ServingError::Unusable { store: STORE, reason: error.to_string() }
}

/// A reply to a swap that no script of ours gives.
pub(super) fn unexpected(reply: &[Value]) -> ServingError {
    ServingError::Unreachable { store: STORE, reason: format!("unexpected reply to a swap: {reply:?}") }
}
