//! The kinds of problems: every reason for which a port refuses a request, listed once.
//!
//! Guarantee: a name never changes its meaning, and one kind has one status and one title in every role.
//! Why so: a program acts on the `type` of a problem, so the same trouble must have the same name whoever tells of it.

use axum::http::StatusCode;

/// Makes the enum and what is said of each kind from one list.
macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $name:literal, $status:ident, $title:literal;)*) => {
        /// A kind of problem, by what its receiver should do.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ProblemKind {
            $($(#[$doc])* $kind,)*
        }

        impl ProblemKind {
            /// All kinds, by status.
            pub const ALL: &[Self] = &[$(Self::$kind),*];

            /// The last part of `type`, `urn:twofold:problem:<name>`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)*
                }
            }

            /// The status of the answer.
            pub const fn status(self) -> StatusCode {
                match self {
                    $(Self::$kind => StatusCode::$status,)*
                }
            }

            /// The kind in words, the same for every problem of it.
            pub const fn title(self) -> &'static str {
                match self {
                    $(Self::$kind => $title,)*
                }
            }
        }
    };
}

kinds! {
    /// The path, a parameter or the SQL text cannot be understood: correct it.
    BadRequest = "bad-request", BAD_REQUEST, "Bad request";
    /// The body is not what its headers or its route promise: correct it.
    BadBody = "bad-body", BAD_REQUEST, "Body cannot be read";
    /// No credential came with the request, or none that is known here: show one.
    Unauthenticated = "unauthenticated", UNAUTHORIZED, "Not authenticated";
    /// A page of this origin may not do so: an operator allows origins.
    OriginNotAllowed = "origin-not-allowed", FORBIDDEN, "Origin not allowed";
    /// This caller may not do so: somebody who may operate the system can.
    Forbidden = "forbidden", FORBIDDEN, "Not allowed";
    /// A route, source, view or version that does not exist was named: choose from `known`.
    Unknown = "unknown", NOT_FOUND, "Not found";
    /// The path exists, but not for this method: choose from `known` or the header `Allow`.
    MethodNotAllowed = "method-not-allowed", METHOD_NOT_ALLOWED, "Method not allowed";
    /// The answer is not to be had in a type that the header `Accept` names: choose from `known`.
    NotAcceptable = "not-acceptable", NOT_ACCEPTABLE, "Type of answer not available";
    /// The client did not send its whole body in time: send it faster.
    SlowBody = "slow-body", REQUEST_TIMEOUT, "Body took too long";
    /// The query ran for too long: ask for less.
    TimedOut = "timed-out", REQUEST_TIMEOUT, "Query ran too long";
    /// The batch version that was named never covers the position token: name a newer one.
    NotInVersion = "not-in-version", CONFLICT, "Version does not cover the position";
    /// A command does not fit what is: look at what is, and give another one, or none.
    Conflict = "conflict", CONFLICT, "Does not fit what is";
    /// The log holds no record at that place: it has expired, or the topic is another one.
    NotInLog = "not-in-log", GONE, "Not in the log";
    /// The request, or the answer to it, is larger than a limit: ask for less, or send less.
    TooLarge = "too-large", PAYLOAD_TOO_LARGE, "Request or answer too large";
    /// The request holds more events than one may: divide it.
    TooManyEvents = "too-many-events", PAYLOAD_TOO_LARGE, "Too many events";
    /// The body has a type or an encoding that is not taken: send another one.
    UnsupportedMediaType = "unsupported-media-type", UNSUPPORTED_MEDIA_TYPE, "Unsupported media type";
    /// The host that was asked for is not this process: ask by the address that it listens on.
    Misdirected = "misdirected", MISDIRECTED_REQUEST, "Asked by another name";
    /// The caller has used up a quota of its grant: ask again after `retry_after` seconds.
    OverQuota = "over-quota", TOO_MANY_REQUESTS, "Quota used up";
    /// Too much is in progress: try again after `retry_after` seconds.
    Overloaded = "overloaded", TOO_MANY_REQUESTS, "Overloaded";
    /// Twofold itself is at fault: report it.
    Defect = "defect", INTERNAL_SERVER_ERROR, "Internal error";
    /// The view has nothing yet that an answer could be based on: ask again after `retry_after` seconds.
    BeingBuilt = "being-built", SERVICE_UNAVAILABLE, "View is being built";
    /// A store cannot be read, and nothing read before can stand in: ask again after `retry_after` seconds.
    Unavailable = "unavailable", SERVICE_UNAVAILABLE, "Cannot be served";
    /// The event log cannot be read now: ask again later.
    LogUnavailable = "log-unavailable", SERVICE_UNAVAILABLE, "Event log cannot be read";
    /// The log did not acknowledge some events: send those again whose `stored` is null.
    NotAcknowledged = "not-acknowledged", SERVICE_UNAVAILABLE, "Event log did not acknowledge";
    /// The source has stopped, and does not go on by itself: an operator does what `hint` says.
    SourceStopped = "source-stopped", SERVICE_UNAVAILABLE, "Source has stopped";
    /// The process is stopping: send the events again after `retry_after` seconds, or to another collector.
    ShuttingDown = "shutting-down", SERVICE_UNAVAILABLE, "Shutting down";
    /// The answer did not reach the position token within `timeout`: ask again, or wait longer.
    NotYet = "not-yet", GATEWAY_TIMEOUT, "Position not covered yet";
}
