//! How long work may take, and where it may block.
//!
//! Guarantee: what is large, as its caller says, takes no thread of the process from others; what is small is done at
//! once, where it is.
//! Why so: a runtime of two threads answers nobody while both merge a million groups, or write a long text; and a hop
//! to another thread is longer than all of a look-up.

use std::future::Future;
use std::time::Duration;

use datafusion::error::DataFusionError;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use views::DefinitionError;

use crate::GatewayError;

/// From so many rows on, work on them is large: some milliseconds.
pub(crate) const LARGE_ROWS: usize = 16_384;

/// Large work of answers that is done at one time, running SQL aside, which has places of its own. A permit each, taken
/// by requests and given back by the thread that is done: with a thread for each of hundreds, the system would give
/// those of the runtime little of its time.
static TURNS: Semaphore = Semaphore::const_new(4);

/// The outcome of `work`, done on a thread where it may take its time.
///
/// It goes on to its end also if nobody waits for it any more.
///
/// # Errors
/// Only for a defect: it panicked.
pub(crate) async fn on_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, GatewayError> {
    let defect = |error| DefinitionError::Engine(DataFusionError::ExecutionJoin(Box::new(error)));
    Ok(spawn_blocking(work).await.map_err(defect)?)
}

/// The outcome of `work`, which never waits for long; where it is large, of a thread of its own.
///
/// # Errors
/// Its own.
pub(crate) async fn aside<T: Send + 'static>(
    is_large: bool,
    work: impl Future<Output = Result<T, GatewayError>> + Send + 'static,
) -> Result<T, GatewayError> {
    if !is_large {
        return work.await;
    }
    let runtime = Handle::current();
    on_thread(move || runtime.block_on(work)).await?
}

/// As [`aside`], a few at one time: for answers, of which as many may be asked for as anybody likes.
///
/// # Errors
/// Its own.
pub(crate) async fn in_turn<T: Send + 'static>(
    is_large: bool,
    work: impl Future<Output = Result<T, GatewayError>> + Send + 'static,
) -> Result<T, GatewayError> {
    if !is_large {
        return work.await;
    }
    let turn = TURNS.acquire().await.expect("the turns are never closed");
    let work = async move {
        let _turn = turn;
        work.await
    };
    aside(true, work).await
}

/// The outcome of work beside answers, such as reading tables for one, on a thread of its own; a few at one time, those
/// of answers among them.
///
/// # Errors
/// Only for a defect: it panicked.
pub async fn beside_answers<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, GatewayError> {
    in_turn(true, async move { Ok(work.await) }).await
}

/// The outcome of `work`, or `None` if it takes longer than `limit`.
pub(crate) async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    timeout(limit, work).await.ok()
}
