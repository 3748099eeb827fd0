//! Names of the metrics of this crate, and their announcement.

use metrics::{counter, gauge};
use positions::SourceName;

/// Requests to the collector, by `status`.
pub const COLLECTOR_REQUESTS: &str = "twofold_collector_requests_total";
/// Events sent to the collector, by `source` and `outcome`: accepted, rejected, unacknowledged.
pub const COLLECTOR_EVENTS: &str = "twofold_collector_events_total";
/// Requests whose client's clock is off, so that the times of their events are corrected, by `source`.
pub const COLLECTOR_SHIFTED_REQUESTS: &str = "twofold_collector_shifted_requests_total";
/// Events accepted with such a correction, by `source`.
pub const COLLECTOR_SHIFTED_EVENTS: &str = "twofold_collector_shifted_events_total";
/// Bytes of request bodies, inflated.
pub const COLLECTOR_BYTES: &str = "twofold_collector_body_bytes_total";
/// Bytes of requests that are being worked on.
pub const COLLECTOR_IN_FLIGHT: &str = "twofold_collector_in_flight_bytes";
/// Time from handing events to the log until it acknowledged them.
pub const COLLECTOR_ACKNOWLEDGE: &str = "twofold_collector_acknowledge_seconds";

/// Outcomes of an event, as labels.
pub(crate) const OUTCOMES: [&str; 3] = ["accepted", "rejected", "unacknowledged"];

/// Statuses that a watcher compares with each other.
const STATUSES: [&str; 4] = ["200", "400", "429", "503"];

/// Tells the metrics of all requests once, at 0: a counter that first appears with its first failure shows no rise.
pub(crate) fn announce() {
    for status in STATUSES {
        counter!(COLLECTOR_REQUESTS, "status" => status).increment(0);
    }
    counter!(COLLECTOR_BYTES).increment(0);
    gauge!(COLLECTOR_IN_FLIGHT).increment(0.0);
}

/// Tells the counters of a source once, at 0.
pub(crate) fn announce_source(source: &SourceName) {
    for outcome in OUTCOMES {
        counter!(COLLECTOR_EVENTS, "source" => source.to_string(), "outcome" => outcome).increment(0);
    }
    for name in [COLLECTOR_SHIFTED_REQUESTS, COLLECTOR_SHIFTED_EVENTS] {
        counter!(name, "source" => source.to_string()).increment(0);
    }
}
