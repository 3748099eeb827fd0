//! Committing: one conditional put of the next version's log object decides.
//!
//! In: the snapshot that a change was computed from, the change, its facts. Out: the next snapshot, or a refusal.
//! Guarantee: on success the change and its facts are the next version after exactly that snapshot. On
//! [`LakeError::Conflict`] nothing of it is visible, ever. On [`LakeError::Unreachable`] the outcome is unknown: open
//! the table and look. A reply that was lost and repeated by the store's client is recognised by the commit's own
//! transaction number.
//! A commit never names a file or facts that `vacuum.rs` deleted: both bear the number of the version that they are
//! for (a file: of the last one), and while that version is still to come they are not touched, however long this
//! takes.
//! What other tools did to the table since our last commit (`foreign.rs`) is put back by the same commit: so what they
//! see after it is what we see.
//! Why so: the store's refusal to overwrite is the only arbiter; no lock, no lease and no clock takes part. The
//! instants in the log are those that the store itself gave to the facts object, for other tools to show.

use std::collections::{BTreeMap, HashSet};

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use bytes::Bytes;
use serde::Serialize;
use serde_json::json;

use crate::action::{self, APP_ID, Action, Add, FILES_METRIC, Metadata, Remove, Transaction};
use crate::checkpoint::writer;
use crate::foreign::Foreign;
use crate::snapshot::State;
use crate::store::Put;
use crate::{Change, DataFile, LakeError, Snapshot, Table, Version, file, schema, stats};

/// Bits of a transaction number that come from the nonce. Delta has 63 for all of it.
const DRAWN_BITS: u32 = 47;
/// Bits that say for which version it was drawn.
const VERSION_BITS: u32 = 63 - DRAWN_BITS;

/// The transaction number of a nonce, for one version: 47 bits of the one, the last 16 of the other.
fn transaction_of(nonce: u128, version: Version) -> i64 {
    let drawn = (nonce ^ (nonce >> 64)) & ((1 << DRAWN_BITS) - 1);
    let version = version.0 & ((1 << VERSION_BITS) - 1);
    version << DRAWN_BITS | i64::try_from(drawn).expect("47 bits are a positive i64")
}

/// Whether the facts object of a transaction number may belong to a version after `newest`, which is still to come.
/// The number holds the end of its version only, so one that is 32,768 versions old is taken for one to come.
pub(crate) fn is_to_come(transaction: i64, newest: Version) -> bool {
    let ahead = ((transaction >> DRAWN_BITS) - newest.0) & ((1 << VERSION_BITS) - 1);
    (1..1 << (VERSION_BITS - 1)).contains(&ahead)
}

impl Table {
    /// Commits on exactly `on`. `facts` become the facts of the new version; `nonce` is a random number that names
    /// the facts object: never use one twice for different facts.
    ///
    /// # Errors
    /// [`LakeError::Conflict`]: somebody else committed first; nothing was changed.
    /// [`LakeError::Unreachable`]: it is unknown whether the commit happened; open the table and look at its facts.
    /// [`LakeError::Full`]: nothing was changed. [`LakeError::NotLive`]: a file to remove is not in the snapshot.
    /// [`LakeError::Refused`]: the change does not fit the snapshot in another way.
    /// [`LakeError::Foreign`]: another tool changed rows in the version of the snapshot.
    pub async fn commit<F: Serialize + Sync>(
        &self,
        on: &Snapshot,
        change: Change,
        facts: &F,
        nonce: u128,
    ) -> Result<Snapshot, LakeError> {
        self.check(on, &change)?;
        self.commit_checked(on, change, None, self.encode(facts)?, nonce).await
    }

    /// Commits more columns on exactly `on`: those of `wanted` that the table has not got, behind its own. Rows that
    /// are there already are NULL in them. `facts` and `nonce` as in [`Self::commit`].
    ///
    /// # Errors
    /// [`LakeError::Refused`]: a column of another type bears the name, or a new one is NOT NULL. Others as
    /// [`Self::commit`].
    pub async fn add_columns<F: Serialize + Sync>(
        &self,
        on: &Snapshot,
        wanted: &Schema,
        facts: &F,
        nonce: u128,
    ) -> Result<Snapshot, LakeError> {
        let schema =
            schema::extended(&on.schema(), wanted).map_err(|reason| LakeError::refused(self.folder(), reason))?;
        let schema = Some(Arc::new(schema));
        self.check(on, &Change::default())?;
        self.commit_checked(on, Change::default(), schema, self.encode(facts)?, nonce).await
    }

