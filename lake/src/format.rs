//! Which version of the layout a lake has: one small object below its root, for everything that all crates store there.
//!
//! ```text
//!  <root>/format.json   {"format":1}     2 from the first version of a view on that is folded
//! ```
//!
//! Guarantee: a lake that a later version has written is refused by both numbers, before anything in it is read or
//! changed. Who finds no note is the first here, or after a version that knew of no note, whose layout is the first.
//! Why a second number, and not from the start: who knows nothing of folded views would count late events of theirs
//! twice. Where none is folded, an earlier version finds nothing that it does not know, and may come back.
//! Why one number: tables, facts and sequences change together, and a process that knows all but one of them would
//! start, and fail later.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{Lake, LakeError};

/// The version of the layout that a new lake gets: of tables and their facts, and of sequences.
pub const FORMAT: u32 = 1;

/// The version of the layout of a lake with versions of views that are folded: the last one that this build knows.
pub const FOLDED_FORMAT: u32 = 2;

const NAME: &str = "format.json";

#[derive(Serialize, Deserialize)]
struct FormatNote {
    format: u32,
}

impl Lake {
    /// Makes sure that the lake has the layout that this build knows, and notes it where nothing is noted.
    ///
    /// # Errors
    /// [`LakeError::Unusable`]: it has another one. [`LakeError::Corrupt`]: the note is damaged. Otherwise as
    /// [`Lake::get`] and [`Lake::put_once`].
    pub async fn check_format(&self) -> Result<(), LakeError> {
        if self.has_format().await? {
            return Ok(());
        }
        self.put_once(&self.path(NAME), note(FORMAT)).await
    }

    /// Makes sure that no version that knows nothing of folded views opens the lake from now on: to be called before
    /// the first of them is published. Processes that run are not stopped by it.
    ///
    /// # Errors
    /// As [`Self::check_format`], and of [`Lake::put`].
    pub async fn note_folded(&self) -> Result<(), LakeError> {
        match self.noted_format().await? {
            Some(FOLDED_FORMAT) => Ok(()),
            _ => self.put(&self.path(NAME), note(FOLDED_FORMAT)).await,
        }
    }

    /// Whether a layout is noted, which then is one that this build knows. Changes nothing.
    ///
    /// # Errors
    /// As [`Self::check_format`].
    pub async fn has_format(&self) -> Result<bool, LakeError> {
        Ok(self.noted_format().await?.is_some())
    }

    async fn noted_format(&self) -> Result<Option<u32>, LakeError> {
        let path = self.path(NAME);
        let Some(found) = self.get(&path).await? else { return Ok(None) };
        let note: FormatNote = serde_json::from_slice(&found).map_err(|error| {
            let way_out = format!(
                "put the text {{\"format\":{FORMAT}}} into it if this version wrote the lake, with \
                 {FOLDED_FORMAT} for {FORMAT} if `batch.fold_after` was ever set"
            );
            LakeError::corrupt(&path, format!("it should say the version of the layout: {error}; {way_out}"))
        })?;
        if (FORMAT..=FOLDED_FORMAT).contains(&note.format) {
            return Ok(Some(note.format));
        }
        let reason = format!(
            "{path} says that the lake has format {}, and this version knows formats {FORMAT} and {FOLDED_FORMAT}; \
             run the version that wrote it, or name another lake.location",
            note.format
        );
        Err(LakeError::Unusable { reason })
    }
}

fn note(format: u32) -> Bytes {
    Bytes::from(serde_json::to_vec(&FormatNote { format }).expect("one number always serialises"))
}
