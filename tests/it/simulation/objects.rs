//! The object store of one role: shared objects behind the dice, and the mistakes that a broken store would make.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use super::chance::{Gate, Part};
use super::plan::Bug;

/// See the module.
#[derive(Clone, Debug)]
pub struct SimObjects {
    pub inner: Arc<InMemory>,
    pub gate: Gate,
    pub bug: Option<Bug>,
}

impl fmt::Display for SimObjects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "simulated objects of {:?}", self.gate)
    }
}

fn failed(reason: &'static str) -> Error {
    Error::Generic { store: "simulated", source: std::io::Error::other(reason).into() }
}

impl SimObjects {
    async fn put(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let payload = match self.bug {
            Some(Bug::CutTooHigh) if is_facts(location) => raise_cut(payload),
            _ => payload,
        };
        let put = self.inner.put_opts(location, payload.clone(), options.clone()).await;
        match (put, commit_number(location)) {
            (Err(Error::AlreadyExists { .. }), Some(number)) if self.bug == Some(Bug::RebasedCommit) => {
                self.put_behind(location, number, payload, options).await
            }
            (Err(Error::AlreadyExists { .. }), Some(number))
                if self.bug == Some(Bug::BlindCompaction) && is_compaction(&payload) =>
            {
                self.put_behind(location, number, without_removes(payload), options).await
            }
            (put, _) => put,
        }
    }

    /// What a table format does that rebases: the commit becomes the one after whatever is there.
    async fn put_behind(&self, at: &Path, number: u64, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let folder = at.as_ref().rsplit_once('/').map_or("", |(folder, _)| folder);
        for next in number + 1.. {
            let path = Path::from(format!("{folder}/{next:020}.json"));
            let put = self.inner.put_opts(&path, payload.clone(), options.clone()).await;
            if !matches!(put, Err(Error::AlreadyExists { .. })) {
                return put;
            }
        }
        unreachable!("there are more numbers than commits")
    }
}

fn is_facts(location: &Path) -> bool {
    location.as_ref().contains("/views/") && location.as_ref().contains("/_twofold/")
}

fn commit_number(location: &Path) -> Option<u64> {
    let path = location.as_ref();
    if !path.contains("/_delta_log/") {
        return None;
    }
    location.filename()?.strip_suffix(".json")?.parse().ok()
}

fn is_compaction(payload: &PutPayload) -> bool {
    String::from_utf8(Bytes::from(payload.clone()).into()).unwrap().contains(r#""operation":"OPTIMIZE""#)
}

/// What is left of a rebased compaction where nobody looks whether the files that it removes are still there.
fn without_removes(payload: PutPayload) -> PutPayload {
    let text = String::from_utf8(Bytes::from(payload).into()).unwrap();
    let kept: Vec<&str> = text.lines().filter(|line| !line.starts_with(r#"{"remove":"#)).collect();
    kept.join("\n").into_bytes().into()
}

fn raise_cut(payload: PutPayload) -> PutPayload {
    let mut facts: serde_json::Value = serde_json::from_slice(&Bytes::from(payload)).unwrap();
    for position in facts["cut"].as_object_mut().unwrap().values_mut() {
        position["offset"] = (position["offset"].as_i64().unwrap() + 1).into();
    }
    serde_json::to_vec(&facts).unwrap().into()
}

#[async_trait]
impl ObjectStore for SimObjects {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let name = format!("put {}", location.filename().unwrap_or_default());
        self.gate.call((Part::Objects, &name), self.put(location, payload, options), failed).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let name = format!("get {}", location.filename().unwrap_or_default());
        self.gate.call((Part::Objects, &name), self.inner.get_opts(location, options), failed).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.gate.call((Part::Objects, "ranges"), self.inner.get_ranges(location, ranges), failed).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (inner, gate, prefix) = (self.inner.clone(), self.gate.clone(), prefix.cloned());
        let listed = async move {
            let found = inner.list(prefix.as_ref()).try_collect::<Vec<_>>();
            gate.call((Part::Objects, "list"), found, failed).await
        };
        let all = |listed: Result<Vec<ObjectMeta>>| match listed {
            Ok(found) => stream::iter(found.into_iter().map(Ok).collect::<Vec<_>>()),
            Err(error) => stream::iter(vec![Err(error)]),
        };
        stream::once(listed).map(all).flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.gate.call((Part::Objects, "list"), self.inner.list_with_delimiter(prefix), failed).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
