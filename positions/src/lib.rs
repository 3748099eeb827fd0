//! The law's arithmetic: ids, positions, lives, cuts, borders, runs, tiling, copies, tokens; and that of time: the
//! calendar, spans.
//!
//! ```text
//!  log:      |0 ------------- cut C ------------- head H)
//!  answer:   [ batch states  ](+)[ runs that tile ]
//! ```
//!
//! Guarantee: everything here is pure. No IO, no clock, no randomness of its own: callers pass instants and ids in.
//! Why so: the same decisions run in production, in the property tests and under a simulated scheduler; and without the
//! query engine beside them their tests build and run in seconds.

mod backoff;
mod border;
pub mod calendar;
mod content;
mod copies;
mod counters;
mod cut;
mod erased;
mod hole;
mod ids;
mod index;
mod life;
mod offset_set;
mod position;
mod seams;
mod span;
mod start;
mod tile;
mod token;

pub use backoff::Backoff;
pub use border::{BorderRule, RecordMark, Stretch, split_at_borders};
pub use content::ContentHash;
pub use copies::{CopyWindow, event_key, is_copy};
pub use counters::Counters;
pub use cut::{Archived, choose_cut};
pub use erased::{Erased, ErasedItems, ErasedRecord, Stone};
pub use hole::Hole;
pub use ids::{
    DefinitionHash, DefinitionNumber, EventKey, Fingerprint, Incarnation, IndexStamp, Offset, PartitionId, RecomputeId,
    RunId, SchemaId, SourceName, TimestampMicros, ViewName, micros,
};
pub use index::{Index, IndexRefusal, Run, RunView, are_mergeable, choose_merge};
pub use life::{Life, LifeStart};
pub use offset_set::OffsetSet;
pub use position::{Capped, Cut, MAX_RAISE, Position, fingerprint, is_plausible, running_max};
pub use seams::{Clock, CurrentDefinitions, IdSource};
pub use span::{SPAN_EXAMPLES, SpanError, format_span, parse_span};
pub use start::{Start, choose_start};
pub use tile::{Tiling, TilingGap, tile, tile_between, tile_held};
pub use token::{BadToken, PositionToken};
