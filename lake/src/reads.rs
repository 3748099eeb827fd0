//! Whether the object store kept a scan from reading: told by the causes of an error, and by the reads themselves.
//!
//! In: what the query engine says, and what the store said to it. Out: yes or no; of rows that are read without a
//! session, an error that has it among its causes.
//! Why the reads themselves: the engine keeps what the store said of a file's metadata as text alone, which nobody can
//! tell from other texts.
//! Why a look at the file then: of a read behind the end of one that was cut short, a store says what it says where it
//! is away.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetRange, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use crate::{LakeError, chain};

/// Whether a read of the scans of one session has failed. A session that has it as an extension of its configuration
/// takes note there.
#[derive(Debug, Default)]
pub struct FailedReads {
    // Set by scans, read once they have ended: nothing else depends on it, so no order is needed.
    is_any: AtomicBool,
    // The last file that was not read, and up to which of its bytes it was to be; written and read likewise.
    last: Mutex<Option<(Path, u64)>>,
}

impl FailedReads {
    /// Whether there was one.
    pub fn is_any(&self) -> bool {
        self.is_any.load(Ordering::Relaxed)
    }

    fn note<T>(&self, outcome: Result<T>) -> Result<T> {
        if outcome.is_err() {
            self.is_any.store(true, Ordering::Relaxed);
        }
        outcome
    }

    fn note_of<T>(&self, file: &Path, end: u64, outcome: Result<T>) -> Result<T> {
        if outcome.is_err() {
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((file.clone(), end));
        }
        self.note(outcome)
    }

    fn last(&self) -> Option<(Path, u64)> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Whether an error, or one of its causes, is one of the object store: the same may succeed later.
pub fn has_store_failed(error: &(dyn Error + 'static)) -> bool {
    let mut causes = std::iter::successors(Some(error), |cause| (*cause).source());
    causes.any(|cause| match cause.downcast_ref::<LakeError>() {
        Some(error) => error.is_transient() || matches!(error, LakeError::Full { .. }),
        None => cause.is::<object_store::Error>(),
    })
}

/// Rows that are read through `store` from files of these sizes. Where it did not give one of them for now, their error
/// says so by its cause.
pub(crate) fn told_apart(
    rows: SendableRecordBatchStream,
    store: Arc<NotedStore>,
    sizes: BTreeMap<Path, u64>,
) -> SendableRecordBatchStream {
    let schema = rows.schema();
    let files = Arc::new((store, sizes));
    let rows = rows.then(move |read| {
        let files = Arc::clone(&files);
        async move {
            let (store, sizes) = &*files;
            match read {
                Err(error) => Err(store.tell(error, sizes).await),
                read => read,
            }
        }
    });
    Box::pin(RecordBatchStreamAdapter::new(schema, rows))
}

/// An object store whose failed reads are noted. Changes nothing that is asked or answered.
#[derive(Debug)]
pub(crate) struct NotedStore {
    pub(crate) inner: Arc<dyn ObjectStore>,
    pub(crate) failed: Arc<FailedReads>,
}

impl NotedStore {
    /// An error of the engine. Where a file of these sizes was not read that is whole, as far as can be seen, it
    /// becomes one that passes; one that is gone, of another size, or that names bytes behind its end, is damaged.
    async fn tell(&self, error: DataFusionError, sizes: &BTreeMap<Path, u64>) -> DataFusionError {
        let Some((file, end)) = self.failed.last() else { return error };
        let is_whole = match self.inner.get_opts(&file, GetOptions::new().with_head(true)).await {
            Ok(found) => sizes.get(&file) == Some(&found.meta.size) && end <= found.meta.size,
            Err(object_store::Error::NotFound { .. }) => false,
            Err(_) => true,
        };
        if !is_whole {
            return error;
        }
        let unread = LakeError::Unreachable { object: file.to_string(), reason: chain(&error) };
        DataFusionError::External(Box::new(unread))
    }
}

impl fmt::Display for NotedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.inner, f)
    }
}

#[async_trait]
impl ObjectStore for NotedStore {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let end = match &options.range {
            Some(GetRange::Bounded(range)) => range.end,
            _ => 0,
        };
        let mut found = self.failed.note_of(location, end, self.inner.get_opts(location, options).await)?;
        found.payload = match found.payload {
            GetResultPayload::Stream(bytes) => {
                let (failed, file) = (Arc::clone(&self.failed), location.clone());
                GetResultPayload::Stream(bytes.map(move |read| failed.note_of(&file, end, read)).boxed())
            }
            file => file,
        };
        Ok(found)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let end = ranges.iter().map(|range| range.end).max().unwrap_or_default();
        self.failed.note_of(location, end, self.inner.get_ranges(location, ranges).await)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let failed = Arc::clone(&self.failed);
        self.inner.list(prefix).map(move |listed| failed.note(listed)).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.failed.note(self.inner.list_with_delimiter(prefix).await)
    }

    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
