//! Loading a file: JSON lines in chunks through the collector.
//!
//! ```text
//!  file (plain, gzip) --> chunks of lines --> collector --> report
//!                              ^                 |
//!                              +-- not stored ---+   429, 503, no answer: again, later
//! ```
//!
//! Guarantee: on return every line is stored, or named in the report, also where loading ended early. A line is sent
//! again only if the collector did not say what became of it; where that answer was lost, a line may be stored twice,
//! which counts once where the source names event ids. So loading is safe to repeat for such sources; for others the
//! report says that it is not, and how many lines may count twice.

mod chunk;
pub mod lines;
mod run;

pub use chunk::{LoadReport, Pending};
pub use run::{LoadPlan, load_file};
