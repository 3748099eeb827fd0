//! Recompute: batch views from the rows of the master dataset below a cut.
//!
//! ```text
//!  run.rs: when, and which sources
//!     |
//!  source.rs: one source    master snapshot --> ledger --> per view: previous version, cut      (task.rs)
//!                                                          per cut:  touched hours, copies,
//!                                                                    counters                   (inputs.rs, distinct/)
//!                                                          per view: states --> one commit      (publish.rs)
//! ```
//!
//! In: the newest master dataset and the newest version of each view. Out: one [`Outcome`] per view.
//! Guarantee: a published table is a function of (version of the master dataset, cut, definition); `full` and
//! `incremental` give equal tables. Killed at any step, the old version stays. An error of one view does not stop the
//! others.
//! Former definitions that still answer are computed beside the round (`former.rs`).
//! Before a start, views go through all of it over generated events (`trial.rs`).
//! Not here: where a cut may lie (`positions::choose_cut`), which files hold the rows (`master_rows.rs`).
//! Why so: views that stand at the same cut share the search for copies, which costs as much as a view.

mod distinct;
mod former;
mod inputs;
mod master_rows;
mod publish;
mod run;
mod source;
mod task;
mod trial;

pub(crate) use former::recompute_former;
pub(crate) use run::Rounds;
pub use run::run_round;
pub use source::{RecomputeComponents, recompute};
pub use task::{Mode, Outcome, Round};
pub use trial::try_recompute;
