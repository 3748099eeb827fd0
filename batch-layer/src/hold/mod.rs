//! The hold: keeps processes from starting runs of what is due while a round by hand runs in another one.
//!
//! In: an object of the lake, put anew every few seconds by whoever holds. Out: whether a loop may start a round.
//! Guarantee: it saves work and decides nothing: who publishes is decided by the commit alone. A loop waits only while
//! it sees the object change; that of a holder who died is removed after [`PATIENCE`] on the loop's own clock, and no
//! clocks are compared.
//! Why so: a full recompute takes longer than the loop's interval, and lost race after race to rounds of what is new.

mod beat;
mod run;

pub use beat::{HoldWatch, PATIENCE};
pub use run::{hold_off, run_held_round};
