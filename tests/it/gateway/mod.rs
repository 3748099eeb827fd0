//! The query gateway on stores in memory: which version and runs it pins, what it answers, what it refuses.

mod fuzz;
mod http;
mod idle;
mod partitions;
mod pinning;
mod publication;
mod refusals;
mod rows;
mod spans;
mod sql;
mod sql_limits;
mod world;
