//! Large groups of buckets on several machines, by Apache DataFusion Ballista.
//!
//! ```text
//!  worker: a group --> physical plan --client.rs--> scheduler --stages--> executors --> object store of the lake
//!             ^                                                               |
//!             +------------- rows of states, by bucket and key <--------------+
//!             +--> files, one commit (`batch-layer`, `serving-layer`)
//! ```
//!
//! | file | owns |
//! |---|---|
//! | `codec.rs` | plans as bytes: ours first, Ballista's behind a byte that says so |
//! | `functions.rs`, `parts.rs` | functions as bytes: what each is made of, not a name that several share |
//! | `slim.rs` | what a plan need not carry |
//! | `client.rs`, `job.rs`, `verdict.rs` | running a plan there, giving it up; whether an error may pass |
//! | `store.rs` | the one object store of an executor |
//! | `run.rs` | scheduler and executor |
//!
//! Guarantee: what runs is the plan that the worker made, with the same functions; nothing is planned once more by
//! statistics, and nothing of a plan is seen before the worker publishes it.
//! Not here: the journal, retries and commits, which stay with the worker (`workflow`, `batch-layer`): whichever
//! machine is lost, the worst is that a group is computed again.
//! Why plans and no SQL: both layers compute a view by one plan. A scheduler that planned again would be a third reader
//! of the same definition.

mod client;
mod codec;
mod config;
mod error;
mod functions;
mod job;
mod parts;
mod run;
mod slim;
mod store;
mod verdict;

pub use client::Cluster;
pub use codec::Codec;
pub use config::{ClusterSettings, ExecutorSettings, SchedulerSettings};
pub use error::ClusterError;
pub use run::{run_executor, run_scheduler};
pub use slim::without_statistics;
