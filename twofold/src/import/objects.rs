//! Objects in buckets of the store that the lake is in: `s3://bucket/key`, `s3://bucket/folder/*.parquet`, and Delta
//! tables.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use futures::TryStreamExt;
use glob::{MatchOptions, Pattern};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};

use super::delta;
use super::file::{ImportFile, Place};
use crate::config::LakeSection;
use crate::wiring::open_bucket;

/// Letters that make a key a pattern.
const WILD: [char; 3] = ['*', '?', '['];

/// The objects that `bucket/key` means.
///
/// # Errors
/// If there is none, or the store cannot be asked.
pub async fn find(rest: &str, lake: &LakeSection) -> Result<Vec<ImportFile>> {
    let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
    let store = open_bucket(lake, bucket).with_context(|| format!("cannot read s3://{rest}"))?;
    let url = |path: &Path| format!("s3://{bucket}/{path}");
    if key.contains(WILD) {
        return matching(&store, bucket, key).await;
    }
    let path = Path::from(key);
    match store.head(&path).await {
        Ok(object) => return Ok(vec![file_of(&store, url(&path), object)]),
        Err(object_store::Error::NotFound { .. }) => {}
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", url(&path))),
    }
    let log = store.list(Some(&path.clone().join(delta::LOG_FOLDER))).try_next().await;
    if log.with_context(|| format!("cannot list {}", url(&path)))?.is_none() {
        bail!("there is no object {}, and no Delta table; a folder is named as in `{}/*`", url(&path), url(&path));
    }
    delta::find_in_bucket(store, path.clone(), url(&path)).await
}

async fn matching(store: &Arc<dyn ObjectStore>, bucket: &str, key: &str) -> Result<Vec<ImportFile>> {
    let pattern = Pattern::new(key).with_context(|| format!("`{key}` is not a pattern"))?;
    // As in a shell, `*` does not lead into folders.
    let options =
        MatchOptions { require_literal_separator: true, require_literal_leading_dot: true, ..MatchOptions::new() };
    let start = key.split(WILD).next().unwrap_or_default();
    let folder = start.rsplit_once('/').map(|(folder, _)| Path::from(folder));
    let objects: Vec<ObjectMeta> = store
        .list(folder.as_ref())
        .try_collect()
        .await
        .with_context(|| format!("cannot list s3://{bucket}/{start}"))?;
    let mut files: Vec<ImportFile> = objects
        .into_iter()
        .filter(|object| pattern.matches_with(object.location.as_ref(), options))
        .map(|object| file_of(store, format!("s3://{bucket}/{}", object.location), object))
        .collect();
    files.sort_by(|one, other| one.name.cmp(&other.name));
    if files.is_empty() {
        bail!("no object matches `s3://{bucket}/{key}`");
    }
    Ok(files)
}

fn file_of(store: &Arc<dyn ObjectStore>, url: String, object: ObjectMeta) -> ImportFile {
    // A store without entity tags dates its objects.
    let version = object.e_tag.clone().unwrap_or_else(|| object.last_modified.to_rfc3339());
    ImportFile {
        identity: Some(format!("object {url} {} {version}", object.size)),
        name: url,
        size: Some(object.size),
        e_tag: object.e_tag,
        place: Place::Object(Arc::clone(store), object.location),
        constants: Vec::new(),
        table: None,
    }
}
