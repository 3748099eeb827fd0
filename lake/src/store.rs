//! The object store with the tables in it, and the question whether it can be trusted with a commit.
//!
//! Guarantee: after `probe_conditional_put` or `probe` has succeeded, one of two racing puts under one name is refused.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use chrono::TimeDelta;
use datafusion::execution::object_store::ObjectStoreUrl;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{Error, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutPayload, UpdateVersion};

use crate::{LakeError, LakeSettings};

/// Numbers the lakes of this process, so that the query engine can tell their stores apart.
static NEXT_LAKE: AtomicU64 = AtomicU64::new(0);

/// Folder of the objects that probes put and remove, below the root.
const PROBES: &str = "_probe";
/// What they hold.
const PROBE: &[u8] = b"1";
/// What is older belongs to nobody any more: a probe takes seconds.
const PROBE_LIVES: TimeDelta = TimeDelta::hours(1);

/// Folder of what stays when tables are lost, where the lake was given no place of its own for it.
const BESIDE: &str = "_beside";

/// An object store and the tables in it. Cheap to clone.
#[derive(Clone)]
pub struct Lake {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<dyn ObjectStore>,
    root: Path,
    url: ObjectStoreUrl,
    settings: LakeSettings,
    /// `None`: a folder of its own below the root.
    beside: Option<Lake>,
}

impl fmt::Debug for Lake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lake").field("store", &self.inner.store.to_string()).field("root", &self.inner.root).finish()
    }
}

impl Lake {
    /// Tables below `root` of an object store, with default settings.
    pub fn new(store: Arc<dyn ObjectStore>, root: Path) -> Self {
        Self::with_settings(store, root, LakeSettings::default())
    }

    /// Tables below `root` of an object store.
    pub fn with_settings(store: Arc<dyn ObjectStore>, root: Path, settings: LakeSettings) -> Self {
        Self::with_place_beside(store, root, settings, None)
    }

    /// As [`Self::with_settings`]; what must outlive the tables goes to `beside`, where there is one.
    pub fn with_place_beside(
        store: Arc<dyn ObjectStore>,
        root: Path,
        settings: LakeSettings,
        beside: Option<Self>,
    ) -> Self {
        let number = NEXT_LAKE.fetch_add(1, Ordering::Relaxed);
        let url = ObjectStoreUrl::parse(format!("lake://{number}/")).expect("a scheme and a number are a URL");
        Self { inner: Arc::new(Inner { store, root, url, settings, beside }) }
    }

    /// Where things lie that must outlive the tables: lists that say what a rebuilt table has to leave out.
    pub fn beside(&self) -> Self {
        let own = || Self::with_settings(self.store().clone(), self.path(BESIDE), self.inner.settings);
        self.inner.beside.clone().unwrap_or_else(own)
    }

    /// Puts an object twice under one name and expects the second to be refused. `nonce` is drawn for this probe.
    ///
    /// # Errors
    /// [`LakeError::Unusable`]: a store that ignores conditional puts must not be used.
    pub async fn probe_conditional_put(&self, nonce: u128) -> Result<(), LakeError> {
        let path = self.probe_path(nonce);
        self.put_new(&path, Bytes::from_static(PROBE)).await?;
        let second = self.probe_second_put(&path).await;
        // Left behind, it would only be one object more, until the next `probe`.
        let _ = self.store().delete(&path).await;
        second
    }

    /// Does with one object all that tables need: puts it, puts it again on condition, reads it, finds it in a listing
    /// and deletes it, and with it those that probes left which were killed. `nonce` is drawn for this probe.
    ///
    /// # Errors
    /// The first of these that the store does not do, by the words of the store; the object may stay where it is the
    /// deletion.
    pub async fn probe(&self, nonce: u128) -> Result<(), LakeError> {
        let path = self.probe_path(nonce);
        self.put_new(&path, Bytes::from_static(PROBE)).await?;
        let probed = self.probe_stored(&path).await;
        let deleted = self.delete_if_there(&path).await;
        probed.and(deleted)?;
        match self.get(&path).await? {
            None => Ok(()),
            Some(_) => Err(self.unusable("still gives out an object that it has deleted")),
        }
    }

