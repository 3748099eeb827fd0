//! Tells how far work is while it goes on.

use std::pin::pin;
use std::time::Duration;

use tokio::time::sleep;

/// Between two looks: several in the time between two signs of life.
const LOOK: Duration = Duration::from_millis(250);

/// Does work, and calls `tell` again and again meanwhile.
pub(in crate::workflow) async fn told_meanwhile<T>(work: impl Future<Output = T>, mut tell: impl FnMut()) -> T {
    let mut work = pin!(work);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return done,
            () = sleep(LOOK) => tell(),
        }
    }
}
