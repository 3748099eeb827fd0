//! Where the real events are, and how they are read. They are not part of the project.

use std::io::Read;
use std::path::PathBuf;

use flate2::read::GzDecoder;
use serde_json::Value;

/// One event as it stands in the file, and as the oracle reads it.
#[derive(Clone, Debug)]
pub struct Event {
    /// The line, without its end.
    pub line: String,
    /// The same, parsed.
    pub json: Value,
}

impl Event {
    /// A string field; empty where it is null.
    pub fn text(&self, field: &str) -> &str {
        self.json[field].as_str().unwrap_or_default()
    }

    /// An integer field, or `None` where it is null.
    pub fn integer(&self, field: &str) -> Option<i64> {
        self.json[field].as_i64()
    }

    /// The hour of `time`, as answers write it.
    pub fn hour(&self) -> String {
        format!("{}:00:00Z", &self.text("time")[..13])
    }
}

/// Reads a file of the data folder: `TWOFOLD_TEST_DATA`, or `shared/data` beside the repository.
///
/// `None` where there is no such folder: the caller says that it skips. In CI a missing folder is a failure.
pub fn read(file: &str) -> Option<Vec<Event>> {
    let folder = std::env::var_os("TWOFOLD_TEST_DATA")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"), PathBuf::from);
    let path = folder.join(file);
    if !path.exists() {
        assert!(std::env::var_os("CI").is_none(), "{} is missing", path.display());
        eprintln!("skipped: {} is missing; set TWOFOLD_TEST_DATA", path.display());
        return None;
    }
    let mut text = String::new();
    GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    let event = |line: &str| Event { line: line.to_owned(), json: serde_json::from_str(line).unwrap() };
    Some(text.lines().map(event).collect())
}
