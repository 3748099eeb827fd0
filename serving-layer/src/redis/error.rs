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

/// Try again: also where Redis asks for another password by now, since whoever changed it may change it back.
pub(super) fn unreachable(error: RedisError) -> ServingError {
    ServingError::Unreachable { store: STORE, reason: told(&error) }
}

/// A connection that could not be made: for good where the settings are to blame.
pub(super) fn refused(error: RedisError) -> ServingError {
    match error.kind() {
        ErrorKind::InvalidClientConfig | ErrorKind::RESP3NotSupported => unusable(error),
        _ if is_of_authentication(&error) => unusable(error),
        _ => unreachable(error),
    }
}

/// Trying again does not help.
pub(super) fn unusable(error: RedisError) -> ServingError {
    ServingError::Unusable { store: STORE, reason: told(&error) }
}

/// Whether Redis does not know who asks: no password where it wants one, or a wrong one.
fn is_of_authentication(error: &RedisError) -> bool {
    let text = error.to_string();
    error.kind() == ErrorKind::AuthenticationFailed || ["NOAUTH", "WRONGPASS"].iter().any(|code| text.contains(code))
}

fn told(error: &RedisError) -> String {
    if !is_of_authentication(error) {
        return error.to_string();
    }
    format!(
        "authentication failed ({error}): user and password are part of the setting `realtime.store`, as in \
         `redis://USER:PASSWORD@HOST:PORT/0`, or `redis://:PASSWORD@HOST:PORT/0` where there is no user"
    )
}

/// A reply to a swap that no script of ours gives.
pub(super) fn unexpected(reply: &[Value]) -> ServingError {
    ServingError::Unreachable { store: STORE, reason: format!("unexpected reply to a swap: {reply:?}") }
}
