//! A version of a table as a value: its schema, its live files, its facts.
//!
//! In: actions, in the order of the log. Out: [`Snapshot`]. Guarantee: applying is pure and strict: what no writer of
//! ours can have written (a file added twice, a file removed that is not live) is reported as broken instead of being
//! counted twice or lost. What others commit moves none of our files (`foreign.rs`).
//! Why so: a snapshot holds plain values and no handle of a Delta library, so a process that lives for months keeps
//! one version's files in memory and nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use bytes::Bytes;
use object_store::path::Path;
use serde::de::DeserializeOwned;

use crate::action::{self, Action, Add};
use crate::foreign::{self, Foreign};
use crate::{Bounds, LakeError, Table, Version, schema, stats};

/// One live Parquet file of a snapshot, or one just written and not yet committed.
#[derive(Clone, Debug, PartialEq)]
pub struct DataFile {
    /// Relative to the table's folder.
    pub path: String,
    /// Size in bytes.
    pub size_bytes: u64,
    /// Rows in the file.
    pub rows: u64,
    /// Per top-level column of a plain type: least value, largest value, null count. See [`Bounds`].
    pub bounds: Arc<Bounds>,
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

/// One version of a table, as read: immutable, cheap to clone.
#[derive(Clone, Debug)]
pub struct Snapshot {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    table: Table,
    version: Version,
    state: State,
    facts: Option<Bytes>,
}

impl Snapshot {
    pub(crate) fn new(table: Table, version: Version, state: State, facts: Option<Bytes>) -> Self {
        Self { inner: Arc::new(Inner { table, version, state, facts }) }
    }

    /// The table that this is a version of.
    pub fn table(&self) -> &Table {
        &self.inner.table
    }

    /// The version.
    pub fn version(&self) -> Version {
        self.inner.version
    }

    /// The table's schema in this version: as given at its creation, and behind that the columns added since.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.inner.state.schema)
    }

    /// The live files, ordered by path.
    pub fn files(&self) -> &[DataFile] {
        &self.inner.state.files
    }

    /// The live file of this path.
    pub fn file(&self, path: &str) -> Option<&DataFile> {
        self.inner.state.file(path)
    }

    /// Whether a file of this path is live.
    pub fn is_live(&self, path: &str) -> bool {
        self.inner.state.is_live(path)
    }

    /// The facts of the commit that made this version; `None` for an empty new table.
    ///
    /// # Errors
    /// [`LakeError::Corrupt`]: the facts are not of this type.
    pub fn facts<F: DeserializeOwned>(&self) -> Result<Option<F>, LakeError> {
        let Some(bytes) = &self.inner.facts else { return Ok(None) };
        serde_json::from_slice(bytes).map(Some).map_err(|error| {
            let object = format!("facts of {} version {}", self.inner.table.folder(), self.inner.version);
            LakeError::corrupt(object, error)
        })
    }

    /// Whether other tools have changed what they see of the table since our last commit; the next one puts that back.
    pub fn is_beside_others(&self) -> bool {
        !self.inner.state.foreign.is_empty()
    }

    pub(crate) fn state(&self) -> &State {
        &self.inner.state
    }

    /// The facts as they are stored.
    pub(crate) fn facts_bytes(&self) -> Option<&Bytes> {
        self.inner.facts.as_ref()
    }

    /// The snapshot, unless another tool has changed rows since our last commit.
    pub(crate) fn checked(self) -> Result<Self, LakeError> {
        match self.inner.state.foreign.words() {
            None => Ok(self),
            Some(change) => Err(LakeError::Foreign { table: self.inner.table.folder().to_owned(), change }),
        }
    }
}

/// What the actions up to a version add up to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct State {
    pub(crate) schema: SchemaRef,
    /// Ordered by path.
    pub(crate) files: Vec<DataFile>,
    /// The transaction number that names the facts; `None` before the first commit.
    pub(crate) transaction: Option<i64>,
    /// What other tools did since our last commit.
    pub(crate) foreign: Foreign,
}

impl State {
    /// The live files after a change; the change must have been checked.
    pub(crate) fn files_after(&self, change: &Change) -> Vec<DataFile> {
        let mut files = self.files.clone();
        files.retain(|file| !change.remove.contains(&file.path));
        files.extend(change.add.iter().cloned());
        files.sort_by(|one, other| one.path.cmp(&other.path));
        files
    }

