//! The query gateway on stores in memory: which version and runs it pins, what it answers, what it refuses.

mod browsers;
mod disguises;
mod filters;
mod fuzz;
mod gaps;
mod http;
mod idle;
mod local_days;
mod measure;
mod paging;
mod partitions;
mod pinning;
mod places;
mod publication;
mod refusals;
mod rows;
mod same;
mod spans;
mod sql;
mod sql_errors;
mod sql_limits;
mod sql_params;
mod sql_statements;
mod sql_totals;
mod world;
