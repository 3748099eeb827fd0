//! The batch layer: every event once more, from the complete record, and published as one version at a time.
//!
//! ```text
//!              archive.rs                        recompute.rs -> distinct.rs -> publish.rs
//!  event log ------------> master dataset ------------------------------------------------> batch views
//!             30 s | 64 MB                 rows below the cut, copies removed, states        one commit:
//!             rows + positions,            by bucket and dimensions, sorted                  states + cut
//!             one commit            compact
//!                                   small files to larger ones, the same rows
//! ```
//!
//! Guarantee: what the archive commits continues exactly what was committed before, so no record is lost or doubled
//! whoever is killed; a published version is a function of (raw version, cut, definition), and a cut never moves back.
//! Not here: which place is a good cut (`positions::choose_cut`), how tables commit (`lake`), when copies count as copies
//! in the speed layer (`positions::CopyWindow`).
//! Why so: the two halves meet only in the master dataset; each may be killed at any step and simply starts again.

pub mod archive;
mod cleanup;
pub mod compact;
mod config;
mod distinct;
mod engine;
mod error;
pub mod metrics;
mod parts;
mod publish;
mod raw_rows;
pub mod recompute;
pub mod run;
mod task;

pub use config::{BatchSettings, CompactSettings, RecomputeSettings};
pub use error::BatchError;
pub use parts::BatchParts;
