//! Names of the metrics of notices, and their announcement.

use metrics::counter;

/// Notices that were taken, by `receiver`.
pub const NOTIFY_SENT: &str = "twofold_notify_sent_total";
/// Attempts that failed, by `receiver`.
pub const NOTIFY_FAILED: &str = "twofold_notify_failed_attempts_total";
/// Notices that were given up, by `receiver`.
pub const NOTIFY_DROPPED: &str = "twofold_notify_dropped_total";

/// The values of `receiver`.
const RECEIVERS: [&str; 3] = ["webhook", "command", "openlineage"];

/// Tells the metrics once, at 0: a counter that first appears with its first failure shows no rise.
pub fn announce() {
    for receiver in RECEIVERS {
        for name in [NOTIFY_SENT, NOTIFY_FAILED, NOTIFY_DROPPED] {
            counter!(name, "receiver" => receiver).increment(0);
        }
    }
}
