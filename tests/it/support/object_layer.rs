//! A layer around an object store: what a test changes about some calls, every other one passed on.

use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result,
};

/// What a test changes.
pub trait Layer: fmt::Debug + Send + Sync + 'static {
    /// The store below.
    type Inner: ObjectStore;

    /// The store below.
    fn inner(&self) -> &Self::Inner;

    /// Puts one object; within [`Self::call`].
    fn put(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> impl Future<Output = Result<PutResult>> + Send {
        async move { self.inner().put_opts(location, payload, options).await }
    }

    /// Makes one request: a put, a get or a listing; `name` says which.
    fn call<T: Send>(
        &self,
        _name: &str,
        request: impl Future<Output = Result<T>> + Send,
    ) -> impl Future<Output = Result<T>> + Send {
        request
    }
}

/// A store with a layer around it.
#[derive(Debug)]
pub struct Layered<L>(Arc<L>);

impl<L: Layer> Layered<L> {
    pub fn new(layer: L) -> Self {
        Self(Arc::new(layer))
    }
}

impl<L: Layer> fmt::Display for Layered<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

fn name(request: &str, location: &Path) -> String {
    format!("{request} {}", location.filename().unwrap_or_default())
}

#[async_trait]
impl<L: Layer> ObjectStore for Layered<L> {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.0.call(&name("put", location), self.0.put(location, payload, options)).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.0.inner().put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.0.call(&name("get", location), self.0.inner().get_opts(location, options)).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.0.call(&name("ranges", location), self.0.inner().get_ranges(location, ranges)).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.0.inner().delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (layer, prefix) = (Arc::clone(&self.0), prefix.cloned());
        let listed = async move {
            let found = layer.inner().list(prefix.as_ref()).try_collect::<Vec<_>>();
            layer.call("list", found).await
        };
        let all = |listed: Result<Vec<ObjectMeta>>| match listed {
            Ok(found) => stream::iter(found.into_iter().map(Ok).collect::<Vec<_>>()),
            Err(error) => stream::iter(vec![Err(error)]),
        };
        stream::once(listed).map(all).flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.0.call("list", self.0.inner().list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.0.inner().copy_opts(from, to, options).await
    }
}
