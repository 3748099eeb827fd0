//! Recompute: batch views from the rows of the master dataset below a cut, in three steps that any process may take.
//!
//! ```text
//!  run.rs: when, and which sources
//!     |
//!  source.rs: one source, all three steps in one process
//!     |
//!     +-- choose.rs    master snapshot --> ledger --> per view: previous version, cut     (next.rs, range.rs, task.rs)
//!     |                                               per cut:  touched hours, counters   (inputs.rs)
//!     |                                                         groups of buckets, a plan (groups.rs, plan.rs)
//!     +-- compute.rs   a group --> copies --> per view: states --> files                  (distinct/, master_rows.rs)
//!     +-- publish.rs   files of all groups --> per view: one commit
//!     |
//!  report.rs: log and metrics
//! ```
//!
//! In: the newest master dataset and the newest version of each view. Out: one [`Outcome`] per view.
//! Guarantee: a published table is a function of (version of the master dataset, cut, definition), by the buckets that
//! the version before has (`../grains.rs`: old ones may be folded into coarser ones); `full` and `incremental` give
//! equal tables, and so do one group and many. Killed at any step, the old version stays. An error of one view does not
//! stop the others. A plan and what its groups gave are values of a few kilobytes: whoever has them goes on
//! ([`OpenPlan::open`]), and a plan is published once, however often somebody tries.
//! Former definitions that still answer are computed beside the round (`former.rs`).
//! Before a start, views go through all of it over generated events (`trial.rs`).
//! Not here: where a cut may lie (`positions::choose_cut`), which files a publication rewrites (`serving-layer`), who
//! takes which step (`source.rs` takes them all).
//! Why so: views that stand at the same cut share the search for copies, which costs as much as a view; and all copies
//! of an event lie in one bucket, so groups of buckets need nothing of each other.

mod choose;
mod compute;
mod distinct;
mod former;
mod groups;
mod inputs;
mod master_rows;
mod next;
mod open_plan;
mod plan;
mod progress;
mod publish;
mod range;
mod report;
mod run;
mod source;
mod task;
mod trial;

pub use choose::{Chosen, plan_recompute};
pub use compute::Computed;
pub(crate) use former::recompute_former;
pub use groups::BucketGroup;
pub use open_plan::OpenPlan;
pub use plan::{Estimate, FailedByView, GroupOutput, PreviousVersion, RecomputePlan, ViewPlan};
pub use progress::{GroupProgress, ReadSoFar};
pub use range::check_range;
pub use report::{report_failed_rows, report_round};
pub(crate) use run::Rounds;
pub use run::run_round;
pub use source::recompute;
pub use task::{Mode, Outcome, RecomputeComponents, Round};
pub use trial::try_recompute;
