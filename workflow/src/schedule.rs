//! Schedules: which run is due, and what becomes of one that cannot start now.
//!
//! ```text
//!  cron expression, zone --+                       Memory (journal) --+
//!  every ------------------+--> Timing --+                            v
//!  views, overlap, ... ------------------+--> Schedule --> decide(.., look, running) --> decisions
//!                                                             ^                              |
//!                                                             +------- Memory::apply <-------+
//! ```
//!
//! Guarantee: pure; the same schedules, memory, instant and runs give the same decisions, on whichever process. A
//! decision counts once it is applied to the memory, which is to be one entry of the journal together with the run that
//! it starts: so an occurrence starts one run however often its leader dies. Wall time only says which occurrence is
//! due: a clock that stands an hour back delays starts by an hour, and one that jumped ahead and back starts nothing
//! twice.
//! Not here: what a run is, and who may start one; how settings are written (`twofold/src/config/schedules.rs`).

mod cron;
mod decide;
mod memory;
mod plan;
mod timing;

pub use cron::{CronError, CronExpression};
pub use decide::{Look, RunningOf, decide};
pub use memory::{Decision, Kept, Memory, SkipReason, Start, WaitReason, Waiting};
pub use plan::{Overlap, Rules, Schedule, ScheduleName, Target};
pub use timing::{Timing, UnknownZone, parse_zone, zone_names};
