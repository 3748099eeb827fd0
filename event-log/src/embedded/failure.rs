//! Why a write failed: because the disk is full, or for any other reason.
//!
//! In: the error of the engine, and how much was to be stored. Guarantee: a full disk is always said as full, whether
//! the operating system said so itself, a trial finds it out, or the engine died without a word where little room is
//! left.

use std::error::Error;
use std::io::ErrorKind;
use std::iter::successors;
use std::path::Path;

use tracing::{error, warn};

use super::disk_space::{find_little_room, find_shortage};
use crate::EventLogError;

/// Told to every record of a commit that failed.
pub(super) struct Failure {
    is_full: bool,
    reason: String,
}

impl Failure {
    /// Says why, and logs it.
    pub(super) fn explain(folder: &Path, doing: &str, error: &fjall::Error, bytes: usize) -> Self {
        let named =
            out_of_space(error).map(|error| format!("{bytes} bytes do not fit into {}: {error}", folder.display()));
        // A dead engine tells no reason: mostly a flush that did not fit, whose files are gone again by now.
        let little = || matches!(error, fjall::Error::Poisoned).then(|| find_little_room(folder, bytes as u64))?;
        match named.or_else(|| find_shortage(folder, bytes)).or_else(little) {
            Some(reason) => {
                warn!(reason, "the embedded log is full");
                Self::full(reason)
            }
            None => {
                error!(%error, "the embedded log failed to {doing}");
                Self { is_full: false, reason: format!("the embedded log failed to {doing}: {error}") }
            }
        }
    }

    /// Nothing fits until somebody makes room.
    pub(super) fn full(reason: String) -> Self {
        Self { is_full: true, reason }
    }

    pub(super) fn reason(&self) -> &str {
        &self.reason
    }

    pub(super) fn error(&self) -> EventLogError {
        let reason = self.reason.clone();
        if self.is_full { EventLogError::Full(reason) } else { EventLogError::Unreachable(reason) }
    }
}

/// What the operating system said of a full disk, however deep it lies in the error.
pub(super) fn out_of_space(error: &fjall::Error) -> Option<&std::io::Error> {
    let chain = successors(Some(error as &(dyn Error + 'static)), |error| (*error).source());
    let mut said = chain.filter_map(|error| error.downcast_ref::<std::io::Error>());
    said.find(|error| {
        matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge)
    })
}
