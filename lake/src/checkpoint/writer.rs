//! Summing up a log, and putting the sum where `checkpoint.rs` reads it.
//!
//! Guarantee: a checkpoint says the same as the commits it sums up, and the same as the snapshot that its writer holds.
//! It is summed up from the objects of the log, and read back by the parser that reads commits, before it is put; where
//! the two disagree it is not written.
//! Why so: the snapshot in memory and the objects of the log are two accounts of one version; comparing them each time
//! costs one reading of the commits since the last checkpoint.
//! Not here: when one is due (`commit.rs`).

use std::collections::BTreeMap;

use bytes::Bytes;
use object_store::{ObjectStoreExt, PutPayload};
use serde_json::json;

use super::{decode, encode};
use crate::action::{Action, Add, Metadata, Protocol, Transaction};
use crate::snapshot::Replay;
use crate::{LakeError, Snapshot};

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
    table.lake().put_new(&path, bytes).await?;
    if table.log().last_checkpoint().await?.is_none_or(|named| named < version) {
        let path = table.log().last_checkpoint_path();
        let put = table.lake().store().put(&path, PutPayload::from(last.to_string())).await;
        put.map_err(|error| LakeError::store(&path, error))?;
    }
    Ok(())
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
