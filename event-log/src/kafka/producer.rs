//! Appending: every record acknowledged by all in-sync replicas, or an error of its own.
//!
//! Guarantee: librdkafka's own retries never double a record: they are idempotent, or there are none. A record that
//! failed may still be in the log (the acknowledgement was lost): callers that repeat it rely on event ids. One that is
//! `TooLarge` or `Refused` is not in the log, and it is to blame itself: brokers refuse a batch as a whole, so each of
//! its records is sent once more alone before it is called so.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use futures::future::join_all;
use positions::{Offset, PartitionId};
use rdkafka::ClientConfig;
use rdkafka::client::Client;
use rdkafka::producer::future_producer::{Delivery, DeliveryFuture, FutureProducerContext};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use tracing::warn;

use super::config::KafkaSettings;
use super::context::LogContext;
use super::error::{append_error, call_error, call_error_for};
use super::record::{headers_of, to_millis};
use super::told::Right;
use crate::{EventLogError, LogBounds, NewRecord};

pub(super) type ProducerClient = Client<FutureProducerContext<LogContext>>;

/// The producer of one log.
pub(super) struct KafkaProducer {
    settings: Arc<KafkaSettings>,
    context: LogContext,
    // Read by every append; replaced after an error that ended the producer's session for good.
    current: Mutex<FutureProducer<LogContext>>,
    // Made by the first append that needs it, then read: sends each record in a batch of its own.
    alone: OnceLock<FutureProducer<LogContext>>,
}

type Answer = Result<(PartitionId, Offset), EventLogError>;
type Sent = Result<DeliveryFuture, EventLogError>;

impl KafkaProducer {
    pub(super) fn new(settings: Arc<KafkaSettings>) -> Result<Self, EventLogError> {
        let context = LogContext::default();
        let current = Mutex::new(create(&settings.producer_config(), &context)?);
        Ok(Self { settings, context, current, alone: OnceLock::new() })
    }

    /// Why brokers refused this client the last time, where they did.
    pub(super) fn refusal(&self) -> Option<String> {
        self.context.refusal()
    }

    /// Why there was no connection to a broker the last time.
    pub(super) fn silence(&self) -> Option<String> {
        self.context.silence()
    }

    /// Appends records; one answer each, in order.
    pub(super) async fn append(&self, topic: &str, records: Vec<NewRecord>) -> Vec<Answer> {
        let producer = self.current();
        let mut answers = self.append_with(&producer, topic, records.iter()).await;
        self.replace_if_dead(&producer);
        let refused = |at: &usize| matches!(answers[*at], Err(EventLogError::Refused(_)));
        let refused: Vec<usize> = (0..records.len()).filter(refused).collect();
        if !refused.is_empty()
            && let Some(alone) = self.alone()
        {
            let again = self.append_with(alone, topic, refused.iter().map(|at| &records[*at])).await;
            std::iter::zip(refused, again).for_each(|(at, answer)| answers[at] = answer);
        }
        answers
    }

    /// Hands all records to a producer, then waits for all answers.
    async fn append_with(
        &self,
        producer: &FutureProducer<LogContext>,
        topic: &str,
        records: impl Iterator<Item = &NewRecord>,
    ) -> Vec<Answer> {
        let sent: Vec<(usize, Sent)> =
            records.map(|record| (record.size_bytes(), self.send(producer, topic, record))).collect();
        join_all(sent.into_iter().map(|(bytes, sent)| self.answer(topic, bytes, sent))).await
    }

    fn alone(&self) -> Option<&FutureProducer<LogContext>> {
        if self.alone.get().is_none() {
            // Without retries, so that no loss of an acknowledgement ever ends its session for good.
            let made = create(self.settings.repeating_nothing().set("batch.num.messages", "1"), &self.context);
            let made =
                made.inspect_err(|error| warn!(%error, "refused records cannot be sent again one by one")).ok()?;
            // Another append may have been faster; then its producer serves both.
            let _ = self.alone.set(made);
        }
        self.alone.get()
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

    /// The readable offsets of a partition.
    pub(super) async fn bounds(&self, topic: &str, partition: PartitionId) -> Result<LogBounds, EventLogError> {
        let (name, timeout) = (topic.to_owned(), self.settings.request_timeout);
        let answer = self.ask(move |client| client.fetch_watermarks(&name, partition.0, timeout)).await;
        let doing = || format!("bounds of topic {topic} partition {partition}");
        let (low, high) = answer.map_err(|error| call_error_for(Right::Describe(topic), &doing(), &error))?;
        Ok(LogBounds { low: Offset(low.max(0)), high: Offset(high.max(0)) })
    }

    fn current(&self) -> FutureProducer<LogContext> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn send(&self, producer: &FutureProducer<LogContext>, topic: &str, record: &NewRecord) -> Sent {
        let bytes = record.size_bytes();
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
            headers: headers_of(record),
        };
        producer.send_result(message).map_err(|(error, _)| append_error(topic, &error, bytes))
    }

    async fn answer(&self, topic: &str, bytes: usize, sent: Sent) -> Answer {
        match sent?.await {
            Ok(Ok(Delivery { partition, offset, .. })) if offset >= 0 => Ok((PartitionId(partition), Offset(offset))),
            Ok(Ok(Delivery { partition, .. })) => self.offset_of_repeated(topic, PartitionId(partition)).await,
            Ok(Err((error, _))) => Err(append_error(topic, &error, bytes)),
            Err(_) => Err(EventLogError::Unreachable(format!("append to topic {topic}: the producer was closed"))),
        }
    }

    /// A batch that was stored but whose acknowledgement was lost is acknowledged as a duplicate, without an offset.
    /// The record lies below the present end, which is good enough for whoever waits for it.
    async fn offset_of_repeated(&self, topic: &str, partition: PartitionId) -> Answer {
        let bounds = self.bounds(topic, partition).await?;
        Ok((partition, Offset((bounds.high.0 - 1).max(0))))
    }

    fn replace_if_dead(&self, producer: &FutureProducer<LogContext>) {
        let Some((code, reason)) = producer.client().fatal_error() else { return };
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.client().fatal_error().is_none() {
            return;
        }
        match create(&self.settings.producer_config(), &self.context) {
            Ok(fresh) => {
                warn!(%code, reason, "producer session ended by the broker, a new one was opened");
                *current = fresh;
            }
            Err(error) => warn!(%error, %code, reason, "producer session ended by the broker, no new one yet"),
        }
    }
}

fn create(config: &ClientConfig, context: &LogContext) -> Result<FutureProducer<LogContext>, EventLogError> {
    config.create_with_context(context.clone()).map_err(|error| call_error("create the producer", &error))
}
