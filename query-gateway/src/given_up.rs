//! Whether anybody still waits for the query that runs on this thread.
//!
//! Guarantee: told to expressions, which are evaluated a batch at a time and know of no query, at the cost of a look.
//! Not here: operators, which have it from their session (`buffered.rs`).
//! Why so: the engine looks between batches, and one batch of an expensive expression may take minutes.

use std::cell::RefCell;

use datafusion::common::exec_err;
use datafusion::error::Result;
use tokio_util::sync::CancellationToken;

thread_local! {
    // Written by the thread itself, when a query begins and ends on it.
    static QUERY: RefCell<Option<CancellationToken>> = const { RefCell::new(None) };
}

/// A query runs on this thread, until the value is dropped.
#[derive(Debug)]
pub(crate) struct Here(());

impl Here {
    /// Of the query that this token gives up.
    pub(crate) fn runs(query: &CancellationToken) -> Self {
        set(query);
        Self(())
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        QUERY.with_borrow_mut(|here| *here = None);
    }
}

/// A query runs on this thread, which ends with it.
pub(crate) fn set(query: &CancellationToken) {
    QUERY.with_borrow_mut(|here| *here = Some(query.clone()));
}

/// An error, told to nobody, where the query that runs here was given up.
pub(crate) fn check() -> Result<()> {
    let is_given_up = QUERY.with_borrow(|here| here.as_ref().is_some_and(CancellationToken::is_cancelled));
    if is_given_up { exec_err!("the query was given up") } else { Ok(()) }
}
