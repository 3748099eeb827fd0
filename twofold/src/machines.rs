//! Machines that compute one group together: as a worker uses them, and as two commands run them.
//!
//! Guarantee: a build without them has the same functions, which say so.
//! Not here: what runs there (`ballista-engine`), which groups (`batch-layer`).

#[cfg(feature = "ballista")]
mod built;
#[cfg(not(feature = "ballista"))]
mod missing;

#[cfg(feature = "ballista")]
pub use built::{check_scheduler, engine, run_executor, run_scheduler};
#[cfg(not(feature = "ballista"))]
pub use missing::{check_scheduler, engine, run_executor, run_scheduler};
