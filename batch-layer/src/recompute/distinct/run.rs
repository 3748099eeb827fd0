//! The only file of the removal of copies that spawns: its work is spread over the threads.

use tokio::task::JoinSet;
use tracing::Instrument;

/// Runs work side by side; the results come in the order of the work. Dropping the future stops all of it.
pub(crate) async fn in_parallel<T, F>(work: impl IntoIterator<Item = F>) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    for (number, one) in work.into_iter().enumerate() {
        tasks.spawn(async move { (number, one.await) }.in_current_span());
    }
    let mut results = tasks.join_all().await;
    results.sort_by_key(|(number, _)| *number);
    results.into_iter().map(|(_, result)| result).collect()
}
