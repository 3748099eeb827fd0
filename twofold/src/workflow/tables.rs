//! What was found of the tables of this process last, for its status.
//!
//! Not here: the loop that looks (`tables/run.rs`), what it looks for (`batch_layer::look_after`).

pub mod run;

use std::sync::{Mutex, PoisonError};

use batch_layer::FoundTables;

/// See the module.
#[derive(Debug, Default)]
pub struct Tables {
    // Replaced by the loop that looks, copied by who gathers the status.
    found: Mutex<FoundTables>,
}

impl Tables {
    /// Notes what was found.
    pub fn note(&self, found: FoundTables) {
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = found;
    }

    /// What was found last; nothing before the first look.
    pub fn found(&self) -> FoundTables {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
