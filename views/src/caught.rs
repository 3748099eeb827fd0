//! A panic of the engine as an error: it fails what was asked, and nothing beside it.
//!
//! Why so: the engine's accumulators check each other by asserting. A view whose states make one fail must stop alone,
//! after every restart too; the tasks that compute it also compute its siblings.

use std::any::Any;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Poll;

use datafusion::common::DataFusionError;

use crate::error::DefinitionError;

/// What `future` comes to.
///
/// # Errors
/// [`DefinitionError::Engine`] with the words of the panic if it panics; what it held is dropped.
pub async fn caught<T>(future: impl Future<Output = T>) -> Result<T, DefinitionError> {
    let mut future = Box::pin(future);
    poll_fn(move |context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(poll) => poll.map(Ok),
        Err(panic) => Poll::Ready(Err(DefinitionError::Engine(DataFusionError::Execution(words_of(panic.as_ref()))))),
    })
    .await
}

fn words_of(panic: &(dyn Any + Send)) -> String {
    let words = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("it panicked: {}", words.unwrap_or("without words"))
}
