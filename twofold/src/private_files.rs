//! What this process keeps is for its user alone: folders 0700, files 0600, and no symbolic link in their place.
//!
//! Guarantee: a data directory that others may change, own, or have put a link into the place of is refused unchanged;
//! one that others may only read is closed to them. So nobody else can put a link into it later on.
//! Not here: what the directory holds (`data_dir.rs`).
//! Why the process gives up the rights of others as a whole (`umask`), and not each file: most files are made by
//! libraries (the embedded log's store, the object store of local folders), which ask nobody for a mode. Whatever a
//! command is asked to write for others goes to standard output, and the shell makes that file.

use std::fs::{DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rustix::fs::{Mode, OFlags};
use tracing::info;

/// What the user of the process may do with a folder, and nobody else.
const FOLDER_MODE: u32 = 0o700;
/// The same with a file.
const FILE_MODE: u32 = 0o600;
/// What others may do to a folder: read what it holds, or change it.
const OF_OTHERS: u32 = 0o077;
const CHANGES_OF_OTHERS: u32 = 0o022;

/// From now on, whatever this process makes is for its user alone.
pub fn give_up_rights_of_others() {
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
}

/// Makes the data directory where it is missing; changes nothing of one that is there.
///
/// # Errors
/// If it is a link, or others own it or may change what it holds; with the way out.
pub fn make_folder(root: &Path) -> Result<()> {
    refuse_linked_folder(root)?;
    let root: PathBuf = root.components().collect();
    let named = format!("data directory {}", root.display());
    DirBuilder::new()
        .recursive(true)
        .mode(FOLDER_MODE)
        .create(&root)
        .with_context(|| format!("cannot make {named}"))?;
    check_folder(&root, &named)
}

/// Refuses a data directory that is a link, whether or not anything is where it leads.
///
/// # Errors
/// If it is one, with where it leads.
pub fn refuse_linked_folder(root: &Path) -> Result<()> {
    // The system would follow a link that is named with a slash behind it.
    let root: PathBuf = root.components().collect();
    if std::fs::symlink_metadata(&root).is_ok_and(|found| found.is_symlink()) {
        let (named, target) = (root.display(), std::fs::read_link(&root).unwrap_or_default());
        bail!(
            "data directory {named} is a symbolic link, which is not followed: name the folder itself, {}",
            target.display()
        );
    }
    Ok(())
}

fn check_folder(root: &Path, named: &str) -> Result<()> {
    let found = look_at(root)?;
    let (owner, user) = (found.uid(), rustix::process::geteuid().as_raw());
    let inside = "or name a folder inside of it that is not there yet";
    if owner != user {
        bail!(
            "{named} belongs to user {owner}, and this process runs as user {user}: run it as its owner, give it the \
             folder (`chown -R {user} {0}`), {inside}",
            root.display()
        );
    }
    let mode = found.mode() & 0o777;
    let is_empty = || Ok::<_, io::Error>(std::fs::read_dir(root)?.next().is_none());
    if mode & CHANGES_OF_OTHERS != 0 && !is_empty().with_context(|| format!("cannot read {named}"))? {
        bail!(
            "{named} may be changed by others (mode {mode:03o}), who may have put files into it: look at what it holds, \
             then run `chmod 700 {0}`, {inside}",
            root.display()
        );
    }
    Ok(())
}

/// Closes a folder that is ours to those who could read it.
///
/// # Errors
/// If the file system refuses.
pub fn close_folder(root: &Path) -> Result<()> {
    let mode = look_at(root)?.mode() & 0o777;
    if mode & OF_OTHERS == 0 {
        return Ok(());
    }
    std::fs::set_permissions(root, Permissions::from_mode(FOLDER_MODE))
        .with_context(|| format!("cannot close {} to others", root.display()))?;
    info!(folder = %root.display(), before = format!("{mode:03o}"), "closed to other users (mode 700)");
    Ok(())
}

/// Refuses a link in the place of something that the data directory holds; `way_out` says what to do in its stead.
///
/// # Errors
/// If it is one.
pub fn refuse_link(path: &Path, way_out: &str) -> Result<()> {
    if std::fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink()) {
        bail!("{} is a symbolic link, which is not followed: {way_out}", path.display());
    }
    Ok(())
}

/// Refuses a link anywhere below a folder, which may be missing.
///
/// # Errors
/// If there is one.
pub fn refuse_links_below(folder: &Path) -> Result<()> {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        // What cannot be read leads nowhere; who needs it says why. Others may clean up meanwhile.
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries.map_while(Result::ok) {
            match entry.file_type() {
                Ok(found) if found.is_symlink() => bail!(
                    "{} is a symbolic link, which is not followed: put what it leads to in its place",
                    entry.path().display()
                ),
                Ok(found) if found.is_dir() => folders.push(entry.path()),
                _ => {}
            }
        }
    }
    Ok(())
}

/// Reads a text; a link in its place is an error.
///
/// # Errors
/// Those of the file system.
pub fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    options().read(true).open(path)?.read_to_string(&mut text)?;
    Ok(text)
}

/// Writes a file anew; a link in its place is an error.
///
/// # Errors
/// Those of the file system.
pub fn write_text(path: &Path, text: &str) -> io::Result<()> {
    make_file(path)?.write_all(text.as_bytes())
}

/// Makes a file, or empties the one that is there; a link in its place is an error.
///
/// # Errors
/// Those of the file system.
pub fn make_file(path: &Path) -> io::Result<File> {
    options().write(true).create(true).truncate(true).open(path)
}

/// Whether a folder is there, and closed to this user.
pub fn is_closed_to_us(folder: &Path) -> bool {
    std::fs::metadata(folder.join(".")).is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(FILE_MODE).custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
    options
}

fn look_at(root: &Path) -> Result<Metadata> {
    std::fs::symlink_metadata(root).with_context(|| format!("cannot look at {}", root.display()))
}
