//! The data directory: its format, its lock, and the note by which other commands find the running system.
//!
//! ```text
//!  <data-dir>/format.json   which version of the layout this is
//!             lock          held while a system runs on the directory
//!             run.json      address, process id and pipeline of that system
//!             last-run.json  that of the last system that ended in order: commands on what it left need its pipeline
//!             log/          the embedded log
//!             lake/         master dataset and batch views, unless they live in an object store
//!             lake.beside/  what a lake that is built again has to leave out
//! ```
//!
//! Guarantee: at most one system holds a directory; a directory of an unknown format is refused unread and unchanged.
//! It is for its user alone, and no symbolic link in it is followed (`private_files.rs`).
//! `batch run` works on the lake alone and takes no lock: the commit rule of the tables keeps it right.

use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::private_files::{
    close_folder, make_file, make_folder, read_text, refuse_link, refuse_linked_folder, refuse_links_below, write_text,
};

/// The note of the system that runs.
const RUN: &str = "run.json";
/// What becomes of it when the system ends.
const LAST_RUN: &str = "last-run.json";

/// What the directory holds, and what to do where a link would be wanted in its place.
const HELD: [(&str, &str); 7] = [
    ("format.json", "put the file itself there"),
    ("lock", "remove it"),
    (RUN, "remove it"),
    (LAST_RUN, "remove it"),
    ("log", "put the folder itself there, or mount its file system there; or name another --data-dir"),
    ("lake", "name the folder that it leads to in `lake.location`, and remove the link"),
    ("lake.beside", "put the folder itself there"),
];

/// The version of the layout that this binary reads and writes.
pub const FORMAT_VERSION: u32 = 2;

/// A data directory whose format was checked.
#[derive(Debug)]
pub struct DataDir {
    root: PathBuf,
    // Held, never read: the operating system gives the lock up when the process ends, however it ends.
    _lock: Option<File>,
}

/// What a running system tells about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunNote {
    /// `http` or `https`.
    #[serde(default = "plain")]
    pub scheme: String,
    /// Where collector and gateway listen.
    pub address: SocketAddr,
    /// The process.
    pub pid: u32,
    /// The version of the binary.
    pub version: String,
    /// The pipeline file it runs, as an absolute path; `None` where it was not read from a file.
    #[serde(default)]
    pub pipeline: Option<PathBuf>,
}

impl RunNote {
    /// The address as a URL without a slash at its end.
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }
}

/// The scheme of a note that names none: it is older than TLS.
fn plain() -> String {
    "http".to_owned()
}

/// No system ever ran on the directory that was named: a slip, since the command works on what one left there.
#[derive(Debug, thiserror::Error)]
#[error(
    "there is no data directory at {}: name that of the system with --data-dir, or start one with `twofold up`; nothing \
     was made", .root.display()
)]
pub struct NoDataDir {
    root: PathBuf,
}

#[derive(Debug, Serialize, Deserialize)]
struct FormatNote {
    format: u32,
}

impl DataDir {
    /// Finds the directory of a system for work beside it, and makes nothing. Where what the command works on is not
    /// kept in it (`is_needed`), it may be missing.
    ///
    /// # Errors
    /// [`NoDataDir`] where it is missing or empty. Refused where the format is unknown, or it cannot be read.
    pub fn find(root: &Path, is_needed: bool) -> Result<Self> {
        refuse_linked_folder(root)?;
        let is_there = match std::fs::read_dir(root) {
            Ok(mut entries) => entries.next().is_some(),
            Err(error) if error.kind() == ErrorKind::NotFound => false,
            Err(error) => return Err(error).with_context(|| format!("cannot read data directory {}", root.display())),
        };
        match (is_there, is_needed) {
            (true, _) => Self::open(root),
            (false, true) => Err(NoDataDir { root: root.to_owned() }.into()),
            (false, false) => Ok(Self { root: root.to_owned(), _lock: None }),
        }
    }

    /// Opens a directory for work on its lake alone, making it where it is missing, and closes it to others.
    ///
    /// # Errors
    /// Refused where the format is unknown, the directory cannot be written, it or a part of it is a symbolic link, or
    /// others own it or may change what it holds.
    pub fn open(root: &Path) -> Result<Self> {
        make_folder(root)?;
        HELD.iter().try_for_each(|(part, way_out)| refuse_link(&root.join(part), way_out))?;
        HELD.iter().try_for_each(|(part, _)| refuse_links_below(&root.join(part)))?;
        check_format(root)?;
        close_folder(root)?;
        let root = root.canonicalize().with_context(|| format!("cannot resolve data directory {}", root.display()))?;
        Ok(Self { root, _lock: None })
    }

