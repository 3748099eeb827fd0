//! The workflow of this product: which runs there are, and what their tasks do.
//!
//! ```text
//!  schedules ----duties.rs-----+
//!  interval/ ------------------+                                   +--> choose.rs:  plans, and the tasks they need
//!  by hand ------specs.rs------+--> journal --> worker --> tasks --+--> compute.rs: one group of buckets, or a part
//!  and waited: by_hand.rs -----+         |                         |                (divide.rs)
//!  housekeeping/: pace.rs,     |         |                         +--> publish.rs: one commit per view
//!        due.rs, specs.rs -----+         |                         +--> housekeeping/: compact, fold, vacuum, trim
//!                                        +--> tidings.rs, metrics.rs, outcomes.rs, tables.rs: who is told
//! ```
//!
//! Guarantee: what a task commits, it commits under its lease and on exactly the version that its plan was made on. A
//! view that fails keeps no other view of its run from its next version.
//! Not here: which task is whose (the crate `workflow`), how views are computed (`batch-layer`).

pub mod by_command;
pub mod by_hand;
mod choose;
mod compute;
mod divide;
pub mod duties;
mod executor;
pub mod housekeeping;
pub mod interval;
pub mod looks;
mod metrics;
mod news;
mod notes;
mod numbers;
pub mod outcomes;
mod publish;
pub mod run;
mod schedule_memory;
pub mod specs;
pub mod tables;
pub mod tasks;
mod tidings;
mod values;

pub(crate) use values::is_transient;
