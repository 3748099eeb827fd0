//! The query that runs on this thread: whether anybody still waits for it, and what its windows have made.
//!
//! Guarantee: told to expressions, which are evaluated a batch at a time and know of no query, at the cost of a look.
//! What is kept here counts until the query ends.
//! Not here: operators, which have it from their session (`buffered.rs`).
//! Why so: the engine looks between batches, and one batch of an expensive expression may take minutes.

use std::cell::RefCell;
use std::sync::Arc;

use datafusion::common::exec_err;
use datafusion::error::Result;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use tokio_util::sync::CancellationToken;

#[derive(Debug)]
struct Query {
    given_up: CancellationToken,
    kept: Option<MemoryReservation>,
}

thread_local! {
    // Written by the thread itself, when a query begins and ends on it.
    static QUERY: RefCell<Option<Query>> = const { RefCell::new(None) };
}

/// A query runs on this thread, until the value is dropped.
#[derive(Debug)]
pub(crate) struct Running(());

impl Running {
    /// Of the query that this token gives up.
    pub(crate) fn here(given_up: &CancellationToken) -> Self {
        set(given_up);
        Self(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        QUERY.with_borrow_mut(|here| *here = None);
    }
}

/// A query runs on this thread, which ends with it.
pub(crate) fn set(given_up: &CancellationToken) {
    let query = Query { given_up: given_up.clone(), kept: None };
    QUERY.with_borrow_mut(|here| *here = Some(query));
}

/// An error, told to nobody, where the query that runs here was given up.
pub(crate) fn check() -> Result<()> {
    let is_given_up = QUERY.with_borrow(|here| here.as_ref().is_some_and(|query| query.given_up.is_cancelled()));
    if is_given_up { exec_err!("the query was given up") } else { Ok(()) }
}

/// Takes memory of a pool for the query that runs here, until its end.
pub(crate) fn keep(bytes: usize, pool: &Arc<dyn MemoryPool>) -> Result<()> {
    QUERY.with_borrow_mut(|here| match here {
        Some(query) => {
            let kept = query.kept.get_or_insert_with(|| MemoryConsumer::new("values of windows").register(pool));
            kept.try_grow(bytes)
        }
        // Nothing runs while a query is planned.
        None => Ok(()),
    })
}
