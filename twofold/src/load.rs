//! Loading files: their events in pieces through the collector.
//!
//! ```text
//!  files, pipes --> unpack --> kind --> events --> chunks --> collector --> report
//!  (gzip, zstd, bzip2)   (JSON, CSV, Parquet, Arrow)  ^           |
//!                                                     +-----------+   429, 503, no answer: again, later
//! ```
//!
//! Guarantee: on return every event is stored, or counted in the report, or behind the place where the error says that
//! reading ended. An event is sent again only if the collector did not say what became of it; where that answer was
//! lost, an event may be stored twice, which counts once where the source names event ids. So loading is safe to repeat
//! for such sources; for others the report says that it is not, and how many events may count twice. Memory is bounded
//! whatever the size of a file.
//!
//! | what | file |
//! |---|---|
//! | which files are meant | `load/files.rs` |
//! | what a file is | `load/open.rs`, `load/compression.rs`, `load/kind.rs` |
//! | its events | `load/lines.rs`, `load/objects.rs`, `load/csv.rs`, `load/columns.rs` |
//! | sending, and when to give up | `load/run.rs`, `load/chunk.rs`, `load/bad_run.rs` |

mod bad_run;
pub mod chunk;
mod columns;
mod compression;
mod csv;
pub mod event;
mod files;
mod kind;
mod lines;
mod objects;
pub mod open;
pub(crate) mod progress;
mod report;
mod run;

pub use files::{Input, find_inputs};
pub use report::{FileReport, LoadReport};
pub use run::{LoadPlan, load_files};
