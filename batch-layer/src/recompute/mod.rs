//! Recompute: batch views from the rows of the master dataset below a cut, in three steps that any process may take.
//!
//! ```text
//!  run.rs: all sources
//!     |
//!  source.rs: one source, all three steps in one process
//!     |
//!     +-- choose.rs    master snapshot --> ledger --> per view: previous version, cut     (next.rs, range.rs, task.rs)
//!     |                                               per cut:  touched hours, counters   (inputs.rs)
//!     |                                                         groups of buckets, a plan (groups.rs, plan.rs)
//!     +-- compute.rs   a group, or a part of one (parts.rs)
//!     |                        --> copies --> per view: states --> files                  (distinct/, master_rows.rs)
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
//! Before a start, views go through all of it over generated events (`trial.rs`). A version that was published is
//! held against the rows that it was made of by the same steps, up to the states (`verify.rs`); so is a single answer,
//! at its own cut and head (`at_head.rs`), and two definitions of a view against each other (`sample.rs`).
//! Not here: where a cut may lie (`positions::choose_cut`), which files a publication rewrites (`serving-layer`), who
//! takes which step (`source.rs` takes them all).
//! Why so: views that stand at the same cut share the search for copies, which costs as much as a view; and all copies
//! of an event lie in one bucket, so groups of buckets need nothing of each other.

mod at_head;
mod choose;
mod compute;
mod distinct;
mod groups;
mod inputs;
mod master_rows;
mod next;
mod open_plan;
mod parts;
mod plan;
mod progress;
mod publish;
mod range;
mod report;
mod run;
mod sample;
mod source;
mod task;
mod trial;
mod verify;

pub use at_head::{AnswerPlace, AtHead, CountedEvent, CountedEvents, RejectedPlaces};
pub use choose::{Chosen, News, look_for_news, plan_recompute};
pub use compute::Computed;
pub use distinct::{copies_of, keep_first_of};
pub use groups::BucketGroup;
pub use open_plan::OpenPlan;
pub use parts::GroupPart;
pub use plan::{Estimate, FailedByView, GroupOutput, PreviousVersion, RecomputePlan, ViewPlan};
pub use progress::{GroupProgress, ReadSoFar};
pub use range::{check_range, check_range_now};
pub use report::{report_failed_rows, report_recompute, report_round};
pub use run::run_round;
pub use sample::{Sampled, sample};
pub use source::recompute;
pub use task::{Mode, Outcome, RecomputeComponents, Round};
pub use trial::try_recompute;
pub use verify::{Verified, verify};
