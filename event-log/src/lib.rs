//! Where events enter, and where they can be read again.
//!
//! ```text
//!  HTTP --> collector --> producer --+
//!                                    +--> event log (Kafka protocol) --> consumer --> decode --> both layers
//!  twofold load ---------------------+                                                  |
//!                                                                                 master dataset (append, read)
//! ```
//!
//! Guarantee: an event that was acknowledged is in the log; what a record decodes to depends on the record alone.

pub mod collector;
pub mod decode;
#[cfg(feature = "embedded")]
pub mod embedded;
mod error;
mod group;
pub mod kafka;
pub mod lines;
mod log;
pub mod master;
pub mod memory;
pub mod metrics;
pub mod positions;
pub mod problem;

pub use error::EventLogError;
pub use group::{LocalGroups, Membership};
pub use log::{EventLog, LogBounds, LogConsumer, NewRecord, Poll, PollLimit, Record};