    fn encode<F: Serialize>(&self, facts: &F) -> Result<Bytes, LakeError> {
        let refused = |error: serde_json::Error| {
            LakeError::refused(self.folder(), format!("the facts cannot be stored: {error}"))
        };
        serde_json::to_vec(facts).map(Bytes::from).map_err(refused)
    }

    /// Commits a change that fits `on`, whatever others did before it.
    pub(crate) async fn commit_checked(
        &self,
        on: &Snapshot,
        change: Change,
        schema: Option<SchemaRef>,
        facts: Bytes,
        nonce: u128,
    ) -> Result<Snapshot, LakeError> {
        let draft = self.draft(on, &change, schema.as_ref(), &facts, (nonce, on.version().next())).await?;
        self.put_commit(on, draft.bytes, draft.transaction).await?;
        let files = on.state().files_after(&change);
        let schema = schema.unwrap_or_else(|| on.schema());
        let state = State { schema, files, transaction: Some(draft.transaction), foreign: Foreign::default() };
        let next = Snapshot::new(self.clone(), on.version().next(), state, Some(facts));
        self.write_checkpoint(&next).await;
        Ok(next)
    }

    /// Stores the facts of a commit, and says what its object holds.
    pub(crate) async fn draft(
        &self,
        on: &Snapshot,
        change: &Change,
        schema: Option<&SchemaRef>,
        facts: &Bytes,
        (nonce, version): (u128, Version),
    ) -> Result<Draft, LakeError> {
        let present = on.schema();
        let schema = schema.or(on.state().foreign.is_reshaped.then_some(&present));
        let metadata = schema.map(|schema| self.metadata(schema)).transpose()?;
        let transaction = transaction_of(nonce, version);
        let facts_path = self.facts_path(transaction);
        self.lake().put_once(&facts_path, facts.clone()).await?;
        let at_millis = self.lake().modified_millis(&facts_path).await?;
        let at_millis = at_millis.ok_or_else(|| LakeError::corrupt(&facts_path, "it vanished after it was put"))?;
        let actions = actions(on.state(), change, metadata, transaction, at_millis);
        Ok(Draft { bytes: action::format(&actions), transaction })
    }

    /// A change must fit the snapshot: this is where a rewrite of files that are gone is refused.
    fn check(&self, on: &Snapshot, change: &Change) -> Result<(), LakeError> {
        let refused = |reason: String| Err(LakeError::refused(self.folder(), reason));
        if on.table().path() != self.path() {
            return refused(format!("the commit was computed on table {}", on.table().folder()));
        }
        on.clone().checked()?;
        let mut removed = HashSet::new();
        for path in &change.remove {
            if !on.state().is_live(path) {
                let (table, path) = (self.folder().to_owned(), path.clone());
                return Err(LakeError::NotLive { table, version: on.version(), path });
            }
            if !removed.insert(path) {
                return refused(format!("file {path} is removed twice"));
            }
        }
        let mut added = HashSet::new();
        for DataFile { path, .. } in &change.add {
            if on.state().is_live(path) || !added.insert(path) {
                return refused(format!("version {} holds file {path} already, or it is added twice", on.version()));
            }
            if file::last_version_of(path).is_none_or(|last| last < on.version().next()) {
                return refused(format!("file {path} was not written for the version after {}", on.version()));
            }
        }
        Ok(())
    }

    /// Puts the commit object of the version after `on`, once.
    async fn put_commit(&self, on: &Snapshot, bytes: Vec<u8>, transaction: i64) -> Result<(), LakeError> {
        let version = on.version().next();
        let put = self.lake().put_new(&self.log().commit_path(version), bytes.into()).await;
        if let Err(error @ (LakeError::Full { .. } | LakeError::Unusable { .. })) = put {
            return Err(error);
        }
        let conflict = LakeError::Conflict { table: self.folder().to_owned(), expected: on.version() };
        if !matches!(put, Ok(Put::New)) {
            // Refused, or unknown: the object says whose commit it is.
            return match (self.log().read_commit(version).await?, put) {
                (Some(actions), _) if action::transaction_of(&actions) == Some(transaction) => Ok(()),
                (None, Err(error)) => Err(error),
                _ => Err(conflict),
            };
        }
        // The number may be free because a log was cut while this writer slept: then its predecessor is gone, too.
        if self.log().holds(on.version(), on.state().transaction).await? { Ok(()) } else { Err(conflict) }
    }

