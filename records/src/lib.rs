//! From bytes to rows, and the record of all rows: decoding, and the master dataset that keeps everything.
//!
//! ```text
//!  event log --> Record --> decode --> RecordBatch --+--> both layers
//!                                                    +--> master dataset (append, compact, read back)
//! ```
//!
//! Guarantee: what a record decodes to depends on the record and the source's definition alone; the master dataset
//! holds every record once, rejected ones with their reason.
//! Not here: the log itself (`event-log`), when to append and compact (`batch-layer`).

pub mod decode;
mod erased_list;
mod error;
pub mod imported_list;
mod in_place;
pub mod master;
pub mod registry;

pub use erased_list::ErasedList;
pub use error::RecordsError;
pub use in_place::in_place;
