//! The metrics of the gateway: names and labels in one place.
//!
//! Guarantee: labels are bounded: sources, views, their measures, routes and status codes.

use std::time::Duration;

use metrics::{counter, gauge, histogram};
use positions::{SourceName, TimestampMicros, ViewName};
use serving_layer::exactness::ExactnessRow;

const REQUESTS: &str = "twofold_gateway_requests_total";
const REQUEST_SECONDS: &str = "twofold_gateway_request_duration_seconds";
const STALE_ANSWERS: &str = "twofold_gateway_stale_answers_total";
const STALE: &str = "twofold_gateway_stale";
const SQL_WAITING: &str = "twofold_gateway_sql_waiting";
const SQL_REFUSED: &str = "twofold_gateway_sql_refused_total";
const BLOBS_FETCHED: &str = "twofold_gateway_blobs_fetched_total";
const VERSION_BYTES: &str = "twofold_gateway_batch_version_bytes";
const VERSIONS_LOADED: &str = "twofold_gateway_batch_versions_loaded_total";
const REALTIME_BYTES: &str = "twofold_gateway_realtime_bytes";
const PARTITIONS_TOO_LARGE: &str = "twofold_gateway_realtime_partitions_too_large";
// Sums over the partitions of the view's source: beside `twofold_event_log_end_offsets` they say how far a layer lags.
const HEAD_OFFSETS: &str = "twofold_gateway_head_offsets";
const CUT_OFFSETS: &str = "twofold_gateway_cut_offsets";
const COMPARED: &str = "twofold_gateway_publications_compared_total";
const DIFFERENT: &str = "twofold_gateway_different_groups";
// Seconds since 1970: the age of answers is the present less this.
const AS_OF_SECONDS: &str = "twofold_gateway_as_of_seconds";

/// Tells the counters of all requests once, at 0: a counter that first appears with its first failure shows no rise.
pub(crate) fn announce(routes: impl Iterator<Item = &'static str>) {
    for route in routes {
        for status in ["200", "400", "429", "503"] {
            counter!(REQUESTS, "route" => route, "status" => status).increment(0);
        }
    }
    counter!(SQL_REFUSED).increment(0);
    counter!(BLOBS_FETCHED).increment(0);
    sql_waiting(0);
}

/// Tells the counters of a view once, at 0.
pub(crate) fn announce_view(view: &ViewName) {
    counter!(STALE_ANSWERS, "view" => view.to_string()).increment(0);
    counter!(VERSIONS_LOADED, "view" => view.to_string()).increment(0);
    for outcome in ["same", "different", "unexplained", "uncompared"] {
        counter!(COMPARED, "view" => view.to_string(), "outcome" => outcome).increment(0);
    }
}

/// How a publication compared with what it replaced: of each measure the groups that differ.
pub(crate) fn compared(view: &ViewName, outcome: &'static str, rows: &[ExactnessRow]) {
    counter!(COMPARED, "view" => view.to_string(), "outcome" => outcome).increment(1);
    for row in rows {
        if let Some(measure) = &row.measure {
            let labels = [("view", view.to_string()), ("measure", measure.clone())];
            gauge!(DIFFERENT, &labels).set(row.different as f64);
        }
    }
}

pub(crate) fn request(route: &'static str, status: u16, took: Duration) {
    counter!(REQUESTS, "route" => route, "status" => status.to_string()).increment(1);
    histogram!(REQUEST_SECONDS, "route" => route).record(took.as_secs_f64());
}

pub(crate) fn stale_answer(view: &ViewName) {
    counter!(STALE_ANSWERS, "view" => view.to_string()).increment(1);
}

/// Whether the answers of a view reach less far than they should, or there are none.
pub(crate) fn stale(view: &ViewName, is_stale: bool) {
    gauge!(STALE, "view" => view.to_string()).set(if is_stale { 1.0 } else { 0.0 });
}

/// SQL queries in line for a place.
pub(crate) fn sql_waiting(count: usize) {
    gauge!(SQL_WAITING).set(count as f64);
}

/// An SQL query found no place.
pub(crate) fn sql_refused() {
    counter!(SQL_REFUSED).increment(1);
}

pub(crate) fn blobs_fetched(count: usize) {
    counter!(BLOBS_FETCHED).increment(count as u64);
}

pub(crate) fn version_loaded(view: &ViewName, size_bytes: usize) {
    counter!(VERSIONS_LOADED, "view" => view.to_string()).increment(1);
    gauge!(VERSION_BYTES, "view" => view.to_string()).set(size_bytes as f64);
}

/// Partitions whose realtime states do not fit into memory.
pub(crate) fn partitions_too_large(view: &ViewName, count: usize) {
    gauge!(PARTITIONS_TOO_LARGE, "view" => view.to_string()).set(count as f64);
}

pub(crate) fn realtime_held(view: &ViewName, size_bytes: usize) {
    gauge!(REALTIME_BYTES, "view" => view.to_string()).set(size_bytes as f64);
}

/// How far the answers of a view reach, from both layers and from batch alone: offsets summed over the partitions.
pub(crate) fn reached(source: &SourceName, view: &ViewName, (head, cut): (i64, i64), as_of: Option<TimestampMicros>) {
    let labels = [("source", source.to_string()), ("view", view.to_string())];
    gauge!(HEAD_OFFSETS, &labels).set(head as f64);
    gauge!(CUT_OFFSETS, &labels).set(cut as f64);
    if let Some(as_of) = as_of {
        gauge!(AS_OF_SECONDS, &labels).set(as_of.0 as f64 / 1e6);
    }
}
