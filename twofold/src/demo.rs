//! `twofold demo`: lifelike traffic through both layers, every number checked against the generator's own truth.
//!
//! ```text
//!  generator --> collector --> [ log, both layers, gateway ] --> answer --+
//!      |                                                                  +--> difference, must be 0
//!      +--> truth at the same position -----------------------------------+
//! ```
//!
//! Guarantee: nothing is sent between the token that an answer is asked for and the answer, so the truth is about
//! exactly the events below the answered head; an answer that reaches further is an error, not a difference.

mod answer;
mod check;
mod run;
mod screen;
mod summary;

pub use answer::{Answer, PageAnswer};
pub use check::{Comparison, compare};
pub use run::{DemoPlan, run_demo};
pub use summary::Summary;

/// The pipeline of the demo.
pub const PIPELINE: &str = include_str!("../../examples/demo/pipeline.sql");

/// Settings that make a lambda architecture visible within a minute: over the defaults, below file, environment and
/// flags.
pub const SETTINGS: &str = r#"
[system]
listen = "127.0.0.1:0"
[archive]
commit_interval = "1s"
[batch]
interval = "20s"
"#;
