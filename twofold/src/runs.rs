//! Runs as people and programs ask for them and see them: one shape for the terminal, HTTP, events and SQL.
//!
//! ```text
//!  asked.rs: names, range, limits --> RunRequest        state, signs of life --> view.rs --> JSON, tables, bars
//!                                                       groups of a backfill --> grid.rs --^
//!                                                       past runs --> rate.rs --> estimated time
//!                        RunRequest --> dry_run.rs: what would be computed, and what it costs
//!                      housekeeping --> dry_housekeeping.rs: what it would find to do
//! ```
//!
//! Guarantee: everything here is pure, but `buckets.rs`, which reads what a run has chosen, and `dry_run.rs` and
//! `dry_housekeeping.rs`, which look at tables.
//! Not here: what a request leads to (`workflow/specs.rs`), the commands (`commands/runs.rs`), the routes
//! (`runs_route.rs`).

pub mod asked;
pub mod buckets;
pub mod dry_housekeeping;
pub mod dry_run;
pub mod filter;
pub mod grid;
pub mod instant;
pub(crate) mod paused;
pub mod rate;
pub mod view;
pub mod word;
