//! Lifelike web traffic from a seed, sent at a rate, and the truth about it.
//!
//! ```text
//!  seed --> Traffic --lines--> Feed --> collector --receipt--> Truth (what the system must answer)
//! ```
//!
//! Guarantee: the traffic is a function of the settings and the instants passed in; the truth knows nothing of how the
//! system computes: it is a fold over the events that were acknowledged.

mod run;
mod tally;
mod traffic;
mod truth;

pub use run::{Feed, GeneratePlan, SEND_EVERY, run_generator};
pub use tally::Tally;
pub use traffic::{Kind, Line, SOURCE, Traffic, TrafficSettings, Visit};
pub use truth::{PageTruth, Truth};
