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
//! | `recompute/` | from the master dataset to batch views; a round over all sources is `recompute/run.rs` |
//! | `compact/` | small files of a master dataset into large ones, and rows of another reading into the present one |
//! | `fold/` | old buckets of views into coarser ones |
//! | `cleanup.rs` | old versions and files that nobody needs any more |
//! | `grains.rs` | which buckets a version has, folded or not |
//! | `erase/` | events out of everything that the layers store, when an operator asks for it |
//! | `import/` | whole files into the master dataset, when an operator asks for it |
//! | `damage.rs` | files that are gone, and tables that another tool rewrote |
//! | `plan_engine.rs` | the seam to machines that compute a group together |
//! | `lost_rows.rs` | rows of files that are gone, from the log again |
//! | `spans.rs` | lines of the log that bear the run they belong to, also from threads of the engine |
//! | `unnamed.rs` | tables of definitions that no kept set names, removed |
//! | `hold/` | a round by hand beside loops that run elsewhere |
//!
//! Guarantee: what the archive commits continues exactly what was committed before, so no record is lost or doubled,
//! whichever process is killed; a published version is a function of (version of the master dataset, cut, definition),
//! and a cut never moves back.
//! Not here: which place is a good cut (`positions::choose_cut`), how tables commit (`lake`), which records the speed
//! layer drops as copies (`positions::CopyWindow`), when each step is taken and by which process (runs of the workflow,
//! `twofold/src/workflow`).
//! Why so: archive and recompute meet only in the master dataset; each may be killed at any step and simply starts
//! again.

pub mod archive;
pub mod cleanup;
pub mod compact;
mod components;
mod config;
mod damage;
mod engine;
pub mod erase;
mod error;
pub mod fold;
mod grains;
pub mod hold;
pub mod import;
pub mod lost_rows;
mod master_columns;
pub mod metrics;
mod plan_engine;
pub mod recompute;
pub mod source_reset;
mod spans;
pub mod unnamed;

pub use components::{BatchContext, FormerDefinitions};
pub use config::{BatchSettings, CompactSettings, RecomputeSettings};
pub use damage::{FoundTables, describe as describe_missing, look_after};
pub use error::BatchError;
pub use grains::Grains;
pub use plan_engine::{EngineAway, PlanEngine, Signs};
