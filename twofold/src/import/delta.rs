//! The files of Delta tables that others wrote.

use std::path::Path as DiskPath;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::path::Path;

use super::delta_log::{LoggedFile, LoggedTable, read_log};
use super::file::{ImportFile, Place};

/// Where a table has its log.
pub const LOG_FOLDER: &str = "_delta_log";

/// The live files of a table in a folder.
///
/// # Errors
/// If the table cannot be read.
pub async fn find_on_disk(folder: &DiskPath) -> Result<Vec<ImportFile>> {
    let folder = folder.canonicalize().with_context(|| format!("cannot open {}", folder.display()))?;
    let name = folder.display().to_string();
    let store = LocalFileSystem::new_with_prefix(&folder).with_context(|| format!("cannot read {name}"))?;
    let table = read_log(&store, &Path::from(LOG_FOLDER)).await;
    let table = table.with_context(|| format!("cannot read {name} as a Delta table"))?;
    files_of(&table, &name, |path| Ok(Place::Disk(store.path_to_filesystem(&Path::from_url_path(path)?)?)))
}

/// The live files of a table in a bucket.
///
/// # Errors
/// As above.
pub async fn find_in_bucket(store: Arc<dyn ObjectStore>, folder: Path, url: String) -> Result<Vec<ImportFile>> {
    let table = read_log(store.as_ref(), &folder.clone().join(LOG_FOLDER)).await;
    let table = table.with_context(|| format!("cannot read {url} as a Delta table"))?;
    files_of(&table, &url, |path| {
        let inside = Path::from_url_path(path)?;
        Ok(Place::Object(Arc::clone(&store), Path::from_iter(folder.parts().chain(inside.parts()))))
    })
}

fn files_of(table: &LoggedTable, name: &str, place: impl Fn(&str) -> Result<Place>) -> Result<Vec<ImportFile>> {
    let mut files = Vec::new();
    for (path, file) in &table.files {
        ensure!(!path.contains("://"), "{name} has a file outside of its folder, {path}: name that one itself");
        let place = place(path).with_context(|| format!("{name} names a file that has no such place: {path}"))?;
        files.push(ImportFile {
            name: format!("{name}/{path}"),
            place,
            // A table never writes another file under a path that it had.
            identity: Some(format!("delta {}/{path}", table.id)),
            size: Some(file.size),
            e_tag: None,
            constants: constants(table, file),
            table: Some(format!("{name}/")),
        });
    }
    Ok(files)
}

fn constants(table: &LoggedTable, file: &LoggedFile) -> Vec<(String, Option<String>)> {
    let value = |name: &String| file.partition_values.get(name).cloned().flatten();
    table.partition_columns.iter().map(|name| (name.clone(), value(name))).collect()
}
