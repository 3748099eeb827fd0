//! The law (ARCHITECTURE.md), on definitions: merging the states of any split of the events, in any tree, and
//! finishing the result equals the engine's direct answer, by the class of each measure.

pub mod cases;
mod columns;
mod compare;
mod events;
mod failed_rows;
mod failures;
mod float_keys;
mod frequent;
mod items;
mod json;
mod phases;
mod plans;
mod running;
mod sent;
mod sketches;
mod states;
