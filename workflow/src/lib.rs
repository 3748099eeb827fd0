//! The workflow: runs of tasks that processes share, fenced by leases, rebuilt from a journal, watched while they run.
//!
//! ```text
//!  Workflow (start, pause, cancel, retry) --+
//!  Worker   (take, report) -----------------+--> Entry --> journal: a sequence --> fold --> State
//!  Leader   (expire, split, try again, due) +                                        |
//!     ^                                                                              |
//!     +------- signs of life and progress: one object of each process                +--> Overview, estimates
//! ```
//!
//! | file | owns |
//! |---|---|
//! | `spec.rs`, `entry.rs` | what is asked for; what the journal consists of |
//! | `state.rs`, `runs.rs`, `task.rs` | what the journal adds up to |
//! | `fold/` | how an entry changes it, or why it is refused; pure |
//! | `journal.rs`, `objects.rs` | reading and appending; what is too large for an entry |
//! | `worker.rs`, `choose.rs`, `room.rs`, `executor.rs`, `lease.rs` | tasks: taken, done, reported |
//! | `leader.rs`, `watched.rs`, `beat.rs`, `duties.rs`, `upkeep.rs` | leading: who is silent, what is due, what can go |
//! | `command.rs` | runs that a command does itself, in its own process |
//! | `handle.rs`, `estimate.rs` | commands and views, from any process |
//! | `schedule/` | which run is due, and which waits; pure |
//! | `run.rs` | the loops |
//!
//! Guarantee: each process that reads the journal up to a number has the same state. A task has at most one lease in
//! force, and what is reported counts only under it; a worker that was paused, and a leader that was replaced, are
//! refused when they come back. After a crash everything goes on from the journal. Nothing is decided by comparing
//! clocks: who is silent is judged by the monotonic clock of whoever watches. Which snapshot is old enough to delete
//! what it stands for is told by a clock and the store's times; where they differ, a reader begins anew, and no more.
//! Not here: what tasks do, which is behind [`Executor`]; that a result is published at most once is the rule of the
//! commit that publishes it, on exactly one predecessor: leases save work, and that rule keeps results right.

mod beat;
mod choose;
mod command;
mod config;
mod duties;
mod entry;
mod error;
mod estimate;
mod executor;
mod fold;
mod handle;
mod ids;
mod journal;
mod leader;
mod lease;
mod objects;
mod progress;
mod refused;
mod room;
mod run;
mod runs;
pub mod schedule;
mod slots;
mod spec;
mod start;
mod state;
mod task;
mod upkeep;
mod watched;
mod worker;

pub use beat::{AtWork, Beat};
pub use choose::{Abilities, choose_leases, choose_within};
pub use command::CommandRun;
pub use command::run::{CommandStart, begin_command};
pub use config::WorkflowSettings;
pub use duties::{Due, Duties};
pub use entry::{Change, Content, Entry, Failure, Planned, Work};
pub use error::WorkflowError;
pub use estimate::Advance;
pub use executor::{Assignment, Executor, TaskError, TaskOutput};
pub use handle::{Overview, Workflow};
pub use ids::{Epoch, RunId, TaskId, Token, WorkerId};
pub use leader::{Leader, Standing};
pub use lease::Lease;
pub use objects::{CHUNK_BYTES, MAX_INLINE_BYTES, MAX_VALUE_BYTES};
pub use progress::{Progress, Reached};
pub use refused::Refused;
pub use room::{MemoryLimit, Room};
pub use run::{WorkflowComponents, run_workflow};
pub use runs::{MAX_JOINED_KEYS, MAX_TASKS, Run, RunFailure, RunState};
pub use spec::{Priority, RunKind, RunMode, RunSpec, TaskKind, TaskPart, TaskSpec};
pub use start::{MAX_SPEC_BYTES, Start};
pub use state::{Leased, State};
pub use task::{Task, TaskCounts, TaskState};
pub use worker::Worker;
