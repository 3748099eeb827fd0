//! Which version of the layout a lake has: one small object below its root, for everything that all crates store there.
//!
//! ```text
//!  <root>/format.json   {"format":1}
//! ```
//!
//! | format | what it may hold beside what the one before holds |
//! |---|---|
//! | 1 | |
//! | 2 | imported files, which master datasets name in their facts; views with folded buckets |
//!
//! Guarantee: a lake that a later version has written is refused by both numbers, before anything in it is read or
//! changed. Who finds no note is the first here, or after a version that knew of no note, whose layout is the first.
//! A lake has the first format until something is put into it that older builds do not know: whoever does that raises
//! the number before.
//! Why one number: tables, facts and sequences change together, and a process that knows all but one of them would
//! start, and fail later.
//! Why not at once: until then an older build may open the lake again, so that an upgrade can be taken back.

use bytes::Bytes;
use object_store::UpdateVersion;
use serde::{Deserialize, Serialize};

use crate::store::Put;
use crate::{Lake, LakeError};

/// The last version of the layout that this build reads and writes: of tables and their facts, and of sequences. It
/// knows all before it.
pub const FORMAT: u32 = 2;

/// From this version on master datasets may hold imported files.
pub const FORMAT_WITH_IMPORTS: u32 = 2;

/// From this version on old buckets of views may be folded: a build that does not know it would count late events of
/// theirs twice.
pub const FORMAT_WITH_FOLDED: u32 = 2;

/// What a new lake has.
const FIRST: u32 = 1;

const NAME: &str = "format.json";

#[derive(Serialize, Deserialize)]
struct FormatNote {
    format: u32,
}

impl Lake {
    /// Makes sure that the lake has a layout that this build knows, and notes the first where nothing is noted.
    ///
    /// # Errors
    /// [`LakeError::Unusable`]: it has another one. [`LakeError::Corrupt`]: the note is damaged. Otherwise as
    /// [`Lake::get`] and [`Lake::put_once`].
    pub async fn check_format(&self) -> Result<(), LakeError> {
        if self.has_format().await? {
            return Ok(());
        }
        let put = self.put_once(&self.path(NAME), note(FIRST)).await;
        // Somebody may have raised it in between.
        if put.is_err() && self.has_format().await? { Ok(()) } else { put }
    }

    /// Notes that the lake has the layout `format` from now on, or a later one: call it before anything is stored that
    /// older builds do not know. Processes of these that run already are not told.
    ///
    /// # Errors
    /// As [`Self::check_format`]; then nothing may be stored that asks for it.
    pub async fn raise_format(&self, format: u32) -> Result<(), LakeError> {
        loop {
            let found = self.find_note().await?;
            if found.as_ref().is_some_and(|(noted, _)| *noted >= format) {
                return Ok(());
            }
            let seen = found.map(|(_, version)| version);
            // Where another one came first, it may have noted a later one.
            if self.replace(&self.path(NAME), seen.as_ref(), note(format)).await? == Put::New {
                return Ok(());
            }
        }
    }

    /// Whether a layout is noted, which then is one that this build knows. Changes nothing.
    ///
    /// # Errors
    /// As [`Self::check_format`].
    pub async fn has_format(&self) -> Result<bool, LakeError> {
        Ok(self.find_note().await?.is_some())
    }

    /// The layout that is noted, if any is, which this build knows, and what [`Self::replace`] knows the note by.
    async fn find_note(&self) -> Result<Option<(u32, UpdateVersion)>, LakeError> {
        let path = self.path(NAME);
        let Some((found, version)) = self.get_with_version(&path).await? else { return Ok(None) };
        let note: FormatNote = serde_json::from_slice(&found).map_err(|error| {
            let way_out = format!("put the text {{\"format\":{FORMAT}}} into it if this version wrote the lake");
            LakeError::corrupt(&path, format!("it should say the version of the layout: {error}; {way_out}"))
        })?;
        if (FIRST..=FORMAT).contains(&note.format) {
            return Ok(Some((note.format, version)));
        }
        let reason = format!(
            "{path} says that the lake has format {}, and this version knows formats {FIRST} to {FORMAT} only; run the \
             version that wrote it, or name another lake.location",
            note.format
        );
        Err(LakeError::Unusable { reason })
    }
}

fn note(format: u32) -> Bytes {
    Bytes::from(serde_json::to_vec(&FormatNote { format }).expect("one number always serialises"))
}