    async fn probe_stored(&self, path: &Path) -> Result<(), LakeError> {
        self.probe_second_put(path).await?;
        if self.get(path).await?.as_deref() != Some(PROBE) {
            return Err(self.unusable("does not give back the object that it has stored"));
        }
        let listed = self.objects(&self.path(PROBES)).await?;
        let Some(own) = listed.iter().find(|found| found.location == *path) else {
            return Err(self.unusable("does not list an object that it has stored"));
        };
        // By the clock of the store alone.
        let is_left_behind = |found: &&ObjectMeta| own.last_modified - found.last_modified > PROBE_LIVES;
        let left: Vec<&Path> = listed.iter().filter(is_left_behind).map(|found| &found.location).collect();
        for path in left {
            self.delete_if_there(path).await?;
        }
        Ok(())
    }

    async fn probe_second_put(&self, path: &Path) -> Result<(), LakeError> {
        match self.put_new(path, Bytes::from_static(b"2")).await? {
            Put::Exists => Ok(()),
            Put::New => Err(self.unusable("ignores conditional puts, so two writers could both commit one version")),
        }
    }

    /// A name of its own: roles that start together must not remove each other's object between two steps.
    fn probe_path(&self, nonce: u128) -> Path {
        self.path(&format!("{PROBES}/{nonce:032x}"))
    }

    fn unusable(&self, what: &str) -> LakeError {
        LakeError::Unusable { reason: format!("{} {what}", self.store()) }
    }

