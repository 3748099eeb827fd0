//! The object store with fail points about its writes and before its reads, named by what the object is in the tables.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};

use super::{fails_at, reach};

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct FailingObjects {
    pub(super) inner: Arc<dyn ObjectStore>,
    pub(super) root: Path,
}

impl fmt::Display for FailingObjects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl FailingObjects {
    /// The table that an object belongs to, and what it is there.
    fn place(&self, location: &Path) -> (&'static str, &'static str) {
        let parts: Vec<_> = location.prefix_match(&self.root).into_iter().flatten().collect();
        let parts: Vec<&str> = parts.iter().map(AsRef::as_ref).collect();
        match parts[..] {
            ["raw", _, ref object @ ..] => ("lake.master", kind(object)),
            ["views", _, ref object @ ..] => ("lake.views", kind(object)),
            ["definitions", ..] => ("lake", "definitions"),
            ["imports", ..] => ("lake", "imports"),
            ["_probe", ..] => ("lake", "probe"),
            ["_workflow", ref object @ ..] => ("workflow", workflow_kind(object)),
            _ => ("lake", "other"),
        }
    }

    /// A read is about to begin, of a whole object or of parts of one.
    fn begin_read(&self, location: &Path) -> Result<()> {
        let (table, kind) = self.place(location);
        pass(&format!("{table}.read.{kind}.before"))
    }

    fn put_point(&self, location: &Path) -> String {
        let (table, kind) = self.place(location);
        format!("{table}.{kind}")
    }
}

/// A write, with a point before it, and one after it where it was done; the store may fail at either.
async fn about<T>(what: &str, write: impl Future<Output = Result<T>>) -> Result<T> {
    pass(&format!("{what}.before"))?;
    let done = write.await?;
    pass(&format!("{what}.after"))?;
    Ok(done)
}

/// Reaches a point at which the store may fail.
fn pass(point: &str) -> Result<()> {
    if !fails_at(point) {
        return Ok(());
    }
    Err(Error::Generic { store: "fail point", source: format!("the store fails at {point}").into() })
}

/// What an object of the workflow is.
fn workflow_kind(object: &[&str]) -> &'static str {
    match object {
        ["journal", name] if !name.contains(".snapshot.") && !name.contains(".cut.") => "journal",
        ["journal" | "snapshots", _] => "snapshot",
        ["runs", _, name] if name.starts_with("output-") => "output",
        ["runs", ..] => "tasks",
        ["history", _] => "history",
        ["workers", _] => "beat",
        _ => "other",
    }
}

/// What an object is within its table.
fn kind(object: &[&str]) -> &'static str {
    match object {
        ["_delta_log", "_last_checkpoint"] => "last_checkpoint",
        ["_delta_log", name] if name.ends_with(".checkpoint.parquet") => "checkpoint",
        ["_delta_log", _] => "commit",
        ["_twofold", _] => "facts",
        [_] => "file",
        _ => "other",
    }
}

#[async_trait]
impl ObjectStore for FailingObjects {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        about(&self.put_point(location), self.inner.put_opts(location, payload, options)).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let inner = self.inner.put_multipart_opts(location, options).await?;
        Ok(Box::new(FailingUpload { inner, point: self.put_point(location) }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.begin_read(location)?;
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.begin_read(location)?;
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let names = self.clone();
        let point = move |location: &Path, moment: &str| {
            let (table, kind) = names.place(location);
            reach(&format!("{table}.remove.{kind}.{moment}"));
        };
        let before = point.clone();
        let locations = locations.inspect(move |location| {
            location.iter().for_each(|location| before(location, "before"));
        });
        let deleted = self.inner.delete_stream(locations.boxed());
        deleted.inspect(move |location| location.iter().for_each(|location| point(location, "after"))).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

/// An object in parts, which is there when they are put together.
#[derive(Debug)]
struct FailingUpload {
    inner: Box<dyn MultipartUpload>,
    point: String,
}

#[async_trait]
impl MultipartUpload for FailingUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.inner.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        about(&self.point, self.inner.complete()).await
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}
