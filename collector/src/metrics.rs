//! Names of the metrics of this crate.

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
