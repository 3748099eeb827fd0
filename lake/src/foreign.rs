//! What other tools committed to a table of ours, kept apart from what Twofold committed.
//!
//! In: commits without our transaction. Out: [`Foreign`]: how the table that other tools see differs from ours.
//! Guarantee: pure. What others do to files is never believed: the rows of a version are those of the files that we
//! committed, whoever compacts beside us. A commit that by its own word leaves the rows alone (`dataChange = false`, a
//! compaction) costs nothing, and so does one that touches no file; our next commit puts our files back for the others.
//! Any other is named, and until an operator has it left out nobody of us goes on from it.
//! Why not take a compaction in: its statistics would decide what is read (Spark rounds instants to milliseconds), and
//! whether it holds the same rows only reading all of them twice would tell. We have the files themselves.
//! Not here: putting our files back (`commit.rs`, `repair.rs`).

use std::collections::BTreeSet;

use arrow::datatypes::Schema;
use object_store::path::Path;
use serde_json::Value;

use crate::action::{self, Action, Add, Metadata, Protocol, Remove};
use crate::schema;

/// How many paths of files are written out in words.
const NAMED_FILES: usize = 3;

/// What others did since our last commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Foreign {
    /// Files that others added.
    pub(crate) added: BTreeSet<String>,
    /// Files of ours that others removed.
    pub(crate) removed: BTreeSet<String>,
    /// Whether the table has another schema by now, or is partitioned.
    pub(crate) is_reshaped: bool,
    /// Whether the table asks for more of its readers or writers by now.
    pub(crate) is_upgraded: bool,
    /// Whether rows of our files were marked as deleted: no action of ours takes that back.
    pub(crate) has_vectors: bool,
    /// The commits that may have changed the rows, in words.
    pub(crate) named: Vec<String>,
}

impl Foreign {
    /// Whether the next commit of ours has something to put back.
    pub(crate) fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.named.is_empty()
    }

    /// What an operator has to know of, in words; `None` where the rows are the same.
    pub(crate) fn words(&self) -> Option<String> {
        (!self.named.is_empty()).then(|| self.named.join("; "))
    }

    /// Takes a commit of another tool. `present` is the schema of ours, `is_ours` tells of live files of ours.
    pub(crate) fn take(&mut self, object: &Path, actions: &[Action], present: &Schema, is_ours: impl Fn(&str) -> bool) {
        let removes: Vec<&Remove> = actions.iter().filter_map(|action| action.remove.as_ref()).collect();
        let adds: Vec<&Add> = actions.iter().filter_map(|action| action.add.as_ref()).collect();
        for remove in &removes {
            if !self.added.remove(&remove.path) && is_ours(&remove.path) {
                self.removed.insert(remove.path.clone());
            }
        }
        for add in &adds {
            if is_ours(&add.path) {
                self.removed.remove(&add.path);
            } else {
                self.added.insert(add.path.clone());
            }
        }
        let has_vectors = removes.iter().any(|remove| remove.deletion_vector.is_some())
            || adds.iter().any(|add| add.deletion_vector.is_some());
        let is_reshaped =
            actions.iter().filter_map(|action| action.meta_data.as_ref()).any(|one| reshapes(one, present));
        let is_upgraded = actions.iter().filter_map(|action| action.protocol.as_ref()).any(upgrades);
        let changes_rows = removes.iter().any(|remove| remove.data_change) || adds.iter().any(|add| add.data_change);
        self.has_vectors |= has_vectors;
        self.is_reshaped |= is_reshaped;
        self.is_upgraded |= is_upgraded;
        if changes_rows || has_vectors || is_reshaped || is_upgraded {
            let mut done = Vec::new();
            done.extend(files("adds", adds.iter().map(|add| add.path.as_str())));
            done.extend(files("removes", removes.iter().map(|remove| remove.path.as_str())));
            done.extend(is_reshaped.then(|| "changes columns or partitions".to_owned()));
            done.extend(is_upgraded.then(|| "asks for a newer protocol".to_owned()));
            done.extend(has_vectors.then(|| "marks rows as deleted (deletion vectors)".to_owned()));
            self.named.push(format!("{} of {} {}", version_in(object), author(actions), done.join(", ")));
        }
    }
}

/// Whether a commit that made a version was another tool's.
pub(crate) fn is_foreign(actions: &[Action]) -> bool {
    action::transaction_of(actions).is_none()
}

fn reshapes(metadata: &Metadata, present: &Schema) -> bool {
    !metadata.partition_columns.is_empty()
        || schema::from_delta(&metadata.schema_string).ok().is_none_or(|schema| schema.fields() != present.fields())
}

/// Whether a protocol asks for more than ours.
pub(crate) fn upgrades(protocol: &Protocol) -> bool {
    protocol.min_reader_version > action::READER_VERSION || protocol.min_writer_version > action::WRITER_VERSION
}

/// `version 7`.
fn version_in(object: &Path) -> String {
    let number = object.filename().and_then(|name| name.split('.').next()?.parse::<i64>().ok());
    number.map_or_else(|| object.to_string(), |number| format!("version {number}"))
}

/// Who committed, and what for, as the commit itself says.
fn author(actions: &[Action]) -> String {
    let info = actions.iter().find_map(|action| action.commit_info.as_ref());
    let text = |name: &str| info.and_then(|info| info.get(name)).and_then(Value::as_str);
    let engine = text("engineInfo").or_else(|| text("clientVersion")).unwrap_or("an unknown tool");
    text("operation").map_or_else(|| engine.to_owned(), |operation| format!("{engine} ({operation})"))
}

/// `adds 5 files (a, b, c and 2 more)`; `None` for no file.
fn files<'a>(done: &str, paths: impl Iterator<Item = &'a str>) -> Option<String> {
    let paths: Vec<&str> = paths.collect();
    let shown = paths.iter().take(NAMED_FILES).copied().collect::<Vec<_>>().join(", ");
    match paths.len() {
        0 => None,
        1 => Some(format!("{done} file {shown}")),
        count if count <= NAMED_FILES => Some(format!("{done} {count} files ({shown})")),
        count => Some(format!("{done} {count} files ({shown} and {} more)", count - NAMED_FILES)),
    }
}
