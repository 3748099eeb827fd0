//! The batch layer over a log in memory and an object store in memory: every record archived once, and every batch
//! view equal to a fold over the log below its cut.

mod archive;
mod compaction;
mod dead;
mod dry_runs;
mod elsewhere;
mod erase;
mod faults;
mod fold;
mod headers;
mod hold;
mod housekeeping;
mod importing;
mod interval;
mod lost;
mod oracle;
mod parts;
mod reading;
mod recompute;
mod retention;
mod rewriting;
pub mod runs;
mod steps;
mod store;
mod unread;
mod unreadable;
mod unseen;
mod world;
