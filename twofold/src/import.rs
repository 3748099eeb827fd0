//! Importing files: whole ones, straight into the master dataset of a source, without collector and log.
//!
//! ```text
//!  paths, patterns, s3://, Delta tables --> files --> in already? --> portions --> batch_layer::import --> commit
//!                                                     (identity)     (load/)
//! ```
//!
//! Guarantee: on return every file is in, was in before, or is named with the reason why it is not. What is in stays in
//! if the command is killed; called again, it goes on behind that.
//! **Identity**: of a file on a disk the hash of its bytes, so that a copy of it, or one of another name, is known; of
//! an object its URL, size and entity tag, so that nothing has to be fetched to know it; of a file of a Delta table
//! the table's id and the file's path in it, since such files never change.
//! Memory: the parts that are worked on (`batch_layer::import`). Objects are fetched to temporary files, one at a time.
//!
//! | what | file |
//! |---|---|
//! | a file, and which ones are meant | `import/file.rs`, `import/files.rs`, `import/objects.rs`, `import/delta.rs`, `import/delta_log.rs` |
//! | what tells a file from others, and having it here | `import/fetch.rs` |
//! | its portions | `import/portions.rs`, and all of `load/` |
//! | the loop, and what is told of it | `import/run.rs`, `import/report.rs` |

mod delta;
mod delta_log;
mod fetch;
mod file;
mod files;
mod objects;
mod portions;
mod report;
mod run;

pub use file::{ImportFile, Place};
pub use files::find_files;
pub use report::{ImportReport, Outcome};
pub use run::{ImportPlan, import_files};
