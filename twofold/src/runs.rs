//! Runs as people and programs ask for them and see them: one shape for the terminal, HTTP, events and SQL.
//!
//! ```text
//!  asked.rs: names, range, limits --> RunRequest        state, signs of life --> view.rs --> JSON, tables, bars
//!                                                       groups of a backfill --> grid.rs --^
//!                                                       past runs --> rate.rs --> estimated time
//! ```
//!
//! Guarantee: everything here but `buckets.rs`, which reads what a run has chosen, is pure.
//! Not here: what a request leads to (`workflow/specs.rs`), the commands (`commands/runs.rs`), the routes
//! (`runs_route.rs`).

pub mod asked;
pub mod buckets;
pub mod grid;
pub mod instant;
pub mod rate;
pub mod view;
pub mod word;
