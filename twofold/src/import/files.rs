//! Which files are meant: paths and patterns as `load` takes them, objects by URL, and the files of Delta tables.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::file::{ImportFile, Place};
use super::{delta, objects};
use crate::config::LakeSection;
use crate::load::{Input, find_inputs};

/// The files of a command line, in its order, each once.
///
/// # Errors
/// Where nothing is found under a name, or a Delta table cannot be read.
pub async fn find_files(named: &[PathBuf], lake: &LakeSection) -> Result<Vec<ImportFile>> {
    let mut files = Vec::new();
    for name in named {
        match name.to_str().and_then(|text| text.strip_prefix("s3://")) {
            Some(rest) => files.extend(objects::find(rest, lake).await?),
            None if name.join(delta::LOG_FOLDER).is_dir() => files.extend(delta::find_on_disk(name).await?),
            None => files.extend(on_disk(name)?),
        }
    }
    // What two patterns mean is not to be read twice, by `--again` least of all.
    let mut seen = HashSet::new();
    files.retain(|file| seen.insert(file.name.clone()));
    Ok(files)
}

fn on_disk(name: &Path) -> Result<Vec<ImportFile>> {
    let mut files = Vec::new();
    for input in find_inputs(&[name.to_owned()])? {
        let Input::File(path) = input else {
            bail!(
                "standard input cannot be imported: nobody could tell whether it is in already; `twofold load` takes it"
            )
        };
        let path = path.canonicalize().with_context(|| format!("cannot open {}", path.display()))?;
        let facts = path.metadata().with_context(|| format!("cannot open {}", path.display()))?;
        if facts.is_dir() {
            bail!("{} is a directory: name its files, as in `{}`", path.display(), path.join("*").display());
        }
        if !facts.is_file() {
            bail!("{} is no file that can be read again; `twofold load` takes what comes once", path.display());
        }
        files.push(ImportFile {
            name: path.display().to_string(),
            place: Place::Disk(path),
            identity: None,
            size: Some(facts.len()),
            e_tag: None,
            constants: Vec::new(),
            table: None,
        });
    }
    Ok(files)
}
