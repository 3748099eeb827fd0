//! The data directory is for its user alone: what it is made as, what is refused, what is closed to others.

mod process;

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use twofold::data_dir::DataDir;

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// How a directory is refused.
fn refusal(path: &Path) -> String {
    format!("{:#}", DataDir::lock(path).unwrap_err())
}

#[test]
fn a_directory_and_its_files_are_made_for_their_user() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("new").join("data");
    let data_dir = DataDir::lock(&root).unwrap();
    data_dir.announce("https", "127.0.0.1:8443".parse().unwrap(), None).unwrap();
    assert_eq!(mode(&root), 0o700);
    for file in ["format.json", "lock", "run.json"] {
        assert_eq!(mode(&root.join(file)), 0o600, "{file}");
    }
    assert_eq!(data_dir.run_note().unwrap().url(), "https://127.0.0.1:8443");
}

#[test]
fn a_directory_that_others_may_read_is_closed_to_them() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("data");
    drop(DataDir::lock(&root).unwrap());
    for open in [0o755, 0o750, 0o711] {
        set_mode(&root, open);
        drop(DataDir::lock(&root).unwrap());
        assert_eq!(mode(&root), 0o700, "{open:o}");
    }
}

#[test]
fn a_directory_that_others_may_change_is_refused_unless_it_is_empty() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("data");
    fs::create_dir(&root).unwrap();
    set_mode(&root, 0o777);
    drop(DataDir::lock(&root).unwrap());
    assert_eq!(mode(&root), 0o700);
    for open in [0o777, 0o770, 0o775, 0o702] {
        set_mode(&root, open);
        let told = refusal(&root);
        let way_out = format!("run `chmod 700 {}`", root.display());
        assert!(told.contains("may be changed by others") && told.contains(&way_out), "{told}");
        assert_eq!(mode(&root), open, "it is left as it was");
    }
    set_mode(&root, 0o700);
    drop(DataDir::lock(&root).unwrap());
}

#[test]
fn a_foreign_folder_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("site");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("index.html"), "").unwrap();
    set_mode(&root, 0o755);
    assert!(refusal(&root).contains("was not made by twofold"));
    assert_eq!(mode(&root), 0o755);
}

#[test]
fn links_are_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let (root, link) = (folder.path().join("data"), folder.path().join("link"));
    drop(DataDir::lock(&root).unwrap());
    symlink(&root, &link).unwrap();
    for named in [link.clone(), link.join("")] {
        let told = refusal(&named);
        assert!(told.contains("is a symbolic link") && told.contains(root.to_str().unwrap()), "{told}");
    }
    let elsewhere = folder.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    for (part, way_out) in [
        ("lake", "`lake.location`"),
        ("lake.beside", "the folder itself"),
        ("log", "--data-dir"),
        ("run.json", "remove it"),
        ("last-run.json", "remove it"),
    ] {
        symlink(&elsewhere, root.join(part)).unwrap();
        let told = refusal(&root);
        assert!(told.contains("is a symbolic link") && told.contains(part) && told.contains(way_out), "{told}");
        fs::remove_file(root.join(part)).unwrap();
    }
    // However deep, and where they lead to nothing.
    for (part, target) in [("lake/edits/part-0.parquet", "none"), ("log/a/b", "elsewhere"), ("lake.beside/x", "data")] {
        let part = root.join(part);
        fs::create_dir_all(part.parent().unwrap()).unwrap();
        symlink(folder.path().join(target), &part).unwrap();
        let told = refusal(&root);
        assert!(told.contains("is a symbolic link") && told.contains(part.to_str().unwrap()), "{told}");
        fs::remove_file(&part).unwrap();
    }
    drop(DataDir::lock(&root).unwrap());
    // Where they lead to nothing, too: a file would be made there.
    for part in ["format.json", "lock"] {
        let _ = fs::remove_file(root.join(part));
        symlink(elsewhere.join("made"), root.join(part)).unwrap();
        assert!(refusal(&root).contains("is a symbolic link"));
        assert!(!elsewhere.join("made").exists());
        fs::remove_file(root.join(part)).unwrap();
    }
}
