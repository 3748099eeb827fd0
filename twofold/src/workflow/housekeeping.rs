//! Housekeeping as tasks of runs: small files into large ones, old buckets into coarser ones, old versions and files
//! away.
//!
//! ```text
//!  due.rs: what would find something to do --+
//!  specs.rs: for each source a run that merges and one that
//!            deletes, and one to fold each view ----------> journal --> compact.rs  one merge each
//!                                                                       fold.rs     one commit
//!                                                                       vacuum.rs   views, master dataset
//!                                                                       trim.rs     sets of definitions
//! ```
//!
//! Guarantee: no answer changes. What is committed is committed under the lease and on exactly one predecessor, so a
//! task may be killed at any step and done again, and of a folding and a publication one is planned anew. No file is
//! deleted that the plan of a run at work reads. Memory: that of one task of a recompute, `batch.memory`; which task
//! waits for room, and for whom, is said in `workflow/src/room.rs`.
//! Not here: when it is due (`pace.rs` says how often it is asked, `interval/run.rs` asks); what is merged, folded or
//! deleted (`batch-layer`); journal and history of runs, which whoever leads keeps
//! short (`workflow/src/upkeep.rs`); runs of the realtime store, which the worker of their partition drops, since any
//! other writer of its index would take the partition from it.
//! Why a run of its own for each folding, for merges and for what is deleted: one that fails for good skips no other
//! task, and a folding is started no more by itself until definition or limits are others, as with recomputes.

mod compact;
mod due;
mod fold;
mod pace;
mod record;
mod specs;
mod trim;
mod vacuum;

pub(super) use compact::compact;
pub use due::{DueWork, due_housekeeping, due_work};
pub(super) use fold::fold;
pub use pace::HousekeepingPace;
pub use record::CleanRecord;
pub use specs::housekeeping_runs_of;
pub(super) use trim::trim;
pub(super) use vacuum::vacuum;
