//! The law, aggregate by aggregate: each one of the catalogue, with DISTINCT and without, by key and in total, over
//! parts in any number and order, equals an answer computed from the rows by other code. And what is around it: the
//! page that the catalogue is printed on, the same aggregates in a query, panics.

mod call;
mod calls;
mod oracle;
mod page;
mod panics;
mod picks;
mod rows;
mod sessions;
mod totals;
mod visits;
