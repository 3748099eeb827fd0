//! Everything that a process keeps, whoever in it makes the file.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::mode;
use crate::cli::check;
use crate::support::process::{Running, Setup, binary};

const PIPELINE: &str = "
CREATE UNBOUNDED EXTERNAL TABLE hits (id VARCHAR NOT NULL, time TIMESTAMP NOT NULL, page VARCHAR NOT NULL)
STORED AS JSON LOCATION 'kafka://hits' OPTIONS (event_time 'time', event_id 'id', gap '200ms', partitions '1');
CREATE MATERIALIZED VIEW by_page AS SELECT page, count(*) AS hits FROM hits GROUP BY page;
";

/// Everything below a folder, and the folder.
fn below(folder: &Path) -> Vec<PathBuf> {
    let (mut found, mut next) = (vec![folder.to_owned()], 0);
    while next < found.len() {
        if found[next].is_dir() {
            found.extend(std::fs::read_dir(&found[next]).unwrap().map(|entry| entry.unwrap().path()));
        }
        next += 1;
    }
    found
}

fn check_private(folder: &Path) {
    for path in below(folder) {
        let expected = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode(&path), expected, "{}: {:o}", path.display(), mode(&path));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_and_files_of_log_and_lake_are_for_their_user_alone() {
    let folder = tempfile::tempdir().unwrap();
    let elsewhere = folder.path().join("elsewhere");
    let setup = Setup::new(folder.path(), PIPELINE, Vec::new())
        .with("ARCHIVE__COMMIT_INTERVAL", "50ms")
        .with("BATCH__INTERVAL", "300ms");
    for (name, lake) in [("whole", ""), ("log-alone", elsewhere.to_str().unwrap())] {
        let setup = setup.beside(name).with("LAKE__LOCATION", lake);
        let running = Running::start(&setup).await;
        running.post("hits", &[r#"{"id":"1","time":"2026-01-05T10:00:00Z","page":"/"}"#]).await;
        running.wait_until_archived(1).await;
        assert!(running.terminate().success());
        check_private(&setup.data_dir);
        let held = below(&setup.data_dir);
        assert!(held.contains(&setup.data_dir.join("log")) && held.len() > 5, "{held:?}");
        assert_eq!(held.contains(&setup.data_dir.join("lake")), lake.is_empty(), "{held:?}");
    }
    check_private(&elsewhere);
    assert!(below(&elsewhere).len() > 5);
}

#[test]
fn a_link_is_refused_by_every_command_that_works_on_the_directory() {
    let folder = tempfile::tempdir().unwrap();
    let setup = Setup::new(folder.path(), PIPELINE, Vec::new());
    let target = folder.path().join("target");
    std::fs::create_dir(&target).unwrap();
    std::os::unix::fs::symlink(&target, &setup.data_dir).unwrap();
    for (command, code) in [(vec!["up"], 1), (vec!["doctor"], 1)] {
        let mut process = Command::new(binary());
        process.args(command).args(["--listen", "127.0.0.1:0"]).arg("--pipeline").arg(&setup.pipeline);
        process.arg("--data-dir").arg(&setup.data_dir).stdin(Stdio::null());
        check(&process.output().unwrap(), code, &["is a symbolic link", target.to_str().unwrap()]);
    }
    assert_eq!(std::fs::read_dir(&target).unwrap().count(), 0);
}
