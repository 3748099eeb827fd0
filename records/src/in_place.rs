//! Work of the processor alone that takes long, done where it is without stopping others.
//!
//! Guarantee: the outcome of the work. Where a runtime has several threads, tasks that wait behind this one go on
//! meanwhile on another; where it has one, as under simulation, they wait as ever, and their order stays.
//! Why so: a process has as many threads as processors, and the layers of one share them with its ports: two of them
//! that decode some megabytes each, as one client may send them, would leave nobody to say that the process is alive.

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::block_in_place;

/// Fewer bytes are gone through in less time than it takes to hand a thread over.
const LARGE_BYTES: usize = 128 << 10;

/// The outcome of `work` on so many bytes.
pub fn in_place<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
    let has_others = || Handle::try_current().is_ok_and(|here| here.runtime_flavor() == RuntimeFlavor::MultiThread);
    if bytes > LARGE_BYTES && has_others() { block_in_place(work) } else { work() }
}
