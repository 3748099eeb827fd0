//! One counter over every call to log and object store, and the plan which of them fails: before it is done, or after
//! it was done and its answer was lost.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use event_log::memory::MemoryLog;
use event_log::{EventLog, EventLogError, LogBounds, LogConsumer, Poll, PollLimit};
use object_store::{ObjectStore, Result as StoreResult};
use positions::{Offset, PartitionId};

use crate::support::log_layer::LogLayer;
use crate::support::object_layer::Layer;

/// Which call fails.
#[derive(Debug, Default)]
pub struct Faults {
    calls: AtomicU64,
    /// The number of the call that fails, from 1; 0: none.
    fails: AtomicU64,
    is_after: AtomicBool,
}

impl Faults {
    /// Counts from 1 again and fails the call of this number.
    pub fn fail_call(&self, number: u64, is_after: bool) {
        self.calls.store(0, Ordering::SeqCst);
        self.fails.store(number, Ordering::SeqCst);
        self.is_after.store(is_after, Ordering::SeqCst);
    }

    /// Whether the call that was to fail has been made.
    pub fn has_failed(&self) -> bool {
        self.calls.load(Ordering::SeqCst) >= self.fails.load(Ordering::SeqCst)
    }

    fn is_this(&self) -> bool {
        self.calls.fetch_add(1, Ordering::SeqCst) + 1 == self.fails.load(Ordering::SeqCst)
    }

    async fn attempt<T, E>(
        &self,
        call: impl Future<Output = Result<T, E>>,
        failed: impl FnOnce() -> E,
    ) -> Result<T, E> {
        tokio::task::yield_now().await;
        let fails = self.is_this();
        if fails && !self.is_after.load(Ordering::SeqCst) {
            return Err(failed());
        }
        let answer = call.await;
        if fails { Err(failed()) } else { answer }
    }

    async fn ask<T>(&self, call: impl Future<Output = Result<T, EventLogError>>) -> Result<T, EventLogError> {
        self.attempt(call, || EventLogError::Unreachable("this call was to fail".to_owned())).await
    }
}

/// A log in memory in which one call fails.
pub struct FailingLog {
    pub inner: MemoryLog,
    pub faults: Arc<Faults>,
}

#[async_trait]
impl LogLayer for FailingLog {
    fn inner(&self) -> &MemoryLog {
        &self.inner
    }

    async fn partitions(&self, topic: &str) -> Result<BTreeSet<PartitionId>, EventLogError> {
        self.faults.ask(self.inner.partitions(topic)).await
    }

    async fn bounds(&self, topic: &str, partition: PartitionId) -> Result<LogBounds, EventLogError> {
        self.faults.ask(self.inner.bounds(topic, partition)).await
    }

    async fn consumer(&self, topic: &str, group: Option<&str>) -> Result<Box<dyn LogConsumer>, EventLogError> {
        let inner = self.faults.ask(self.inner.consumer(topic, group)).await?;
        Ok(Box::new(FailingConsumer { inner, faults: Arc::clone(&self.faults) }))
    }
}

struct FailingConsumer {
    inner: Box<dyn LogConsumer>,
    faults: Arc<Faults>,
}

#[async_trait]
impl LogConsumer for FailingConsumer {
    async fn seek(&mut self, starts: &BTreeMap<PartitionId, Offset>) -> Result<(), EventLogError> {
        self.faults.ask(self.inner.seek(starts)).await
    }

    async fn poll(&mut self, limit: PollLimit) -> Result<Poll, EventLogError> {
        self.faults.ask(self.inner.poll(limit)).await
    }

    fn take_ends(&mut self) -> BTreeMap<PartitionId, Duration> {
        self.inner.take_ends()
    }

    async fn report_progress(&mut self, offsets: &BTreeMap<PartitionId, Offset>) -> Result<(), EventLogError> {
        self.inner.report_progress(offsets).await
    }
}

/// An object store in which one call fails.
#[derive(Debug)]
pub struct FailingStore<S> {
    pub inner: S,
    pub faults: Arc<Faults>,
}

impl<S: ObjectStore> Layer for FailingStore<S> {
    type Inner = S;

    fn inner(&self) -> &S {
        &self.inner
    }

    async fn call<T: Send>(&self, _name: &str, request: impl Future<Output = StoreResult<T>> + Send) -> StoreResult<T> {
        let source = std::io::Error::from(std::io::ErrorKind::TimedOut);
        let failed = || object_store::Error::Generic { store: "failing", source: source.into() };
        self.faults.attempt(request, failed).await
    }
}