    /// The object store.
    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.inner.store
    }

    /// The full path of an object below the root.
    pub fn path(&self, relative: &str) -> Path {
        relative.split('/').filter(|part| !part.is_empty()).fold(self.inner.root.clone(), |path, part| path.join(part))
    }

    /// Names of the folders directly below `folder` (for finding tables). One listing.
    ///
    /// # Errors
    /// [`LakeError::Unreachable`]: try again.
    pub async fn folders(&self, folder: &str) -> Result<Vec<String>, LakeError> {
        let path = self.path(folder);
        let listed =
            self.store().list_with_delimiter(Some(&path)).await.map_err(|error| LakeError::store(&path, error))?;
        Ok(listed.common_prefixes.iter().filter_map(|prefix| prefix.filename().map(str::to_owned)).collect())
    }

    /// All objects below a folder, in no order. One listing.
    ///
    /// # Errors
    /// [`LakeError::Unreachable`]: try again. [`LakeError::Unusable`]: the store does not let us.
    pub async fn objects(&self, folder: &Path) -> Result<Vec<ObjectMeta>, LakeError> {
        self.store().list(Some(folder)).try_collect().await.map_err(|error| LakeError::store(folder, error))
    }

    /// What the store says of an object, or `None` where there is none. One small request.
    pub(crate) async fn head(&self, path: &Path) -> Result<Option<ObjectMeta>, LakeError> {
        match self.store().head(path).await {
            Ok(object) => Ok(Some(object)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(LakeError::store(path, error)),
        }
    }

    /// Reads a whole object, or `None` where there is none.
    ///
    /// # Errors
    /// [`LakeError::Unreachable`]: try again. [`LakeError::Unusable`]: the store does not let us.
    pub async fn get(&self, path: &Path) -> Result<Option<Bytes>, LakeError> {
        Ok(self.get_with_version(path).await?.map(|(bytes, _)| bytes))
    }

    /// The same, with what [`Self::replace`] knows the object by.
    pub(crate) async fn get_with_version(&self, path: &Path) -> Result<Option<(Bytes, UpdateVersion)>, LakeError> {
        let found = match self.store().get(path).await {
            Ok(found) => {
                let version = UpdateVersion { e_tag: found.meta.e_tag.clone(), version: found.meta.version.clone() };
                found.bytes().await.map(|bytes| (bytes, version))
            }
            Err(error) => Err(error),
        };
        match found {
            Ok(found) => Ok(Some(found)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(LakeError::store(path, error)),
        }
    }

    /// Puts a new object; one of the very same content under its name is this one, put by a call whose reply was lost.
    ///
    /// # Errors
    /// [`LakeError::Unreachable`]: put it again. [`LakeError::Full`], [`LakeError::Unusable`]: it was not put.
    /// [`LakeError::Corrupt`]: an object of other content has the name.
    pub async fn put_once(&self, path: &Path, bytes: Bytes) -> Result<(), LakeError> {
        if self.put_new(path, bytes.clone()).await? == Put::New || self.get(path).await? == Some(bytes) {
            return Ok(());
        }
        Err(LakeError::corrupt(path, "an object of other content has this name already"))
    }

    /// Puts an object, in the place of one that may have its name.
    ///
    /// # Errors
    /// [`LakeError::Unreachable`]: put it again. [`LakeError::Full`], [`LakeError::Unusable`]: it was not put.
    pub async fn put(&self, path: &Path, bytes: Bytes) -> Result<(), LakeError> {
        let put = self.store().put_opts(path, PutPayload::from_bytes(bytes), PutMode::Overwrite.into()).await;
        put.map(drop).map_err(|error| LakeError::store(path, error))
    }

    /// Deletes an object; one that is not there is deleted already.
    ///
    /// # Errors
    /// [`LakeError::Unreachable`]: delete it again. [`LakeError::Unusable`]: the store does not let us.
    pub async fn delete_if_there(&self, path: &Path) -> Result<(), LakeError> {
        match self.store().delete(path).await {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(LakeError::store(path, error)),
        }
    }

    /// Deletes objects of a folder, many with one request where the store can, in no order; those that are not there
    /// are deleted already.
    ///
    /// # Errors
    /// As [`Self::delete_if_there`]; some may be deleted.
    pub async fn delete_all(&self, folder: &Path, paths: Vec<Path>) -> Result<(), LakeError> {
        let mut deleted = self.store().delete_stream(stream::iter(paths.into_iter().map(Ok)).boxed());
        while let Some(done) = deleted.next().await {
            match done {
                Ok(_) | Err(Error::NotFound { .. }) => {}
                Err(error) => return Err(LakeError::store(folder, error)),
            }
        }
        Ok(())
    }

    /// Puts an object on condition that there is none of that name.
    pub(crate) async fn put_new(&self, path: &Path, bytes: Bytes) -> Result<Put, LakeError> {
        match self.store().put_opts(path, PutPayload::from_bytes(bytes), PutMode::Create.into()).await {
            Ok(_) => Ok(Put::New),
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => Ok(Put::Exists),
            Err(error) => Err(LakeError::store(path, error)),
        }
    }

    /// Puts an object in the place of the one that was seen under its name (`None`: of none), and of no other. Stores
    /// that know no such condition, as folders, are asked just before: another writer may come in between.
    pub(crate) async fn replace(
        &self,
        path: &Path,
        seen: Option<&UpdateVersion>,
        bytes: Bytes,
    ) -> Result<Put, LakeError> {
        let Some(seen) = seen else { return self.put_new(path, bytes).await };
        let (payload, mode) = (PutPayload::from_bytes(bytes.clone()), PutMode::Update(seen.clone()));
        match self.store().put_opts(path, payload, mode.into()).await {
            Ok(_) => Ok(Put::New),
            Err(Error::NotImplemented { .. }) => match self.get_with_version(path).await? {
                Some((_, found)) if found == *seen => self.put(path, bytes).await.map(|()| Put::New),
                _ => Ok(Put::Exists),
            },
            // The very same content is this one, put by a call whose reply was lost.
            Err(Error::Precondition { .. } | Error::NotFound { .. }) => {
                Ok(if self.get(path).await? == Some(bytes) { Put::New } else { Put::Exists })
            }
            Err(error) => Err(LakeError::store(path, error)),
        }
    }

    /// The modification time that the store gives to an object, in milliseconds since 1970 UTC.
    pub(crate) async fn modified_millis(&self, path: &Path) -> Result<Option<i64>, LakeError> {
        Ok(self.head(path).await?.map(|object| object.last_modified.timestamp_millis()))
    }

    /// Names the store inside the query engine.
    pub(crate) fn url(&self) -> &ObjectStoreUrl {
        &self.inner.url
    }

    pub(crate) fn settings(&self) -> &LakeSettings {
        &self.inner.settings
    }
}

/// What a conditional put did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Put {
    /// The object is new.
    New,
    /// An object of that name was there already; it is unchanged.
    Exists,
}
