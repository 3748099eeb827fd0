//! The speed layer: from the event log to realtime views, within a second.
//!
//! ```text
//!  event log --poll--> chunk --decode--> rows --copies out, one plan per view--> states
//!                                                                                  |  run [from, to)
//!  master dataset --where the log has expired; copies of one horizon               v
//!  batch views -----cuts: where to start, borders, what is not needed----> blobs, then one index swap
//!                                                                                  v
//!                                                                            realtime views
//! ```
//!
//! Guarantee: the runs of a partition tile from a published cut to the head, each a pure function of the log between
//! its ends; whatever is killed, paused, doubled or wiped, no record is counted twice or left out. A worker keeps
//! nothing that is not in a store or recomputable, so it can be dropped at any await.
//! A worker of a generation (`SpeedComponents::generation`) keeps one view of a source in kappa mode: its runs tile
//! from the first record on, no border divides them, and no cut is looked up.
//! Files depend on each other in one direction: values (`chunk.rs`, `pending.rs`, `partition.rs`), steps,
//! `ownership.rs`, `turn.rs` and `merging.rs`, `worker.rs`, `run.rs`. Before all of it, a view is on trial
//! (`trial.rs`).
//! Not here: what may happen to an index (`positions::Index`), how stores keep it (`serving-layer`), answers
//! (`query-gateway`).

mod aggregate;
mod append;
mod chunk;
mod columns;
mod config;
mod context;
mod cuts;
mod error;
mod expire;
mod index;
mod kept;
mod lookup;
mod merge;
mod merging;
mod metrics;
mod ownership;
mod partition;
mod pending;
mod plans;
mod policy;
mod prime;
mod read;
pub mod run;
mod schemas;
mod start;
mod touch;
mod trial;
mod turn;
mod worker;

pub use config::{Keeping, SpeedComponents, SpeedSettings, SpeedView};
pub use error::{SpeedError, StoredPart};
pub use trial::try_view;
