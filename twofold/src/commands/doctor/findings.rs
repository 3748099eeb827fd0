//! What checks found, told as it is found.

use anyhow::{Result, bail};

use crate::console::say;

/// What a check found of a part that can be used.
pub(super) enum Found {
    /// It is as it should be.
    Good(String),
    /// It can be used, but.
    Doubt(String),
}

impl Found {
    pub(super) fn good(text: impl Into<String>) -> Self {
        Self::Good(text.into())
    }
}

/// The checks so far.
#[derive(Default)]
pub(super) struct Findings {
    failed: Vec<String>,
}

impl Findings {
    /// Tells of one check, in one line unless an error has several.
    pub(super) fn note(&mut self, part: &str, outcome: Result<Found>) {
        match outcome {
            Ok(Found::Good(found)) => say(&format!("ok    {part}: {found}\n")),
            Ok(Found::Doubt(doubt)) => say(&format!("WARN  {part}: {doubt}\n")),
            Err(error) => {
                say(&format!("FAIL  {part}: {}\n", lake::chain(&*error)));
                self.failed.push(part.to_owned());
            }
        }
    }

    /// # Errors
    /// If a part cannot be used: all of these by their names.
    pub(super) fn finish(mut self) -> Result<()> {
        self.failed.dedup();
        if self.failed.is_empty() { Ok(()) } else { bail!("cannot be used: {}", self.failed.join(", ")) }
    }
}
