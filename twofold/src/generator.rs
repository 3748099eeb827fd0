//! Lifelike web traffic from a seed, and the truth about it.
//!
//! ```text
//!  seed --> Traffic --lines--> collector --receipt--> Truth (what the system must answer)
//! ```
//!
//! Guarantee: the traffic is a function of the settings and the instants passed in; the truth knows nothing of how the
//! system computes: it is a fold over the events that were acknowledged.

mod traffic;
mod truth;

pub use traffic::{Kind, Line, Traffic, TrafficSettings, Visit};
pub use truth::{PageTruth, Truth};
