//! Creating a table, opening a version of it, following its newest version.
//!
//! Guarantee: what is opened is one version, whole, as Twofold left it: what other tools did is set aside, and named
//! where it may have changed rows (`foreign.rs`). A checkpoint is believed only of a version that we committed, and one
//! that cannot be read is passed over where older ones and the commits suffice. Creation is one conditional put of
//! version 0, before any data, so two creators make one table. Following a table costs two small requests where nothing
//! is new.
//! Not here: committing (`commit.rs`), what the actions of a log add up to (`snapshot.rs`).

use std::collections::{BTreeMap, BTreeSet};

use arrow::datatypes::{Schema, SchemaRef};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use uuid::Uuid;

use crate::action::{self, Action, Format, Metadata};
use crate::foreign::is_foreign;
use crate::log::Listing;
use crate::snapshot::{Replay, State};
use crate::{LakeError, Snapshot, Table, Version, checkpoint, schema};

/// Commits that are read at the same time while a table is opened.
const CONCURRENT_READS: usize = 8;

impl Table {
    /// Creates the table, empty, by one conditional put of version 0; opens it where it exists already, whatever its
    /// schema is: compare [`Snapshot::schema`].
    ///
    /// # Errors
    /// [`LakeError::Refused`]: a column cannot be stored in a Delta table.
    pub async fn create(&self, schema: SchemaRef) -> Result<Snapshot, LakeError> {
        let actions = self.creation(&schema)?;
        if let Some(existing) = self.open().await? {
            return Ok(existing);
        }
        let path = self.log().commit_path(Version(0));
        self.lake().put_new(&path, action::format(&actions).into()).await?;
        let created = self.open().await?;
        created.ok_or_else(|| LakeError::corrupt(&path, "the table was deleted while it was created"))
    }

    /// The newest version, or `None` where there is no table.
    ///
    /// # Errors
    /// [`LakeError::Corrupt`]: the log is broken. [`LakeError::Foreign`]: another tool has changed rows.
    /// [`LakeError::Unreachable`]: try again.
    pub async fn open(&self) -> Result<Option<Snapshot>, LakeError> {
        let hint = self.log().last_checkpoint().await?.unwrap_or(Version(0));
        let listing = self.list_around(hint, None).await?;
        let Some(newest) = listing.newest() else { return Ok(None) };
        self.load(&listing, newest).await?.checked().map(Some)
    }

    /// One version, as Twofold left it, or `None` where it does not exist (any more).
    ///
    /// # Errors
    /// [`LakeError::Corrupt`]: the log is broken. [`LakeError::Unreachable`]: try again.
    pub async fn open_at(&self, version: Version) -> Result<Option<Snapshot>, LakeError> {
        let listing = self.list_below(version).await?;
        let reachable = listing.checkpoint_for(version).is_some() || listing.commits.contains(&Version(0));
        if !listing.holds(version) || !reachable {
            return Ok(None);
        }
        self.load(&listing, version).await.map(Some)
    }

