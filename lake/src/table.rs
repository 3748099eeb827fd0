//! One table: where it lies in the lake, and what its objects are called.
//!
//! Not here: creating and opening (`open.rs`), committing (`commit.rs`), data files (`file.rs`), deleting
//! (`vacuum.rs`).
//! Why so: a snapshot knows its table, so whatever gives out snapshots stands above both. Each of those files adds its
//! operations to [`Table`].

use std::sync::Arc;

use object_store::path::Path;

use crate::Lake;
use crate::log::Log;

/// The folder of the facts objects. Delta tools pass over names that start with an underscore.
pub(crate) const FACTS_FOLDER: &str = "_twofold";

/// One table. Cheap to clone; holds nothing that was read.
#[derive(Clone, Debug)]
pub struct Table {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    lake: Lake,
    folder: String,
    path: Path,
    log: Log,
}

impl Lake {
    /// A table by its folder below the root. Does no IO.
    pub fn table(&self, folder: &str) -> Table {
        Table::new(self.clone(), folder)
    }
}

impl Table {
    fn new(lake: Lake, folder: &str) -> Self {
        let path = lake.path(folder);
        let log = Log::new(lake.clone(), &path);
        Self { inner: Arc::new(Inner { lake, folder: folder.to_owned(), path, log }) }
    }

    /// The table's folder below the root of the lake; also its name in errors.
    pub fn folder(&self) -> &str {
        &self.inner.folder
    }

    /// The lake that holds the table.
    pub fn lake(&self) -> &Lake {
        &self.inner.lake
    }

    pub(crate) fn log(&self) -> &Log {
        &self.inner.log
    }

    pub(crate) fn path(&self) -> &Path {
        &self.inner.path
    }

    /// The full path of an object of the table.
    pub(crate) fn object_path(&self, relative: &str) -> Path {
        self.lake().path(&format!("{}/{relative}", self.folder()))
    }

    /// Where the facts of a transaction number are.
    pub(crate) fn facts_path(&self, transaction: i64) -> Path {
        self.inner.path.clone().join(FACTS_FOLDER).join(format!("{transaction:016x}.json"))
    }
}
