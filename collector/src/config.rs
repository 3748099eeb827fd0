//! Settings of the collector. All but a few are limits: each bounds what a single client, or all of them, can take from
//! the process.

use std::time::Duration;

use edge::AllowedOrigins;

/// Settings of the collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectorSettings {
    /// Largest request body in bytes, as sent; beyond it 413. Default 8 MiB.
    pub max_body_bytes: usize,
    /// Largest body in bytes after inflating; beyond it 413, and no more than this is ever inflated. Default 32 MiB.
    pub max_inflated_bytes: usize,
    /// Most events of one request; beyond it 413. Default 10,000.
    pub max_events: usize,
    /// Largest single event in bytes; a larger one is refused by index. At most [`MAX_PAYLOAD_BYTES`], and below what
    /// the broker takes (`message.max.bytes`, 1,048,588 by default). Default 1,000,000.
    ///
    /// [`MAX_PAYLOAD_BYTES`]: records::decode::MAX_PAYLOAD_BYTES
    pub max_event_bytes: usize,
    /// Requests that may be worked on at the same time; beyond it 429. Default 256.
    pub max_in_flight_requests: usize,
    /// Body bytes, inflated ones included, that may be held at the same time; beyond it 429. Default 128 MiB.
    ///
    /// At least the sum of the two limits on one body, or such a body could never be taken.
    pub max_in_flight_bytes: usize,
    /// How long a client may take to send its body; beyond it 408. Default 30 s.
    pub read_timeout: Duration,
    /// How long the log may take to acknowledge; beyond it 503. Default 30 s.
    pub acknowledge_timeout: Duration,
    /// What `Retry-After` says in answers 429 and 503, in whole seconds. Default 1 s.
    pub retry_after: Duration,
    /// A client's clock is right where the time at which it says that it sends (`X-Sent-At`) is not further than this
    /// from the time at which the request came: so long it may be under way. Default 30 s.
    pub clock_tolerance: Duration,
    /// The most that a client's clock may be off; beyond it 400. Default 30 days.
    pub max_clock_shift: Duration,
    /// Pages of which origins may send events, from a visitor's browser. Default: of none.
    pub allowed_origins: AllowedOrigins,
}

impl Default for CollectorSettings {
    fn default() -> Self {
        Self {
            max_body_bytes: 8 * 1024 * 1024,
            max_inflated_bytes: 32 * 1024 * 1024,
            max_events: 10_000,
            max_event_bytes: 1_000_000,
            max_in_flight_requests: 256,
            max_in_flight_bytes: 128 * 1024 * 1024,
            read_timeout: Duration::from_secs(30),
            acknowledge_timeout: Duration::from_secs(30),
            retry_after: Duration::from_secs(1),
            clock_tolerance: Duration::from_secs(30),
            max_clock_shift: Duration::from_secs(30 * 86_400),
            allowed_origins: AllowedOrigins::default(),
        }
    }
}
