//! The object store of one role: shared objects behind the dice, and the mistakes that a broken store would make.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{Error, ObjectStore, PutOptions, PutPayload, PutResult, Result};

use super::chance::{Gate, Part};
use super::plan::Bug;
use crate::support::object_layer::Layer;

/// See the module.
#[derive(Debug)]
pub struct SimObjects {
    pub inner: Arc<InMemory>,
    pub gate: Gate,
    pub bug: Option<Bug>,
}

fn failed(reason: &'static str) -> Error {
    Error::Generic { store: "simulated", source: std::io::Error::other(reason).into() }
}

impl Layer for SimObjects {
    type Inner = InMemory;

    fn inner(&self) -> &InMemory {
        &self.inner
    }

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

    async fn call<T: Send>(&self, name: &str, request: impl Future<Output = Result<T>> + Send) -> Result<T> {
        self.gate.call((Part::Objects, name), request, failed).await
    }
}

impl SimObjects {
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
    // Such a writer would not say either how many actions there should be.
    kept.join("\n").replace("numFileActions", "anotherMetric").into_bytes().into()
}

fn raise_cut(payload: PutPayload) -> PutPayload {
    let mut facts: serde_json::Value = serde_json::from_slice(&Bytes::from(payload)).unwrap();
    for position in facts["cut"].as_object_mut().unwrap().values_mut() {
        position["offset"] = (position["offset"].as_i64().unwrap() + 1).into();
    }
    serde_json::to_vec(&facts).unwrap().into()
}
