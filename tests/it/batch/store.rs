//! An object store in memory that yields before and after every request, and fails or stalls when told to: so that a
//! future can be dropped between any two requests.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result,
};
use tokio::sync::watch;

/// See the module.
#[derive(Debug, Default)]
pub struct YieldingStore {
    inner: InMemory,
    is_full: Arc<AtomicBool>,
    is_stalled: watch::Sender<bool>,
}

impl YieldingStore {
    /// While set, every put fails as on a full disk.
    pub fn fullness(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.is_full)
    }

    /// While true, every put waits.
    pub fn stall(&self) -> watch::Sender<bool> {
        self.is_stalled.clone()
    }
}

impl fmt::Display for YieldingStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("yielding memory")
    }
}

#[async_trait]
impl ObjectStore for YieldingStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        tokio::task::yield_now().await;
        let mut is_stalled = self.is_stalled.subscribe();
        // It fails only without a sender, and this store holds one.
        let _ = is_stalled.wait_for(|is_stalled| !is_stalled).await;
        if self.is_full.load(Ordering::SeqCst) {
            let source = std::io::Error::new(std::io::ErrorKind::StorageFull, "no space left on device");
            return Err(object_store::Error::Generic { store: "yielding memory", source: source.into() });
        }
        let result = self.inner.put_opts(location, payload, opts).await;
        tokio::task::yield_now().await;
        result
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        tokio::task::yield_now().await;
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        tokio::task::yield_now().await;
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