    /// The newest version, reusing what `known` has read. Two small requests where nothing is new.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn refresh(&self, known: &Snapshot) -> Result<Snapshot, LakeError> {
        Ok(self.newer(known).await?.pop().unwrap_or_else(|| known.clone()))
    }

    /// The versions after `known`, oldest first; only the newest where those between are no longer in the log.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn newer(&self, known: &Snapshot) -> Result<Vec<Snapshot>, LakeError> {
        let mut version = known.version();
        let (next, is_held) = futures::try_join!(
            self.log().read_commit(version.next()),
            self.log().holds(version, known.state().transaction),
        )?;
        if !is_held {
            // The log was cut above `known`: what followed it is gone, so its end must be looked for.
            let newest = self.open().await?.filter(|newest| newest.version() > version);
            return Ok(newest.into_iter().collect());
        }
        let mut newer = Vec::new();
        let mut replay = Replay::from_state(known.state());
        let mut next = next;
        while let Some(actions) = next {
            version = version.next();
            let path = self.log().commit_path(version);
            replay.apply(&path, actions)?;
            newer.push(self.snapshot(version, replay.state(&path)?).await?);
            next = self.log().read_commit(version.next()).await?;
        }
        if let Some(newest) = newer.last() {
            newest.clone().checked()?;
        }
        // What was left out since.
        newer.retain(|snapshot| snapshot.state().foreign.words().is_none());
        Ok(newer)
    }

    /// Gives the actions of the log up to a version to `apply`, in the order of the log.
    pub(crate) async fn read_log(
        &self,
        version: Version,
        mut apply: impl FnMut(Vec<Action>) + Send,
    ) -> Result<(), LakeError> {
        let listing = self.list_below(version).await?;
        let apply = |_: &Path, actions| {
            apply(actions);
            Ok(())
        };
        self.read_listed(&listing, version, apply).await
    }

    /// Lists the log from `from`, or all of it where no checkpoint is found there.
    async fn list_around(&self, from: Version, target: Option<Version>) -> Result<Listing, LakeError> {
        let listing = self.log().list(from).await?;
        let wanted = target.or(listing.newest()).unwrap_or(Version(0));
        if from.0 > 0 && listing.checkpoint_for(wanted).is_none() {
            return self.log().list(Version(0)).await;
        }
        Ok(listing)
    }

    /// Lists what a version is read from, and perhaps more.
    async fn list_below(&self, version: Version) -> Result<Listing, LakeError> {
        let interval = i64::from(self.lake().settings().checkpoint_interval);
        self.list_around(Version(version.0 - 2 * interval), Some(version)).await
    }

    /// A version from what was listed, as Twofold left it.
    pub(crate) async fn load(&self, listing: &Listing, version: Version) -> Result<Snapshot, LakeError> {
        let mut replay = Replay::default();
        self.read_listed(listing, version, |path, actions| replay.apply(path, actions)).await?;
        let state = replay.state(&self.log().commit_path(version))?;
        self.snapshot(version, state).await
    }

    /// Gives the actions of a version to `apply`, object by object: the newest checkpoint at or below it, and the
    /// commits behind that.
    async fn read_listed(
        &self,
        listing: &Listing,
        version: Version,
        mut apply: impl FnMut(&Path, Vec<Action>) -> Result<(), LakeError> + Send,
    ) -> Result<(), LakeError> {
        let mut next = Version(0);
        if let Some((checkpoint, actions)) = self.read_base(listing, version).await? {
            apply(&self.log().checkpoint_path(checkpoint), actions)?;
            next = checkpoint.next();
        }
        let mut commits = futures::stream::iter((next.0..=version.0).map(Version))
            .map(|version| async move { Ok((version, self.log().read_commit(version).await?)) })
            .buffered(CONCURRENT_READS);
        while let Some((version, actions)) = commits.try_next().await? {
            let path = self.log().commit_path(version);
            let actions = actions.ok_or_else(|| LakeError::corrupt(&path, "the object is missing"))?;
            apply(&path, actions)?;
        }
        Ok(())
    }

    /// The newest checkpoint at or below a version that can be gone on from; `None` where the commits must do.
    async fn read_base(
        &self,
        listing: &Listing,
        version: Version,
    ) -> Result<Option<(Version, Vec<Action>)>, LakeError> {
        let mut broken = None;
        let found = self.read_base_in(&listing.checkpoints, version, &mut broken).await?;
        if found.is_some() || listing.commits.contains(&Version(0)) {
            return Ok(found);
        }
        // The listing began at a checkpoint that is of no use.
        let whole = self.log().list(Version(0)).await?;
        let found = self.read_base_in(&whole.checkpoints, version, &mut broken).await?;
        match broken {
            Some(error) if found.is_none() && !whole.commits.contains(&Version(0)) => Err(error),
            _ => Ok(found),
        }
    }

    /// The newest usable one of these; `broken` keeps why the newest could not be read.
    async fn read_base_in(
        &self,
        checkpoints: &BTreeSet<Version>,
        version: Version,
        broken: &mut Option<LakeError>,
    ) -> Result<Option<(Version, Vec<Action>)>, LakeError> {
        for checkpoint in checkpoints.range(..=version).rev() {
            match self.read_checkpoint(*checkpoint).await {
                Ok(Some(actions)) => return Ok(Some((*checkpoint, actions))),
                Ok(None) => {}
                Err(error @ LakeError::Corrupt { .. }) => {
                    tracing::warn!(table = self.folder(), %error, "a checkpoint is passed over");
                    broken.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// A checkpoint, or `None` where another tool committed its version, and so sums up what that tool did, or left out
    /// our transaction.
    pub(crate) async fn read_checkpoint(&self, version: Version) -> Result<Option<Vec<Action>>, LakeError> {
        // A commit that cannot be read says nothing against a checkpoint that can.
        match self.log().read_commit(version).await {
            Ok(Some(actions)) if version > Version(0) && is_foreign(&actions) => return Ok(None),
            Ok(_) | Err(LakeError::Corrupt { .. }) => {}
            Err(error) => return Err(error),
        }
        let actions = checkpoint::read(self.lake(), &self.log().checkpoint_path(version)).await?;
        // One that lost the name of our facts would make a new table of an old one.
        Ok(Some(actions).filter(|actions| version == Version(0) || !is_foreign(actions)))
    }

    /// Completes a state with its facts.
    async fn snapshot(&self, version: Version, state: State) -> Result<Snapshot, LakeError> {
        let facts = match state.transaction {
            Some(transaction) => Some(self.read_facts(transaction).await?),
            None => None,
        };
        Ok(Snapshot::new(self.clone(), version, state, facts))
    }

    async fn read_facts(&self, transaction: i64) -> Result<Bytes, LakeError> {
        let path = self.facts_path(transaction);
        let found = self.lake().get(&path).await?;
        found.ok_or_else(|| LakeError::corrupt(&path, "the facts of a commit are missing"))
    }

    /// The actions of version 0.
    fn creation(&self, schema: &Schema) -> Result<[Action; 2], LakeError> {
        let metadata = self.metadata(schema)?;
        Ok([
            Action { protocol: Some(action::own_protocol()), ..Action::default() },
            Action { meta_data: Some(metadata), ..Action::default() },
        ])
    }

    /// Named after the folder: two creators write the same object, whoever wins.
    pub(crate) fn id(&self) -> String {
        Uuid::new_v5(&Uuid::NAMESPACE_URL, self.path().as_ref().as_bytes()).to_string()
    }

    /// What the log says of the table as a whole, with this schema.
    pub(crate) fn metadata(&self, schema: &Schema) -> Result<Metadata, LakeError> {
        let refused = |reason| LakeError::refused(self.folder(), reason);
        let schema_string = schema::to_delta(schema).map_err(refused)?;
        let interval = self.lake().settings().checkpoint_interval;
        let configuration = [
            ("delta.checkpointInterval", interval.to_string()),
            // Other tools must not cut the log: `vacuum` knows which versions are retained.
            ("delta.enableExpiredLogCleanup", "false".to_owned()),
            // Nor must their clean-up delete files of ours that their compaction replaced, before they are put back.
            ("delta.deletedFileRetentionDuration", "interval 3650 days".to_owned()),
        ];
        Ok(Metadata {
            id: self.id(),
            format: Format { provider: "parquet".to_owned(), options: BTreeMap::new() },
            schema_string,
            partition_columns: Vec::new(),
            configuration: configuration.map(|(key, value)| (key.to_owned(), Some(value))).into(),
            created_time: None,
        })
    }
}
