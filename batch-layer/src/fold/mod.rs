//! Folding: old buckets of a view become coarser ones, hours days and days months, by merging their states.
//!
//! ```text
//!  view.rs        newest version --> choose.rs: how far, and which buckets --> merge.rs: states merged by the coarser
//!                                                                                        bucket and the dimensions
//!                                    one commit at the same cut  <-------------------------------+
//! ```
//!
//! In: the newest version of a view. Out: the next one, at the same cut, with the same holes and counters, and fewer
//! rows where no dimension tells its buckets apart; where one does, the rows are as many, in fewer and fuller files.
//! Guarantee: no answer changes but within the class of its measure: who asks merges all buckets of a group anyway. A
//! folding is committed on exactly the version that it read; killed at any step, or losing a race, it leaves files that
//! nobody sees. Nothing is ever unfolded, but by a view's next definition, which begins without.
//! Not here: when to fold (runs of the workflow do, former definitions that still answer, too), which buckets a
//! recompute replaces (`../grains.rs`).
//!
//! A bucket of a folded stretch is a bucket like any other: the unit that is replaced as a whole. That a version is
//! folded up to somewhere is one of its facts ([`serving_layer::Folded`]); every version that is published on it has
//! the same, and is computed by the same buckets, also in full. Hence:
//! - a late event of a folded month replaces that month, computed from all its events, and no hour of it;
//! - all copies of an event lie in one hour, so in one day and one month: the first of them counts, as ever;
//! - a range of buckets begins and ends at months there, and is refused otherwise, as within any bucket;
//! - erasing, also by age, computes everything anew from what is left, by the folded buckets;
//! - a former definition has versions of its own, which are folded by themselves: how far is no part of a definition;
//! - a plan of a recompute names the version that it is made on: once that is folded, the plan loses its race.
//!
//! Why so: the hours could be read from the master dataset again, but states are there, and are a fraction of it.

mod choose;
mod merge;
mod report;
mod view;

pub use choose::folded_by;
pub use report::report_folding;
pub use view::{FoldOutcome, Folding, bytes_to_fold, fold};
