//! `twofold doctor`, and the words of stores that a start and it have in common.

mod command;
mod object_store;
mod services;
