//! Unit tests of views, as a pipeline's author writes them beside it: given these events, this view answers that.
//!
//! ```text
//!  tests/*.toml --case.rs--> cases --arrivals.rs--> records in the order in which they arrive
//!                                                       |  history.rs: batch alone, realtime alone, seeded mixtures
//!                                                       v
//!                                run.rs: both layers, in memory --> answer --compare.rs--> differences --report.rs
//! ```
//!
//! Guarantee: what answers are the layers and the gateway themselves, as `up` runs them; only their stores are in
//! memory, and only where borders lie and how many partitions there are is drawn. Nothing outside of the process is
//! read but the files of the tests, or written.
//! Not here: whether a view can run at all (`trial.rs`).
//! Why a grid is drawn: it decides where batch may take over from realtime and nothing else, and the definition hash
//! does not cover it. The one of the file would put the events of a test below no cut or below all of them.

pub mod arrivals;
pub mod case;
pub mod compare;
mod each;
pub mod expected;
pub mod history;
pub mod report;
pub mod run;
mod surroundings;
mod texts;
mod value;

pub use each::{TestPlan, run_case};
