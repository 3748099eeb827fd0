//! What the files of tests hold, as it is written there; and the files that they name.
//!
//! Guarantee: only files inside the folder of the pipeline are read, also behind symbolic links, and no more of each
//! than [`MAX_FILE_BYTES`].

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use toml::Spanned;

/// The largest file of tests, events or rows.
pub const MAX_FILE_BYTES: u64 = 16 << 20;

/// A file of tests.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileText {
    #[serde(default)]
    pub test: Vec<Spanned<TestText>>,
}

/// `[[test]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TestText {
    pub name: String,
    pub view: String,
    #[serde(default)]
    pub keep_order: bool,
    #[serde(default)]
    pub given: Vec<GivenText>,
    pub expect: ExpectText,
}

/// `[[test.given]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GivenText {
    pub events: Option<String>,
    pub file: Option<String>,
    pub arrive: Option<String>,
}

/// `[test.expect]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExpectText {
    pub rows: Option<String>,
    pub file: Option<String>,
    pub rejected: Option<u64>,
    pub late: Option<u64>,
    pub copies: Option<u64>,
    #[serde(default)]
    pub tolerance: BTreeMap<String, f64>,
}

/// Where the files of a test are looked for.
#[derive(Clone, Debug)]
pub(super) struct Folders {
    /// That of the file of tests, from which others are named.
    pub of_tests: PathBuf,
    /// That of the pipeline, which holds them all.
    pub of_pipeline: PathBuf,
}

impl Folders {
    /// The text that stands in place, or in the file that is named instead of it.
    pub fn text(&self, inline: Option<&str>, file: Option<&str>, what: &str) -> Result<Option<String>> {
        match (inline, file) {
            (Some(_), Some(_)) => anyhow::bail!("`{what}` and `file` exclude each other: write one of them"),
            (Some(text), None) => Ok(Some(text.to_owned())),
            (None, Some(name)) => self.read(name).map(Some),
            (None, None) => Ok(None),
        }
    }

    fn read(&self, name: &str) -> Result<String> {
        let path = self.of_tests.join(name);
        let real = path.canonicalize().with_context(|| format!("cannot find file {}", path.display()))?;
        let root = self.of_pipeline.canonicalize();
        let root = root.with_context(|| format!("cannot resolve {}", self.of_pipeline.display()))?;
        ensure!(
            real.starts_with(&root),
            "file {} lies outside the folder of the pipeline: put it beside the tests",
            path.display()
        );
        read_limited(&real)
    }
}

/// The text of a file, which is UTF-8 and not too large.
pub(super) fn read_limited(path: &Path) -> Result<String> {
    let mut bytes = Vec::new();
    let file = File::open(path).with_context(|| format!("cannot read file {}", path.display()))?;
    let read = file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes);
    read.with_context(|| format!("cannot read file {}", path.display()))?;
    ensure!(bytes.len() as u64 <= MAX_FILE_BYTES, "file {} has more than {MAX_FILE_BYTES} bytes", path.display());
    let text = String::from_utf8(bytes);
    text.with_context(|| format!("file {} is not UTF-8: save it as UTF-8", path.display()))
}
