//! Answers on their way: written, and their memory counted until their clients have read the last byte.
//!
//! In: the rows of an answer, and what writes it. Out: bytes, which hand their memory back when nobody holds them any
//! more.
//! Guarantee: all answers that are held at one time take their share of one setting; beyond it an answer is refused. A
//! long one is written beside the threads of the process.
//! Not here: how long one may take to read (`edge/src/run.rs`).
//! Why so: a client that asks for much and reads nothing would otherwise keep it all in this process, once for each of
//! its connections. The place of its query is free by then: who reads slowly keeps nobody from asking.

use std::sync::Arc;

use arrow::array::RecordBatch;
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::expression_cost::size_of;
use crate::{GatewayError, GatewaySettings, patience};

/// Bytes of one permit: a semaphore hands out at most 2^32 of them at one time.
const UNIT_BYTES: usize = 1_024;
/// A longer text takes some milliseconds to be written.
const LARGE_BYTES: usize = 256 << 10;
/// Of a value as text, beside its name: quotes, colon, comma, and a short number.
const WRITTEN_BYTES: usize = 8;

/// The memory of all answers of a port.
#[derive(Clone, Debug)]
pub(crate) struct Unread {
    // A permit for each unit that no answer holds; taken by requests, given back by whoever writes an answer.
    free: Arc<Semaphore>,
    bytes: usize,
}

/// An answer, and the memory that it holds.
struct Held {
    text: String,
    _memory: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

impl Unread {
    pub(crate) fn new(settings: &GatewaySettings) -> Self {
        let bytes = settings.unread_bytes.max(settings.max_answer_bytes);
        Self { free: Arc::new(Semaphore::new(bytes / UNIT_BYTES + 1)), bytes }
    }

    /// The answer with these rows, as `write` writes it, as bytes that count until they are dropped.
    ///
    /// # Errors
    /// Those of `write`; [`GatewayError::Overloaded`] where others hold too much.
    pub(crate) async fn write(
        &self,
        rows: &RecordBatch,
        write: impl FnOnce() -> Result<String, GatewayError> + Send + 'static,
    ) -> Result<Bytes, GatewayError> {
        let text = patience::in_turn(size_of_text(rows) > LARGE_BYTES, async move { write() }).await?;
        self.hold(text)
    }

    fn hold(&self, text: String) -> Result<Bytes, GatewayError> {
        let units = u32::try_from(text.len() / UNIT_BYTES + 1).unwrap_or(u32::MAX);
        let memory = self.free.clone().try_acquire_many_owned(units).map_err(|_| GatewayError::Overloaded {
            what: "bytes of answers have not been read by their clients",
            limit: self.bytes,
            setting: "gateway.unread_answers",
        })?;
        Ok(Bytes::from_owner(Held { text, _memory: memory }))
    }
}

/// Bytes of the text of these rows, about: those of their values, and a name for each. Of lists and structs, which have
/// names inside, as many as there may be.
fn size_of_text(rows: &RecordBatch) -> usize {
    if rows.schema_ref().fields().iter().any(|field| field.data_type().is_nested()) {
        return usize::MAX;
    }
    let names: usize = rows.schema_ref().fields().iter().map(|field| field.name().len() + WRITTEN_BYTES).sum();
    let values: usize = rows.columns().iter().map(|column| size_of(column.as_ref())).sum();
    names.saturating_mul(rows.num_rows()).saturating_add(values)
}