    /// Opens a directory for a whole system and keeps every other system out.
    ///
    /// # Errors
    /// Refused while another process holds it, and as in [`Self::open`].
    pub fn lock(root: &Path) -> Result<Self> {
        let opened = Self::open(root)?;
        let path = opened.root.join("lock");
        let file = make_file(&path).with_context(|| format!("cannot write {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _lock: Some(file), ..opened }),
            Err(TryLockError::WouldBlock) => bail!(
                "data directory {} is in use by another process{}; stop it, or choose another --data-dir",
                opened.root.display(),
                read_run_note(&opened.root)
                    .map(|note| format!(" (pid {}, at {})", note.pid, note.url()))
                    .unwrap_or_default()
            ),
            Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
        }
    }

    /// The directory itself, as an absolute path.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the embedded log keeps its records.
    pub fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    /// Where tables live unless they are in an object store.
    pub fn lake(&self) -> PathBuf {
        self.root.join("lake")
    }

    /// Where the lake keeps what must outlive its tables.
    pub fn beside_lake(&self) -> PathBuf {
        self.root.join("lake.beside")
    }

    /// What the system tells that runs on this directory, or ran last.
    pub fn run_note(&self) -> Option<RunNote> {
        read_run_note(&self.root).or_else(|| read_note(&self.root.join(LAST_RUN)))
    }

    /// Tells other commands where this system listens. Atomic: a reader finds the old note or the new one.
    ///
    /// # Errors
    /// If the directory cannot be written.
    pub fn announce(&self, scheme: &str, address: SocketAddr, pipeline: Option<&Path>) -> Result<()> {
        let note = RunNote {
            scheme: scheme.to_owned(),
            address,
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            // JSON is UTF-8: a file of another name has to be named by whoever needs it.
            pipeline: pipeline.filter(|file| file.to_str().is_some()).map(Path::to_owned),
        };
        let text = serde_json::to_string(&note).expect("a note of plain fields and a path in UTF-8 always serialises");
        let (draft, path) = (self.root.join("run.json.new"), self.root.join(RUN));
        write_text(&draft, &text)
            .and_then(|()| std::fs::rename(&draft, &path))
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// Takes the note back, and leaves what it says of the pipeline. A note that is gone already is not an error.
    pub fn withdraw(&self) {
        let path = self.root.join(RUN);
        // That of a start which failed says nothing of one.
        let withdrawn = match read_run_note(&self.root).and_then(|note| note.pipeline) {
            Some(_) => std::fs::rename(&path, self.root.join(LAST_RUN)),
            None => std::fs::remove_file(&path),
        };
        if let Err(error) = withdrawn
            && error.kind() != ErrorKind::NotFound
        {
            tracing::warn!(%error, "could not remove run.json");
        }
    }
}

/// The note of the system that runs on `root`, if there is one; works on a directory that somebody else holds.
pub fn read_run_note(root: &Path) -> Option<RunNote> {
    read_note(&root.join(RUN))
}

fn read_note(path: &Path) -> Option<RunNote> {
    serde_json::from_str(&read_text(path).ok()?).ok()
}

fn check_format(root: &Path) -> Result<()> {
    let path = root.join("format.json");
    let text = match read_text(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return write_format(root, &path),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let Ok(note) = serde_json::from_str::<FormatNote>(&text) else {
        // A first start that ended in the middle left nothing else.
        let is_begun = text.trim().is_empty() && is_empty_but(root, &["format.json", "lock"])?;
        return if is_begun { put_format(root, &path) } else { bail!(damaged_format(&path, &text)) };
    };
    if note.format != FORMAT_VERSION {
        bail!(
            "data directory {} has format {}, this twofold {} knows format {FORMAT_VERSION} only; \
             use the version that wrote it, or another --data-dir",
            root.display(),
            note.format,
            env!("CARGO_PKG_VERSION"),
        );
    }
    Ok(())
}

/// A directory with foreign content is not made ours.
fn write_format(root: &Path, path: &Path) -> Result<()> {
    if !is_empty_but(root, &["format.json.new"])? {
        bail!(
            "data directory {} is not empty and holds no format.json: it was not made by twofold; choose another \
             --data-dir, or, if it is a system's that lost the file, write `{}` into it",
            root.display(),
            format_text(),
        );
    }
    put_format(root, path)
}

/// At once: a power cut leaves a whole file or none.
fn put_format(root: &Path, path: &Path) -> Result<()> {
    let draft = root.join("format.json.new");
    write_text(&draft, &format_text())
        .and_then(|()| std::fs::rename(&draft, path))
        .with_context(|| format!("cannot write {}", path.display()))
}

fn format_text() -> String {
    serde_json::to_string(&FormatNote { format: FORMAT_VERSION }).expect("one number always serialises")
}

fn is_empty_but(root: &Path, names: &[&str]) -> Result<bool> {
    let entries = std::fs::read_dir(root).with_context(|| format!("cannot read {}", root.display()))?;
    for entry in entries {
        let name = entry.with_context(|| format!("cannot read {}", root.display()))?.file_name();
        if !names.iter().any(|known| name == *known) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn damaged_format(path: &Path, text: &str) -> String {
    format!(
        "{} is damaged: it holds `{}`; if this version of twofold, or one of the same format, made the directory, write `{}` \
         into it, else restore it from a copy",
        path.display(),
        text.trim(),
        format_text(),
    )
}
