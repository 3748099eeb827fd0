//! A queue to one receiver: bounded, and never waited for.

use bytes::Bytes;
use metrics::counter;
use tokio::sync::mpsc;
use tracing::warn;

use super::metrics::NOTIFY_DROPPED;

/// Who is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receiver {
    /// `notify.webhook`.
    Webhook,
    /// `notify.command`.
    Command,
    /// `notify.openlineage`.
    OpenLineage,
}

impl Receiver {
    /// As logs and metrics write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Command => "command",
            Self::OpenLineage => "openlineage",
        }
    }
}

/// What is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The same whenever it is sent again.
    pub id: String,
    /// JSON.
    pub body: Bytes,
}

/// The end of a queue that messages come out of.
#[derive(Debug)]
pub struct Waiting {
    /// To whom they go.
    pub receiver: Receiver,
    /// Those that wait.
    pub messages: mpsc::Receiver<Message>,
}

/// The end of a queue that messages go into.
#[derive(Debug)]
pub struct Outbox {
    receiver: Receiver,
    queue: mpsc::Sender<Message>,
}

impl Outbox {
    /// Both ends of a queue for so many messages.
    pub fn new(receiver: Receiver, most: usize) -> (Self, Waiting) {
        let (queue, messages) = mpsc::channel(most.min(tokio::sync::Semaphore::MAX_PERMITS));
        (Self { receiver, queue }, Waiting { receiver, messages })
    }

    /// Takes a message, or drops it where the queue is full or nobody sends any more; counted and logged.
    pub fn offer(&self, message: Message) {
        let Err(refused) = self.queue.try_send(message) else { return };
        let why = match &refused {
            mpsc::error::TrySendError::Full(_) => "too many wait (`notify.queue`)",
            mpsc::error::TrySendError::Closed(_) => "this process is stopping",
        };
        drop_message(self.receiver, &refused.into_inner(), why);
    }
}

/// Counts and tells that a message is given up.
pub(super) fn drop_message(receiver: Receiver, message: &Message, why: &str) {
    counter!(NOTIFY_DROPPED, "receiver" => receiver.name()).increment(1);
    warn!(receiver = receiver.name(), id = message.id, why, "notice dropped");
}
