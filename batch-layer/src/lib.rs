//! The batch layer: every event once more, from the complete record, published as one version at a time.
//!
//! ```text
//!              archive                        recompute: distinct -> publish
//!  event log ----------> master dataset -----------------------------------> batch views
//!             5 s | 64 MB     |   ^      rows below the cut, copies removed,   one commit:
//!             rows +          +---+      states by bucket and dimensions       states + cut
//!             positions,      compact
//!             one commit      small files into large ones, the same rows
//! ```
//!
//! | folder or file | owns |
//! |---|---|
//! | `archive/` | from the log to the master dataset; its loop is `archive/run.rs` |
//! | `source_reset.rs` | the next life of a source's topic, which the archive goes on with |
//! | `recompute/` | from the master dataset to batch views; its loop is `recompute/run.rs` |
//! | `compact/` | small files of a master dataset into large ones, and rows of another reading into the present one; its loop is `compact/run.rs` |
//! | `erase/` | events out of everything that the layers store, when an operator asks for it |
//! | `import/` | whole files into the master dataset, when an operator asks for it |
//! | `damage.rs` | files that are gone, and tables that another tool rewrote |
//! | `lost_rows.rs` | rows of files that are gone, from the log again |
//! | `hold/` | a round by hand beside loops that run elsewhere |
//! | `run.rs` | the order of recompute, compaction and cleanup |
//!
//! Guarantee: what the archive commits continues exactly what was committed before, so no record is lost or doubled,
//! whichever process is killed; a published version is a function of (version of the master dataset, cut, definition),
//! and a cut never moves back.
//! Not here: which place is a good cut (`positions::choose_cut`), how tables commit (`lake`), which records the speed
//! layer drops as copies (`positions::CopyWindow`).
//! Why so: archive and recompute meet only in the master dataset; each may be killed at any step and simply starts
//! again.

pub mod archive;
mod cleanup;
pub mod compact;
mod components;
mod config;
mod damage;
mod engine;
pub mod erase;
mod error;
pub mod hold;
pub mod import;
pub mod lost_rows;
mod master_columns;
pub mod metrics;
pub mod recompute;
pub mod run;
pub mod source_reset;

pub use components::{
    BatchComponents, BatchContext, BatchRequest, BatchStatus, FormerDefinitions, NoFormer, NoRuns, RunsAtWork,
};
pub use config::{BatchSettings, CompactSettings, RecomputeSettings};
pub use damage::describe as describe_missing;
pub use error::BatchError;