    /// The live file of this path.
    fn file(&self, path: &str) -> Option<&DataFile> {
        let at = self.files.binary_search_by(|file| file.path.as_str().cmp(path)).ok()?;
        Some(&self.files[at])
    }

    /// Whether a file of this path is live.
    pub(crate) fn is_live(&self, path: &str) -> bool {
        self.file(path).is_some()
    }
}

/// Adds up actions, commit by commit.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    schema: Option<SchemaRef>,
    files: BTreeMap<String, DataFile>,
    transaction: Option<i64>,
    foreign: Foreign,
}

impl Replay {
    /// Goes on behind a state that was read before.
    pub(crate) fn from_state(state: &State) -> Self {
        Self {
            schema: Some(Arc::clone(&state.schema)),
            files: state.files.iter().map(|file| (file.path.clone(), file.clone())).collect(),
            transaction: state.transaction,
            foreign: state.foreign.clone(),
        }
    }

    /// Applies the actions of one commit or one checkpoint; `object` names it in errors.
    pub(crate) fn apply(&mut self, object: &Path, actions: Vec<Action>) -> Result<(), LakeError> {
        let corrupt = |reason: String| LakeError::corrupt(object, reason);
        let transaction = action::transaction_of(&actions);
        if let Some(schema) = self.schema.as_ref().filter(|_| transaction.is_none()) {
            self.foreign.take(object, &actions, schema, |path| self.files.contains_key(path));
            return Ok(());
        }
        if transaction.is_none() && action::count_files(&actions) > 0 {
            return Err(corrupt("it changes files, but was not committed by Twofold".to_owned()));
        }
        if !action::is_whole(&actions) {
            return Err(corrupt("it names fewer files than it says".to_owned()));
        }
        self.transaction = transaction.or(self.transaction);
        // Metadata first: the statistics of a file are read by the schema.
        for action in &actions {
            self.apply_header(action).map_err(corrupt)?;
        }
        for action in actions {
            self.apply_file(action).map_err(corrupt)?;
        }
        // Every commit of ours puts back what others did before it.
        self.foreign = Foreign::default();
        Ok(())
    }

    fn apply_header(&mut self, action: &Action) -> Result<(), String> {
        if let Some(protocol) = &action.protocol {
            let (reader, writer) = (protocol.min_reader_version, protocol.min_writer_version);
            if foreign::upgrades(protocol) {
                return Err(format!("it needs reader version {reader} and writer version {writer}"));
            }
        }
        if let Some(metadata) = &action.meta_data {
            if !metadata.partition_columns.is_empty() {
                return Err("the table is partitioned".to_owned());
            }
            self.schema = Some(Arc::new(schema::from_delta(&metadata.schema_string)?));
        }
        Ok(())
    }

    fn apply_file(&mut self, action: Action) -> Result<(), String> {
        if let Some(remove) = action.remove
            && self.files.remove(&remove.path).is_none()
            && !self.foreign.added.contains(&remove.path)
        {
            return Err(format!("it removes {}, which is not live", remove.path));
        }
        // A file of ours that others removed never ceased to be live to us.
        if let Some(add) = action.add.filter(|add| !self.foreign.removed.contains(&add.path)) {
            let schema = self.schema.as_ref().ok_or("it adds a file before there is a schema")?;
            let file = data_file(add, schema)?;
            if let Some(twice) = self.files.insert(file.path.clone(), file) {
                return Err(format!("it adds {}, which is live already", twice.path));
            }
        }
        Ok(())
    }

    /// The sum so far; `object` names the last thing applied.
    pub(crate) fn state(&self, object: &Path) -> Result<State, LakeError> {
        let schema = self.schema.clone().ok_or_else(|| LakeError::corrupt(object, "no schema up to here"))?;
        let files = self.files.values().cloned().collect();
        Ok(State { schema, files, transaction: self.transaction, foreign: self.foreign.clone() })
    }
}

fn data_file(add: Add, schema: &Schema) -> Result<DataFile, String> {
    let text = add.stats.ok_or_else(|| format!("file {} has no statistics", add.path))?;
    let (rows, bounds) =
        stats::from_delta(&text, schema).map_err(|reason| format!("statistics of {}: {reason}", add.path))?;
    Ok(DataFile { path: add.path, size_bytes: add.size, rows, bounds: Arc::new(bounds) })
}
