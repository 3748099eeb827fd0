//! A file to be imported. Values.

use std::path::PathBuf;
use std::sync::Arc;

use object_store::ObjectStore;

/// Where the bytes of a file are.
#[derive(Clone, Debug)]
pub enum Place {
    /// On a disk.
    Disk(PathBuf),
    /// In a bucket.
    Object(Arc<dyn ObjectStore>, object_store::path::Path),
}

/// A file to be imported.
#[derive(Clone, Debug)]
pub struct ImportFile {
    /// What it is called: its full path, or its URL.
    pub name: String,
    /// Where its bytes are.
    pub place: Place,
    /// What tells it from others, where that is known without its bytes.
    pub identity: Option<String>,
    /// Its size, where that is known.
    pub size: Option<u64>,
    /// The entity tag of an object, where its store gave one.
    pub e_tag: Option<String>,
    /// Columns that its folder gives to every row, as text: those that a Delta table is partitioned by.
    pub constants: Vec<(String, Option<String>)>,
    /// The Delta table that it belongs to, as the names of its files begin.
    pub table: Option<String>,
}