    /// Writes the checkpoint that is due at this version. Without it the table is only slower to open.
    pub(crate) async fn write_checkpoint(&self, snapshot: &Snapshot) {
        let interval = i64::from(self.lake().settings().checkpoint_interval.max(1));
        if snapshot.version().0 % interval != 0 {
            return;
        }
        if let Err(error) = writer::write(snapshot).await {
            let version = snapshot.version().0;
            tracing::warn!(table = self.folder(), version, %error, "checkpoint not written, the next one will be");
        }
    }
}

/// A commit before it is put.
pub(crate) struct Draft {
    /// What its object holds.
    pub(crate) bytes: Vec<u8>,
    /// The number that names its facts.
    pub(crate) transaction: i64,
}

/// The actions of a commit. The transaction number names the facts.
fn actions(on: &State, change: &Change, metadata: Option<Metadata>, transaction: i64, at_millis: i64) -> Vec<Action> {
    let is_change = !change.add.is_empty() || !change.remove.is_empty();
    let operation = match &metadata {
        _ if !is_change && !on.foreign.is_empty() => "RESTORE",
        Some(_) => "ADD COLUMNS",
        None if change.changes_data || !is_change => "WRITE",
        None => "OPTIMIZE",
    };
    let protocol = Action { protocol: Some(action::own_protocol()), ..Action::default() };
    let protocol = on.foreign.is_upgraded.then_some(protocol);
    let metadata = metadata.map(|metadata| Action { meta_data: Some(metadata), ..Action::default() });
    let removes = on.files.iter().filter(|file| change.remove.contains(&file.path));
    let removes = removes.map(|file| remove(&file.path, Some(file.size_bytes), change.changes_data, at_millis));
    let adds = change.add.iter().map(|file| add(file, change.changes_data, at_millis));
    let files: Vec<Action> = removes.chain(adds).chain(put_back(on, change, at_millis)).collect();
    let info = json!({
        "timestamp": at_millis,
        "operation": operation,
        "operationParameters": {},
        "operationMetrics": { FILES_METRIC: files.len().to_string() },
        "engineInfo": concat!("twofold/", env!("CARGO_PKG_VERSION")),
    });
    let txn = Transaction { app_id: APP_ID.to_owned(), version: transaction, last_updated: Some(at_millis) };
    let header =
        [Action { commit_info: Some(info), ..Action::default() }, Action { txn: Some(txn), ..Action::default() }];
    header.into_iter().chain(protocol).chain(metadata).chain(files).collect()
}

/// What makes other tools see our files again, and none of theirs.
fn put_back(on: &State, change: &Change, at_millis: i64) -> Vec<Action> {
    let changes_data = !on.foreign.named.is_empty();
    let theirs = on.foreign.added.iter().map(|path| remove(path, None, changes_data, at_millis));
    let is_back = |file: &&DataFile| on.foreign.removed.contains(&file.path) && !change.remove.contains(&file.path);
    let ours = on.files.iter().filter(is_back).map(|file| add(file, changes_data, at_millis));
    theirs.chain(ours).collect()
}

fn remove(path: &str, size: Option<u64>, data_change: bool, at_millis: i64) -> Action {
    let remove = Remove {
        path: path.to_owned(),
        deletion_timestamp: Some(at_millis),
        data_change,
        extended_file_metadata: size.is_some(),
        partition_values: BTreeMap::new(),
        size,
        deletion_vector: None,
    };
    Action { remove: Some(remove), ..Action::default() }
}

fn add(file: &DataFile, data_change: bool, at_millis: i64) -> Action {
    let add = Add {
        path: file.path.clone(),
        partition_values: BTreeMap::new(),
        size: file.size_bytes,
        modification_time: at_millis,
        data_change,
        stats: Some(stats::to_delta(file.rows, &file.bounds)),
        deletion_vector: None,
    };
    Action { add: Some(add), ..Action::default() }
}
