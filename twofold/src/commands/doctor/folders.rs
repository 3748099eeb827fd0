//! Checks of folders of this machine, none of which is made. A log that nobody holds is opened, as a start opens it.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use event_log::EventLog;
use event_log::embedded::{EmbeddedLog, EmbeddedSettings, FolderCheck};

use super::archived::{Archived, check_archived};
use super::findings::{Findings, Found};
use crate::config::quantity::format_size;
use crate::data_dir::{DataDir, NoDataDir};
use crate::wiring::open_embedded;

/// With less room than this the embedded log may fill the disk within minutes.
const LITTLE_ROOM_BYTES: u64 = 1 << 30;

/// The data directory, locked where there is one and nobody holds it; `None` where it cannot be used.
pub(super) fn check_data_dir(root: &Path, findings: &mut Findings) -> Option<DataDir> {
    let locked = match DataDir::find(root, true) {
        Ok(_) => DataDir::lock(root),
        Err(error) if error.is::<NoDataDir>() => {
            let found = check_absent(root);
            let is_usable = found.is_ok();
            findings.note("data directory", found);
            return if is_usable { DataDir::find(root, false).ok() } else { None };
        }
        Err(error) => Err(error),
    };
    match locked {
        Ok(data_dir) => {
            findings.note("data directory", Ok(Found::good(data_dir.root().display().to_string())));
            Some(data_dir)
        }
        Err(error) => {
            findings.note("data directory", Err(error));
            // Where it is only in use, what is in it can be looked at nevertheless.
            DataDir::find(root, false).ok()
        }
    }
}

/// Whether the folder that a start would make can be made.
pub(super) fn check_absent(folder: &Path) -> Result<Found> {
    let mut above = folder.ancestors().map(|path| if path.as_os_str().is_empty() { Path::new(".") } else { path });
    let above = above.find(|path| path.exists()).context("nothing above it exists")?;
    let doing = || format!("{} is not there, and cannot be made in {}", folder.display(), above.display());
    ensure!(above.is_dir(), "{}: that is no folder", doing());
    tempfile::tempfile_in(above).with_context(doing)?;
    Ok(Found::good(format!("{}: no data yet, the first start makes it", folder.display())))
}

/// The folder of the embedded log, where there is one, and what in it was archived.
pub(super) async fn check_embedded_log(
    settings: &EmbeddedSettings,
    data_dir: Option<&DataDir>,
    archived: &Archived,
    findings: &mut Findings,
) {
    let (found, log) = match open_log(settings, data_dir).await {
        Ok(opened) => opened,
        Err(error) => return findings.note("event log", Err(error)),
    };
    findings.note("event log", Ok(found));
    let topics = log.as_ref().map(EmbeddedLog::topics).unwrap_or_default();
    for (source, master) in archived {
        let log = log.clone().filter(|_| topics.contains(&source.topic));
        let log = log.map(|log| Arc::new(log) as Arc<dyn EventLog>);
        check_archived(log, source, master, findings).await;
    }
    if let Some(log) = log {
        log.close().await;
    }
}

/// Opens the log, where there is one. Its folder is not opened before it is known to be free: that would wait for
/// whoever holds it.
async fn open_log(settings: &EmbeddedSettings, data_dir: Option<&DataDir>) -> Result<(Found, Option<EmbeddedLog>)> {
    let data_dir = data_dir.context("its folder is in the data directory, which cannot be used")?;
    let settings = EmbeddedSettings { folder: data_dir.log(), ..settings.clone() };
    if !settings.folder.exists() {
        return Ok((check_absent(&settings.folder)?, None));
    }
    let FolderCheck { free_bytes, holds_log } = EmbeddedLog::check_folder(&settings)?;
    let log = if holds_log { Some(open_embedded(settings.clone()).await?) } else { None };
    let topics = log.as_ref().map_or(0, |log| log.topics().len());
    let (folder, free) = (settings.folder.display(), format_size(free_bytes >> 20 << 20));
    let told = format!("embedded, in {folder}, with {topics} topics; {free} are free there");
    if free_bytes >= LITTLE_ROOM_BYTES {
        return Ok((Found::good(told), log));
    }
    let limit = format_size(settings.max_bytes);
    let doubt = format!(
        "{told}, and it may grow to {limit}: make room, or lower `log.embedded_max_size` and `log.embedded_retention`"
    );
    Ok((Found::Doubt(doubt), log))
}
