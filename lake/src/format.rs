//! Which version of the layout a lake has: one small object below its root, for everything that all crates store there.
//!
//! ```text
//!  <root>/format.json   {"format":1}
//! ```
//!
//! Guarantee: a lake that a later version has written is refused by both numbers, before anything in it is read or
//! changed. Who finds no note is the first here, or after a version that knew of no note, whose layout is the first.
//! Why one number: tables, facts and sequences change together, and a process that knows all but one of them would
//! start, and fail later.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{Lake, LakeError};

/// The version of the layout that this build reads and writes: of tables and their facts, and of sequences.
pub const FORMAT: u32 = 1;

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
        let note = serde_json::to_vec(&FormatNote { format: FORMAT }).expect("one number always serialises");
        self.put_once(&self.path(NAME), Bytes::from(note)).await
    }

    /// Whether a layout is noted, which then is the one that this build knows. Changes nothing.
    ///
    /// # Errors
    /// As [`Self::check_format`].
    pub async fn has_format(&self) -> Result<bool, LakeError> {
        let path = self.path(NAME);
        let Some(found) = self.get(&path).await? else { return Ok(false) };
        let note: FormatNote = serde_json::from_slice(&found).map_err(|error| {
            let way_out = format!("put the text {{\"format\":{FORMAT}}} into it if this version wrote the lake");
            LakeError::corrupt(&path, format!("it should say the version of the layout: {error}; {way_out}"))
        })?;
        if note.format == FORMAT {
            return Ok(true);
        }
        let reason = format!(
            "{path} says that the lake has format {}, and this version knows format {FORMAT} only; run the version \
             that wrote it, or name another lake.location",
            note.format
        );
        Err(LakeError::Unusable { reason })
    }
}
