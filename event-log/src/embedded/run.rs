//! The thread of the writer: waits for requests, and takes along what has gathered meanwhile.
//!
//! Why a thread: a commit waits for the disk. Why no delay to let requests gather: while one commit is synced the next
//! ones queue, so that a busy log has large commits and an idle one answers at once.

use tokio::sync::mpsc::Receiver;

use super::write::{Request, Writer};
use crate::EventLogError;

/// Payload bytes after which a commit takes no further request.
const COMMIT_BYTES: usize = 8 << 20;

/// Starts the writer; it ends when nobody can ask it any more, and closes the store.
pub(super) fn spawn(mut writer: Writer, mut requests: Receiver<Request>) -> Result<(), EventLogError> {
    std::thread::Builder::new()
        .name("twofold-log".to_owned())
        .spawn(move || {
            let shared = writer.shared.clone();
            // Also when the writer panics: nobody waits for its end in vain.
            let _ended = shared.ended.clone().drop_guard();
            while let Some(first) = requests.blocking_recv() {
                writer.serve(gather(first, &mut requests));
            }
            drop(writer);
            drop(shared.take_store());
        })
        .map(drop)
        .map_err(|error| EventLogError::Unusable(format!("the embedded log cannot start its thread: {error}")))
}

/// A request, and those that wait behind it.
fn gather(first: Request, requests: &mut Receiver<Request>) -> Vec<Request> {
    let mut bytes = first.bytes();
    let mut gathered = vec![first];
    while bytes < COMMIT_BYTES
        && let Ok(next) = requests.try_recv()
    {
        bytes += next.bytes();
        gathered.push(next);
    }
    gathered
}
