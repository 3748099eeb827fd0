//! Erasing: events of a source out of everything that the layers store of it. An operator asks for it, by
//! `twofold erase`.
//!
//! ```text
//!  search.rs   which events: a condition on rows, a text in rejected records          (nothing is changed)
//!      |
//!  list        what is erased is put on the list: from now on whoever reads the log leaves it out
//!      |
//!  raw.rs      files of the master dataset rewritten: rejected rows with a stone for their payload
//!  run.rs      views computed anew from that; their former states are gone
//!  purge.rs    former versions, their logs and files; what was left of compactions
//!              realtime views forgotten: speed workers begin again from the batch views, in kappa mode from the first
//!              record
//! ```
//!
//! In: what is wanted. Out: what was found, or what was done.
//! Guarantee: each step brings one store into line with the whole list, so that a call after a kill, or a second one,
//! goes on and finds nothing to do in the end. A row keeps its place, its timestamp and the fingerprint of its record:
//! no position, cut or border moves. The law holds for what is left, since both layers then read the same: the copy of
//! an erased event counts if it is not erased itself, and an event that comes later counts, whatever it is of.
//! Not here: what is left of a record (`records::decode`), the embedded log (`event-log`), the command and its words
//! (`twofold`).
//! Why the archive runs first: what is in the log when the command begins is in the master dataset then, which alone is
//! searched.

mod components;
mod purge;
mod raw;
mod run;
mod search;

pub use components::{Done, EraseComponents, Found, Wanted};
pub(crate) use purge::folder_name;
pub use run::{archive_to_end, erase};
pub use search::search;
