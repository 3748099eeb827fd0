//! Checkpoints: the sum of a log up to a version, in one Parquet object.
//!
//! Guarantee: a checkpoint says the same as the commits it sums up, and the same as the snapshot that its writer holds.
//! It is summed up from the objects of the log, and read back by the parser that reads commits, before it is put; where
//! the two disagree it is not written.
//! Why so: the snapshot in memory and the objects of the log are two accounts of one version; comparing them each time
//! costs one reading of the commits since the last checkpoint. That other readers of Delta understand it is asked by
//! the tests, of `deltalake-core`.
//! Not here: when one is due (`commit.rs`), cutting the log behind one (`vacuum.rs`).

mod schema;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::json::{LineDelimitedWriter, ReaderBuilder};
use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use serde_json::json;

use crate::action::{self, Action, Add, Metadata, Protocol, Transaction};
use crate::snapshot::Replay;
use crate::{LakeError, Snapshot, store};

/// The actions that make up a state; tombstones are for other tools.
const KINDS: [&str; 4] = ["protocol", "metaData", "txn", "add"];

/// Actions that are encoded at a time.
const BATCH_ACTIONS: usize = 1024;

/// Writes the checkpoint of a version, and names it as the last one.
pub(crate) async fn write(snapshot: &Snapshot) -> Result<(), LakeError> {
    let (table, version) = (snapshot.table(), snapshot.version());
    let path = table.log().checkpoint_path(version);
    let mut sum = Sum::default();
    table.read_log(version, |actions| sum.apply(actions)).await?;
    let actions = sum.into_actions();
    let bytes: Bytes = encode(&actions).map_err(|reason| LakeError::corrupt(&path, reason))?.into();

    let mut replay = Replay::default();
    replay.apply(&path, decode(&path, bytes.clone())?)?;
    if replay.state(&path)? != *snapshot.state() {
        return Err(LakeError::corrupt(&path, "the log adds up to another state than the version that was committed"));
    }
    let last = json!({
        "version": version,
        "size": actions.len(),
        "sizeInBytes": bytes.len(),
        "numOfAddFiles": snapshot.files().len(),
    });
    // One that is there already says the same.
    store::put_new(table.lake().store(), &path, bytes).await?;
    if table.log().last_checkpoint().await?.is_none_or(|named| named < version) {
        let path = table.log().last_checkpoint_path();
        let put = table.lake().store().put(&path, PutPayload::from(last.to_string())).await;
        put.map_err(|error| LakeError::store(&path, error))?;
    }
    Ok(())
}

/// Reads the actions of a checkpoint.
pub(crate) async fn read(store: &Arc<dyn ObjectStore>, path: &Path) -> Result<Vec<Action>, LakeError> {
    let bytes = store::get(store, path).await?;
    decode(path, bytes.ok_or_else(|| LakeError::corrupt(path, "the object is missing"))?)
}

fn decode(path: &Path, bytes: Bytes) -> Result<Vec<Action>, LakeError> {
    let corrupt = |reason: &dyn ToString| LakeError::corrupt(path, reason.to_string());
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(|error| corrupt(&error))?;
    let columns = reader.schema().fields().iter().enumerate();
    let wanted = columns.filter(|(_, field)| KINDS.contains(&field.name().as_str())).map(|(index, _)| index);
    let mask = ProjectionMask::roots(reader.parquet_schema(), wanted.collect::<Vec<_>>());
    let batches = reader.with_projection(mask).build().map_err(|error| corrupt(&error))?;
    // As lines of JSON a checkpoint reads like a commit: one parser, one set of checks.
    let mut lines = LineDelimitedWriter::new(Vec::new());
    for batch in batches {
        lines.write(&batch.map_err(|error| corrupt(&error))?).map_err(|error| corrupt(&error))?;
    }
    lines.finish().map_err(|error| corrupt(&error))?;
    action::parse(&lines.into_inner()).map_err(|error| corrupt(&error))
}

fn encode(actions: &[Action]) -> Result<Vec<u8>, String> {
    let schema = schema::checkpoint_schema();
    let properties = WriterProperties::builder()
        // The one codec that every reader has.
        .set_compression(Compression::SNAPPY)
        .set_created_by(concat!("twofold ", env!("CARGO_PKG_VERSION")).to_owned())
        .build();
    let mut writer =
        ArrowWriter::try_new(Vec::new(), Arc::clone(&schema), Some(properties)).map_err(|error| error.to_string())?;
    // Strict: a field of an action that has no column is an error and not lost.
    let mut rows =
        ReaderBuilder::new(schema).with_strict_mode(true).build_decoder().map_err(|error| error.to_string())?;
    for actions in actions.chunks(BATCH_ACTIONS) {
        rows.serialize(actions).map_err(|error| error.to_string())?;
        if let Some(batch) = rows.flush().map_err(|error| error.to_string())? {
            writer.write(&batch).map_err(|error| error.to_string())?;
        }
    }
    writer.into_inner().map_err(|error| error.to_string())
}

/// What is left of the actions of a log. It judges nothing: the result is checked by replaying it.
#[derive(Debug, Default)]
struct Sum {
    protocol: Option<Protocol>,
    metadata: Option<Metadata>,
    transactions: BTreeMap<String, Transaction>,
    files: BTreeMap<String, Add>,
}

impl Sum {
    fn apply(&mut self, actions: Vec<Action>) {
        for action in actions {
            self.protocol = action.protocol.or(self.protocol.take());
            self.metadata = action.meta_data.or(self.metadata.take());
            if let Some(transaction) = action.txn {
                self.transactions.insert(transaction.app_id.clone(), transaction);
            }
            if let Some(remove) = action.remove {
                self.files.remove(&remove.path);
            }
            if let Some(add) = action.add {
                // Whoever starts from a checkpoint finds the files there; it adds none.
                self.files.insert(add.path.clone(), Add { data_change: false, ..add });
            }
        }
    }

    fn into_actions(self) -> Vec<Action> {
        let protocol = Action { protocol: self.protocol, ..Action::default() };
        let metadata = Action { meta_data: self.metadata, ..Action::default() };
        let transactions = self.transactions.into_values();
        let transactions = transactions.map(|txn| Action { txn: Some(txn), ..Action::default() });
        let files = self.files.into_values().map(|add| Action { add: Some(add), ..Action::default() });
        [protocol, metadata].into_iter().chain(transactions).chain(files).collect()
    }
}
