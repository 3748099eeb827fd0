//! Appending: every record acknowledged by all in-sync replicas, or an error of its own.
//!
//! Guarantee: librdkafka's own retries never double a record: they are idempotent, or there are none. A record that
//! failed may still be in the log (the acknowledgement was lost): callers that repeat it rely on event ids.

use std::sync::{Arc, Mutex, PoisonError};

use futures::future::join_all;
use rdkafka::client::Client;
use rdkafka::producer::future_producer::{Delivery, DeliveryFuture, FutureProducerContext};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use tracing::warn;
use views::{Offset, PartitionId};

use super::admin;
use super::context::LogContext;
use super::error::{append_error, call_error};
use super::record::to_millis;
use super::settings::KafkaSettings;
use crate::{EventLogError, NewRecord};

pub(super) type ProducerClient = Client<FutureProducerContext<LogContext>>;

/// The producer of one log.
pub(super) struct KafkaProducer {
    settings: Arc<KafkaSettings>,
    // Read by every append; replaced after an error that ended the producer's session for good.
    current: Mutex<FutureProducer<LogContext>>,
}

type Sent = Result<DeliveryFuture, EventLogError>;

impl KafkaProducer {
    pub(super) fn new(settings: Arc<KafkaSettings>) -> Result<Self, EventLogError> {
        let current = Mutex::new(create(&settings)?);
        Ok(Self { settings, current })
    }

    /// Appends records; one answer each, in order.
    pub(super) async fn append(
        &self,
        topic: &str,
        records: Vec<NewRecord>,
    ) -> Vec<Result<(PartitionId, Offset), EventLogError>> {
        let producer = self.current();
        let sent: Vec<(usize, Sent)> =
            records.iter().map(|record| (size(record), self.send(&producer, topic, record))).collect();
        drop(records);
        let answers = join_all(sent.into_iter().map(|(bytes, sent)| self.answer(topic, bytes, sent))).await;
        self.replace_if_dead(&producer);
        answers
    }

    /// Asks the broker something that blocks, off the async threads.
    pub(super) async fn ask<T, F>(&self, question: F) -> T
    where
        T: Send + 'static,
        F: FnOnce(&ProducerClient) -> T + Send + 'static,
    {
        let producer = self.current();
        tokio::task::spawn_blocking(move || question(producer.client()))
            .await
            .expect("a question to the broker does not panic, and is not aborted")
    }

    fn current(&self) -> FutureProducer<LogContext> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn send(&self, producer: &FutureProducer<LogContext>, topic: &str, record: &NewRecord) -> Sent {
        let bytes = size(record);
        let limit_bytes = self.settings.max_record_bytes;
        if bytes > limit_bytes {
            return Err(EventLogError::TooLarge { bytes, limit_bytes });
        }
        let message = FutureRecord {
            topic,
            partition: None,
            payload: Some(record.payload.as_ref()),
            key: record.key.as_deref(),
            timestamp: Some(to_millis(record.timestamp)),
            headers: None,
        };
        producer.send_result(message).map_err(|(error, _)| append_error(topic, &error, bytes, limit_bytes))
    }

    async fn answer(&self, topic: &str, bytes: usize, sent: Sent) -> Result<(PartitionId, Offset), EventLogError> {
        match sent?.await {
            Ok(Ok(Delivery { partition, offset, .. })) if offset >= 0 => Ok((PartitionId(partition), Offset(offset))),
            Ok(Ok(Delivery { partition, .. })) => self.offset_of_repeated(topic, PartitionId(partition)).await,
            Ok(Err((error, _))) => Err(append_error(topic, &error, bytes, self.settings.max_record_bytes)),
            Err(_) => Err(EventLogError::Unreachable(format!("append to topic {topic}: the producer was closed"))),
        }
    }

    /// A batch that was stored but whose acknowledgement was lost is acknowledged as a duplicate, without an offset.
    /// The record lies below the present end, which is good enough for whoever waits for it.
    async fn offset_of_repeated(
        &self,
        topic: &str,
        partition: PartitionId,
    ) -> Result<(PartitionId, Offset), EventLogError> {
        let bounds = admin::bounds(self, &self.settings, topic, partition).await?;
        Ok((partition, Offset((bounds.high.0 - 1).max(0))))
    }

    fn replace_if_dead(&self, producer: &FutureProducer<LogContext>) {
        let Some((code, reason)) = producer.client().fatal_error() else { return };
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.client().fatal_error().is_none() {
            return;
        }
        match create(&self.settings) {
            Ok(fresh) => {
                warn!(%code, reason, "producer session ended by the broker, a new one was opened");
                *current = fresh;
            }
            Err(error) => warn!(%error, %code, reason, "producer session ended by the broker, no new one yet"),
        }
    }
}

fn create(settings: &KafkaSettings) -> Result<FutureProducer<LogContext>, EventLogError> {
    settings
        .producer_config()
        .create_with_context(LogContext)
        .map_err(|error| call_error("create the producer", &error))
}

fn size(record: &NewRecord) -> usize {
    record.payload.len() + record.key.as_ref().map_or(0, bytes::Bytes::len)
}
