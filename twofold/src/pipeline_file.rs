//! Reads a pipeline file and the static files it names, so that `views` stays free of IO.
//!
//! Guarantee: only files inside the folder of the pipeline file are read, also behind symbolic links.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use views::{Finding, MAX_STATIC_BYTES, Pipeline, PipelineError};

use crate::trial::try_pipeline;

/// Reads and plans a pipeline.
///
/// # Errors
/// [`PipelineError`] (as the source of the error) with everything that is wrong in the file; other errors where it
/// cannot be read.
pub fn read_pipeline(path: &Path) -> Result<Pipeline> {
    let sql = read_text(path).with_context(|| format!("cannot read pipeline file {}", path.display()))?;
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let named = Pipeline::static_files(&sql).map_err(|error| in_file(path, error))?;
    let mut files = BTreeMap::new();
    for location in named {
        // A file that is missing is a finding of the pipeline, told with its line beside all others.
        if let Some(bytes) = read_static_file(folder, &location)? {
            files.insert(location, bytes);
        }
    }
    Pipeline::read(&sql, &files).map_err(|error| in_file(path, error))
}

/// Reads and plans a pipeline, and runs its views over generated events: what passes can become the present
/// definitions.
///
/// # Errors
/// As [`read_pipeline`], and [`PipelineError`] with the views that cannot be run, or with what new definitions may not
/// have.
pub async fn read_runnable(path: &Path) -> Result<Pipeline> {
    let pipeline = read_pipeline(path)?;
    pipeline.check_new().map_err(|error| in_file(path, error))?;
    try_pipeline(&pipeline).await.map_err(|error| in_file(path, error))?;
    Ok(pipeline)
}

/// The text without the byte-order mark that editors on Windows put before it.
fn read_text(path: &Path) -> Result<String> {
    let text = String::from_utf8(std::fs::read(path)?)
        .map_err(|error| anyhow!("it is not UTF-8 at byte {}: save it as UTF-8", error.utf8_error().valid_up_to()))?;
    if let Some(at) = text.find('\0') {
        bail!("it is not a text file: byte {at} is zero");
    }
    Ok(text.strip_prefix('\u{feff}').map_or(text.clone(), str::to_owned))
}

fn in_file(path: &Path, error: PipelineError) -> anyhow::Error {
    let count = error.0.len();
    let noun = if count == 1 { "problem" } else { "problems" };
    anyhow!(error).context(format!("{}: {count} {noun}", path.display()))
}

fn read_static_file(folder: &Path, location: &str) -> Result<Option<Bytes>> {
    let folder = folder.canonicalize().with_context(|| format!("cannot resolve {}", folder.display()))?;
    let Ok(path) = folder.join(location).canonicalize() else { return Ok(None) };
    check_inside(&folder, &path, location)?;
    let bytes = read_limited(&path).with_context(|| format!("cannot read static file {}", path.display()))?;
    Ok(Some(Bytes::from(bytes)))
}

/// A byte more than is allowed is enough of a file: then it is a finding of the pipeline, too.
fn read_limited(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_STATIC_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn check_inside(folder: &Path, path: &Path, location: &str) -> Result<()> {
    if path.starts_with(folder) {
        return Ok(());
    }
    let finding = Finding {
        line: 1,
        text: location.to_owned(),
        message: "static file lies outside the folder of the pipeline file".to_owned(),
        hint: "put it beside the pipeline file".to_owned(),
    };
    Err(anyhow!(PipelineError(vec![finding])))
}
