//! The workflow of this product: which runs there are, and what their tasks do.
//!
//! ```text
//!  schedules --duties--+                                     +--> choose:  plans, and the tasks that they need
//!  by hand ---specs----+--> journal --> worker --> executor -+--> compute: one group of buckets
//!                                                            +--> publish: one commit per view
//!                              +-- follower: notices, metrics, loops held off
//! ```
//!
//! Guarantee: what a task commits, it commits under its lease and on exactly the version that its plan was made on.
//! Not here: which task is whose (the crate `workflow`), how views are computed (`batch-layer`).

pub mod specs;
