//! A strict table in object storage: open at a version, list live files, commit on exactly one predecessor.
//!
//! ```text
//!  RecordBatch --> write_file --> DataFile --+
//!                                            +--> commit(on: &Snapshot, Change) --> Snapshot (version + 1) | Conflict
//!  facts (JSON) --> sidecar object ----------+
//! ```
//!
//! Guarantee: a commit succeeds only on the very snapshot it was computed from; a lost race leaves files without a
//! commit, which nobody sees. Facts are atomic with the commit that names them.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::catalog::TableProvider;
use datafusion::scalar::ScalarValue;
use object_store::ObjectStore;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A version of a table: 0 is its creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Version(pub i64);

/// By what the caller should do.
#[derive(Debug, thiserror::Error)]
pub enum LakeError {
    /// Another writer committed first: open the table again, decide again.
    #[error("table {table}: version {expected:?} is not the newest any more")]
    Conflict {
        /// The table.
        table: String,
        /// The version that the commit was computed on.
        expected: Version,
    },
}

/// An object store and the tables in it.
#[derive(Clone, Debug)]
pub struct Lake {}

/// One table.
#[derive(Clone, Debug)]
pub struct Table {}

/// One version of a table, as read: immutable.
#[derive(Clone, Debug)]
pub struct Snapshot {}

/// One live Parquet file of a snapshot, or one just written and not yet committed.
#[derive(Clone, Debug, PartialEq)]
pub struct DataFile {
    /// Relative to the table's folder.
    pub path: String,
    /// Size in bytes.
    pub size_bytes: u64,
    /// Rows in the file.
    pub rows: u64,
    /// Per top-level column of a plain type: least value, largest value, null count.
    pub bounds: std::collections::BTreeMap<String, (ScalarValue, ScalarValue, u64)>,
}

/// What a commit does to the live files.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// Files to add.
    pub add: Vec<DataFile>,
    /// Paths of live files to remove; a path that is not live refuses the commit.
    pub remove: Vec<String>,
    /// False for a rewrite that leaves the rows as they are (compaction).
    pub changes_data: bool,
}

impl Lake {
    /// Tables below `root` of an object store.
    pub fn new(store: Arc<dyn ObjectStore>, root: object_store::path::Path) -> Self {
        let _ = (store, root);
        todo!()
    }
    /// Puts an object twice under one name and expects the second to be refused.
    ///
    /// # Errors
    /// A store that ignores conditional puts must not be used.
    pub async fn probe_conditional_put(&self) -> Result<(), LakeError> {
        todo!()
    }
    /// The object store.
    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        todo!()
    }
    /// The full path of an object below the root.
    pub fn path(&self, relative: &str) -> object_store::path::Path {
        let _ = relative;
        todo!()
    }
    /// A table by its folder below the root. Does no IO.
    pub fn table(&self, folder: &str) -> Table {
        let _ = folder;
        todo!()
    }
    /// Names of the folders directly below `folder` (for finding tables). One listing.
    pub async fn folders(&self, folder: &str) -> Result<Vec<String>, LakeError> {
        let _ = folder;
        todo!()
    }
}

impl Table {
    /// Creates the table, empty, by one conditional put of version 0; opens it where it exists already.
    pub async fn create(&self, schema: SchemaRef) -> Result<Snapshot, LakeError> {
        let _ = schema;
        todo!()
    }
    /// The newest version, or `None` where there is no table.
    pub async fn open(&self) -> Result<Option<Snapshot>, LakeError> {
        todo!()
    }
    /// One version, or `None` where it does not exist (any more).
    pub async fn open_at(&self, version: Version) -> Result<Option<Snapshot>, LakeError> {
        let _ = version;
        todo!()
    }
    /// The newest version, reusing what `known` has read. Cheap where nothing is new.
    pub async fn refresh(&self, known: &Snapshot) -> Result<Snapshot, LakeError> {
        let _ = known;
        todo!()
    }
    /// Writes one Parquet file (zstd) that no reader sees before a commit names it. `name` is unique, drawn by the caller.
    /// Rows stay in the order given.
    pub async fn write_file(&self, name: &str, batches: &[RecordBatch]) -> Result<DataFile, LakeError> {
        let _ = (name, batches);
        todo!()
    }
    /// Commits on exactly `on`. `facts` become the facts of the new version; `nonce` is a random number that names
    /// the sidecar object.
    ///
    /// # Errors
    /// [`LakeError::Conflict`]: somebody else committed first; nothing was changed.
    pub async fn commit<F: Serialize + Sync>(
        &self,
        on: &Snapshot,
        change: Change,
        facts: &F,
        nonce: u128,
    ) -> Result<Snapshot, LakeError> {
        let _ = (on, change, facts, nonce);
        todo!()
    }
    /// Deletes data files and sidecars that no version newer than `oldest_kept` names and that are older than `grace`.
    pub async fn vacuum(&self, oldest_kept: Version, grace: std::time::Duration) -> Result<u64, LakeError> {
        let _ = (oldest_kept, grace);
        todo!()
    }
}

impl Snapshot {
    /// The version.
    pub fn version(&self) -> Version {
        todo!()
    }
    /// The table's schema, as given at its creation.
    pub fn schema(&self) -> SchemaRef {
        todo!()
    }
    /// The live files.
    pub fn files(&self) -> &[DataFile] {
        todo!()
    }
    /// The facts of the commit that made this version; `None` for an empty new table.
    pub fn facts<F: DeserializeOwned>(&self) -> Result<Option<F>, LakeError> {
        todo!()
    }
    /// A scan over exactly `files` of this snapshot, with filter and projection pushed into Parquet.
    pub fn scan(&self, files: &[DataFile]) -> Result<Arc<dyn TableProvider>, LakeError> {
        let _ = files;
        todo!()
    }
    /// Reads exactly `files` into memory, in their order and row order.
    pub async fn read(&self, files: &[DataFile], columns: Option<&[&str]>) -> Result<Vec<RecordBatch>, LakeError> {
        let _ = (files, columns);
        todo!()
    }
}
