//! The workflow of this product: which runs there are, and what their tasks do.
//!
//! ```text
//!  schedules --duties.rs--+                                   +--> choose.rs:  plans, and the tasks that they need
//!  by hand ----specs.rs---+--> journal --> worker --> tasks --+--> compute.rs: one group of buckets
//!                                  |                          +--> publish.rs: one commit per view
//!                                  +--> tidings.rs, metrics.rs, at_work.rs: who is told, who waits
//! ```
//!
//! Guarantee: what a task commits, it commits under its lease and on exactly the version that its plan was made on. A
//! view that fails keeps no other view of its run from its next version.
//! Not here: which task is whose (the crate `workflow`), how views are computed (`batch-layer`).

pub mod at_work;
mod choose;
mod compute;
pub mod duties;
mod executor;
mod metrics;
mod notes;
mod numbers;
mod publish;
pub mod run;
mod schedule_memory;
pub mod specs;
pub mod tasks;
mod tidings;
mod values;
