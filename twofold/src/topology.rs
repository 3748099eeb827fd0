//! What should run in this process, what runs, and the difference.
//!
//! ```text
//!  definitions, roles --plan.rs--> duties that should run --+
//!                                                           +--> steps: stop, start, change --run.rs--> tasks
//!                                  duties that run ---------+
//! ```
//!
//! A *duty* is what one stage does for one source (gateway and runs: for all of them; the speed layer also for each
//! view that has a generation of its own). It is stopped and started alone: the duties of a source whose definition,
//! views included, did not change are not touched.
//!
//! Guarantee: what stops does so in the direction of the data, so that what was accepted is committed where it goes;
//! what starts lets events in last. Nothing depends on a step having been taken: after a failure the next difference
//! holds what is left to do, and after a kill the stores say where each duty goes on.
//! Not here: tasks and their deadlines (`crate::run`), what they share (`crate::wiring`).

mod plan;
pub mod run;
mod running;
mod speed;
mod tasks;
pub(crate) mod topics;

pub use plan::{Difference, Duties, Duty, DutyStart, Subject, desired_duties, difference};
