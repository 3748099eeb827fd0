//! An object store in memory that yields before and after every request, and fails or stalls when told to: so that a
//! future can be dropped between any two requests.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, PutOptions, PutPayload, PutResult, Result};
use tokio::sync::watch;

use crate::support::object_layer::Layer;

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

impl Layer for YieldingStore {
    type Inner = InMemory;

    fn inner(&self) -> &InMemory {
        &self.inner
    }

    async fn put(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let mut is_stalled = self.is_stalled.subscribe();
        // It fails only without a sender, and this store holds one.
        let _ = is_stalled.wait_for(|is_stalled| !is_stalled).await;
        if self.is_full.load(Ordering::SeqCst) {
            let source = std::io::Error::new(std::io::ErrorKind::StorageFull, "no space left on device");
            return Err(object_store::Error::Generic { store: "yielding memory", source: source.into() });
        }
        let result = self.inner.put_opts(location, payload, options).await;
        tokio::task::yield_now().await;
        result
    }

    async fn call<T: Send>(&self, _name: &str, request: impl Future<Output = Result<T>> + Send) -> Result<T> {
        tokio::task::yield_now().await;
        request.await
    }
}
