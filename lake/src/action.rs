//! The actions of a Delta log, as far as Twofold writes and reads them; pure.
//!
//! In: lines of JSON, one action each, from a commit or from a checkpoint. Out: typed actions, and back.
//! Not here: where the lines come from (`log.rs`, `checkpoint.rs`), what they add up to (`snapshot.rs`).
//! # Source
//! The Delta transaction log protocol, reader version 1, writer version 2.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The application whose transaction number names the facts of a commit.
pub(crate) const APP_ID: &str = "twofold";

/// What a reader must understand to read our tables.
pub(crate) const READER_VERSION: i32 = 1;
/// What a writer must understand to write them.
pub(crate) const WRITER_VERSION: i32 = 2;

/// One line of the log: exactly one of its fields is set; kinds that we never write are left unset.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Action {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) commit_info: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) protocol: Option<Protocol>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) meta_data: Option<Metadata>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) add: Option<Add>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) remove: Option<Remove>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) txn: Option<Transaction>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Protocol {
    pub(crate) min_reader_version: i32,
    pub(crate) min_writer_version: i32,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Metadata {
    pub(crate) id: String,
    pub(crate) format: Format,
    pub(crate) schema_string: String,
    pub(crate) partition_columns: Vec<String>,
    #[serde(default)]
    pub(crate) configuration: BTreeMap<String, Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) created_time: Option<i64>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Format {
    pub(crate) provider: String,
    #[serde(default)]
    pub(crate) options: BTreeMap<String, Option<String>>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Add {
    pub(crate) path: String,
    #[serde(default)]
    pub(crate) partition_values: BTreeMap<String, Option<String>>,
    pub(crate) size: u64,
    pub(crate) modification_time: i64,
    pub(crate) data_change: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stats: Option<String>,
    /// Rows that another tool marked as deleted; never written by us.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) deletion_vector: Option<Value>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Remove {
    pub(crate) path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) deletion_timestamp: Option<i64>,
    pub(crate) data_change: bool,
    #[serde(default)]
    pub(crate) extended_file_metadata: bool,
    #[serde(default)]
    pub(crate) partition_values: BTreeMap<String, Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) size: Option<u64>,
    /// As in [`Add`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) deletion_vector: Option<Value>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Transaction {
    pub(crate) app_id: String,
    pub(crate) version: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_updated: Option<i64>,
}

/// The protocol of our tables.
pub(crate) fn own_protocol() -> Protocol {
    Protocol { min_reader_version: READER_VERSION, min_writer_version: WRITER_VERSION }
}

/// Reads lines of actions; the error names the line, counted from 1.
pub(crate) fn parse(bytes: &[u8]) -> Result<Vec<Action>, String> {
    let actions: Vec<Action> = bytes
        .split(|byte| *byte == b'\n')
        .enumerate()
        .filter(|(_, line)| !line.trim_ascii().is_empty())
        .map(|(at, line)| serde_json::from_slice(line).map_err(|error| format!("line {}: {error}", at + 1)))
        .collect::<Result<_, String>>()?;
    // An emptied object would otherwise pass for a commit that did nothing.
    if actions.is_empty() { Err("it is empty".to_owned()) } else { Ok(actions) }
}

/// How many files a commit adds and removes, as its first line says it: so that one which lost its end is noticed.
pub(crate) const FILES_METRIC: &str = "numFileActions";

/// Whether as many files are named as the commit says; older commits of ours, and those of others, say nothing.
pub(crate) fn is_whole(actions: &[Action]) -> bool {
    let info = actions.iter().find_map(|action| action.commit_info.as_ref());
    let told = info.and_then(|info| info.get("operationMetrics")?.get(FILES_METRIC)?.as_str()?.parse::<usize>().ok());
    told.is_none_or(|told| told == count_files(actions))
}

/// The actions that add or remove a file.
pub(crate) fn count_files(actions: &[Action]) -> usize {
    actions.iter().filter(|action| action.add.is_some() || action.remove.is_some()).count()
}

/// Writes one line per action.
pub(crate) fn format(actions: &[Action]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for action in actions {
        serde_json::to_writer(&mut bytes, action).expect("actions are plain data, and a Vec takes every byte");
        bytes.push(b'\n');
    }
    bytes
}

/// The number of our own transaction, where the actions hold one.
pub(crate) fn transaction_of(actions: &[Action]) -> Option<i64> {
    actions.iter().filter_map(|action| action.txn.as_ref()).find(|txn| txn.app_id == APP_ID).map(|txn| txn.version)
}
