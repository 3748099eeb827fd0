//! Admission: how many requests, and how many of their bytes, are in the process at the same time.
//!
//! Guarantee: never more than the limits; what a request holds is given back when it ends, however it ends.
//! Why so: refusing at once (429) keeps latency and memory flat; a queue would only move the overload.

use std::sync::Arc;

use metrics::gauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use crate::config::CollectorSettings;
use crate::metrics::COLLECTOR_IN_FLIGHT;
use edge::{Problem, ProblemKind};

/// The budgets that all requests share.
#[derive(Debug)]
pub(super) struct Admission {
    // Taken and given back by every request; semaphores because permits return themselves when a request is dropped.
    requests: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    // A permit for each large body that is inflated, taken apart or checked at this moment.
    turns: Semaphore,
    limits: Limits,
}

/// Large bodies that are worked on at one time, at least, and one for each processor: with a thread for each of
/// hundreds, the system would give those of the runtime little of its time.
const LEAST_TURNS: usize = 4;
/// Smaller ones take no turn: no thread is handed over for them (`records::in_place`).
const SMALL_BYTES: usize = 128 << 10;

impl Admission {
    pub fn new(settings: &CollectorSettings) -> Self {
        let permits = |count: usize| Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS)));
        let limits = Limits {
            requests: settings.max_in_flight_requests,
            bytes: settings.max_in_flight_bytes,
            retry_after_seconds: settings.retry_after.as_secs().max(1),
        };
        let processors = std::thread::available_parallelism().map_or(LEAST_TURNS, usize::from);
        let turns = Semaphore::new(processors.max(LEAST_TURNS));
        Self { requests: permits(limits.requests), bytes: permits(limits.bytes), turns, limits }
    }

    /// The turn to work on so many bytes, until it is dropped; `None`, at once, where they are few.
    pub async fn turn(&self, bytes: usize) -> Option<SemaphorePermit<'_>> {
        if bytes <= SMALL_BYTES {
            return None;
        }
        Some(self.turns.acquire().await.expect("the turns are never closed"))
    }

    /// Lets one request in.
    ///
    /// # Errors
    /// 429 while too many are at work.
    pub fn enter(&self) -> Result<Admitted, Problem> {
        let limits = self.limits;
        let request = self.requests.clone().try_acquire_owned().map_err(|_| limits.too_many_requests())?;
        let bytes = self.bytes.clone().try_acquire_many_owned(0).map_err(|_| limits.too_many_bytes())?;
        Ok(Admitted { _request: request, bytes, limits })
    }
}

/// One request's part of the budgets.
#[derive(Debug)]
pub(super) struct Admitted {
    _request: OwnedSemaphorePermit,
    bytes: OwnedSemaphorePermit,
    limits: Limits,
}

impl Admitted {
    /// Takes room for further bytes.
    ///
    /// # Errors
    /// 429 while all requests together hold too many.
    pub fn hold(&mut self, bytes: usize) -> Result<(), Problem> {
        let refused = || self.limits.too_many_bytes();
        let count = u32::try_from(bytes).map_err(|_| refused())?;
        let more = self.bytes.semaphore().clone().try_acquire_many_owned(count).map_err(|_| refused())?;
        self.bytes.merge(more);
        gauge!(COLLECTOR_IN_FLIGHT).increment(f64::from(count));
        Ok(())
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        gauge!(COLLECTOR_IN_FLIGHT).decrement(self.bytes.num_permits() as f64);
    }
}

/// What the budgets are, for whoever finds them spent.
#[derive(Clone, Copy, Debug)]
struct Limits {
    requests: usize,
    bytes: usize,
    retry_after_seconds: u64,
}

impl Limits {
    fn too_many_requests(self) -> Problem {
        let limit = self.requests;
        self.overloaded(&format!("{limit} requests are in progress, the limit (`collector.max_in_flight_requests`)"))
    }

    fn too_many_bytes(self) -> Problem {
        let limit = self.bytes;
        self.overloaded(&format!(
            "the requests in progress would hold more than {limit} bytes, the limit (`collector.max_in_flight`)"
        ))
    }

    fn overloaded(self, why: &str) -> Problem {
        Problem::new(ProblemKind::Overloaded, format!("{why}; nothing of this request was stored"))
            .with_hint("send the request again after the time in Retry-After")
            .with_retry_after(self.retry_after_seconds)
    }
}
