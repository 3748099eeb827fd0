//! The writer's thread: waits for commands, and takes along what has gathered meanwhile.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use positions::IdSource;
use tokio::sync::oneshot;
use tracing::info;

use super::shared::Shared;
use super::writer::{Change, Request, Writer, close};
use crate::EventLogError;

/// What the writer is told.
pub(super) enum Command {
    Append(Request),
    Change(Change, oneshot::Sender<Result<(), EventLogError>>),
    Close,
}

/// Between two looks for what is too old, and for a folder that could not be opened.
const INTERVAL: Duration = Duration::from_secs(1);

/// Starts the writer's thread. It ends when it is told to, or when nobody can tell it anything any more.
pub(super) fn start(
    shared: Arc<Shared>,
    ids: Arc<dyn IdSource>,
    commands: Receiver<Command>,
) -> Result<(), EventLogError> {
    let writer = move || {
        // Also when the writer panics: nobody waits for its end in vain.
        let closed = shared.closed.clone().drop_guard();
        let mut writer = Writer::new(Arc::clone(&shared), ids);
        write(&shared, &mut writer, &commands);
        close(&shared);
        drop(closed);
        shared.tell_readers();
        info!("embedded log closed");
    };
    std::thread::Builder::new()
        .name("twofold-log".to_owned())
        .spawn(writer)
        .map(drop)
        .map_err(|error| EventLogError::Unusable(format!("the embedded log cannot start its thread: {error}")))
}

fn write(shared: &Shared, writer: &mut Writer, commands: &Receiver<Command>) {
    let mut put_back = None;
    let mut retained_at = shared.clock.now();
    // What an earlier process left is looked for at once.
    let mut is_more = true;
    loop {
        let wait = if is_more { Duration::ZERO } else { INTERVAL };
        let command = match put_back.take() {
            Some(command) => Ok(command),
            None => commands.recv_timeout(wait),
        };
        match command {
            Ok(Command::Append(first)) => {
                let requests;
                (requests, put_back) = gather(shared, first, commands);
                writer.append(requests);
            }
            Ok(Command::Change(change, reply)) => {
                // Who has gone away needs no answer.
                let _ = reply.send(writer.change(change));
            }
            Ok(Command::Close) | Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => writer.recover(),
        }
        let now = shared.clock.now();
        if is_more || now.micros_since(retained_at) >= positions::micros(INTERVAL) {
            is_more = writer.retain();
            retained_at = now;
        }
    }
}

/// Adds the requests that are waiting, up to the size of a batch.
fn gather(shared: &Shared, first: Request, commands: &Receiver<Command>) -> (Vec<Request>, Option<Command>) {
    let (mut records, mut bytes) = first.admission.size();
    let mut requests = vec![first];
    while records < shared.settings.batch_records && bytes < shared.settings.batch_bytes {
        match commands.try_recv() {
            Ok(Command::Append(request)) => {
                let (more_records, more_bytes) = request.admission.size();
                (records, bytes) = (records + more_records, bytes + more_bytes);
                requests.push(request);
            }
            Ok(other) => return (requests, Some(other)),
            Err(_) => break,
        }
    }
    (requests, None)
}
