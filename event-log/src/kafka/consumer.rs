//! Reading: from where `seek` says, in batches of what librdkafka has already fetched.
//!
//! Guarantee: no record before `seek` gave its partition a place; records of a partition in offset order; a place that
//! the log no longer has is an error until the next `seek`.
//! Why so: draining librdkafka's queue in one go costs no task switch per record, and a poll that is cancelled while
//! it waits has taken nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::{FutureExt, StreamExt};
use positions::{Offset, PartitionId};
use rdkafka::consumer::{CommitMode, Consumer, StreamConsumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset as KafkaOffset, TopicPartitionList};
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::assignment;
use super::batch::Batch;
use super::config::KafkaSettings;
use super::connection::Connection;
use super::context::GroupContext;
use super::ends::{Ends, LogEnds, Reached};
use super::error::{call_error, call_error_for};
use super::producer::KafkaProducer;
use super::record::read_message;
use super::run;
use super::tails::Tails;
use super::told::Right;
use crate::{EventLogError, LogConsumer, Poll, PollLimit, Record};

type Client = StreamConsumer<GroupContext>;

/// How long an answer about the ends is waited for: a later one would say little about how fresh the reader is.
const ENDS_TIMEOUT: Duration = Duration::from_secs(5);

/// Reads one topic.
pub(super) struct KafkaConsumer {
    // `None` only while it is dropped. Shared with the question for the ends that is under way.
    client: Option<Arc<Client>>,
    settings: Arc<KafkaSettings>,
    producer: Arc<KafkaProducer>,
    closing: TaskTracker,
    tails: Arc<Tails>,
    topic: String,
    sharing: Sharing,
    // The next offset of every partition that is being read.
    positions: BTreeMap<PartitionId, Offset>,
    ends: Ends,
    // The last poll left nothing in librdkafka's queue.
    is_drained: bool,
    // A partition that stands still until the next seek.
    lost: Option<Lost>,
    // Came behind records that were answered first.
    pending: Option<KafkaError>,
}

/// Who decides which partitions this consumer reads.
enum Sharing {
    /// The caller.
    Told,
    /// The broker's group of this name.
    Broker(String),
}

/// A place that the log does not have.
#[derive(Clone, Copy)]
enum Lost {
    Below { partition: PartitionId, asked: Offset, low: Offset },
    Beyond { partition: PartitionId, asked: Offset },
}

/// What ends the wait for a first record.
enum Event {
    Record(Record),
    Failed(KafkaError),
    End(PartitionId),
    Rebalanced,
    Nothing,
}

impl KafkaConsumer {
    pub(super) fn open(connection: &Connection, topic: &str, group: Option<&str>) -> Result<Self, EventLogError> {
        // Without a group the name only lets librdkafka assign; nothing is joined or committed under it.
        let name = group.map_or_else(|| format!("{}-reader", connection.settings.client_id), str::to_owned);
        let client: Client = connection
            .settings
            .consumer_config(&name)
            .create_with_context(GroupContext::default())
            .map_err(|error| call_error("create a consumer", &error))?;
        let sharing = match group {
            None => Sharing::Told,
            Some(group) => {
                client.subscribe(&[topic]).map_err(|error| call_error("subscribe", &error))?;
                Sharing::Broker(group.to_owned())
            }
        };
        Ok(Self {
            client: Some(Arc::new(client)),
            settings: Arc::clone(&connection.settings),
            producer: Arc::clone(&connection.producer),
            closing: connection.closing.clone(),
            tails: Arc::clone(&connection.tails),
            topic: topic.to_owned(),
            sharing,
            positions: BTreeMap::new(),
            ends: Ends::default(),
            is_drained: false,
            lost: None,
            pending: None,
        })
    }

    fn client(&self) -> &Client {
        self.client.as_ref().expect("the client is taken by drop alone")
    }

    fn assign(&self, starts: &BTreeMap<PartitionId, Offset>) -> Result<(), EventLogError> {
        let list = self.offset_list(starts)?;
        assignment::assign(self.client(), &list)
            .map_err(|error| call_error(&format!("seek in topic {}", self.topic), &error))
    }

    fn offset_list(&self, offsets: &BTreeMap<PartitionId, Offset>) -> Result<TopicPartitionList, EventLogError> {
        self.list(offsets.iter().map(|(partition, offset)| (*partition, KafkaOffset::Offset(offset.0))))
    }

    fn list(
        &self,
        offsets: impl Iterator<Item = (PartitionId, KafkaOffset)>,
    ) -> Result<TopicPartitionList, EventLogError> {
        let mut list = TopicPartitionList::new();
        for (partition, offset) in offsets {
            list.add_partition_offset(&self.topic, partition.0, offset)
                .map_err(|error| call_error(&format!("offset {offset:?} of partition {partition}"), &error))?;
        }
        Ok(list)
    }

    /// The partitions that are this consumer's from now on, where that has changed.
    fn news_of_assignment(&mut self) -> Option<BTreeSet<PartitionId>> {
        let news = match self.sharing {
            Sharing::Told => None,
            Sharing::Broker(_) => self.client.as_ref()?.context().take_assigned(),
        }?;
        self.forget();
        Some(news)
    }

    fn forget(&mut self) {
        self.positions.clear();
        self.ends.forget();
        self.lost = None;
        self.pending = None;
    }

    /// Waits for a record, an error or a rebalance.
    async fn first_event(&mut self, deadline: Instant) -> Event {
        let client = self.client.as_ref().expect("the client is taken by drop alone");
        let context = client.context();
        let mut messages = client.stream();
        let rebalanced = async {
            match self.sharing {
                Sharing::Broker(_) => context.rebalanced.notified().await,
                Sharing::Told => std::future::pending().await,
            }
        };
        let event = async {
            tokio::select! {
                biased;
                () = rebalanced => Event::Rebalanced,
                message = messages.next() => match message {
                    Some(Ok(message)) => Event::Record(read_message(&message)),
                    Some(Err(KafkaError::PartitionEOF(partition))) => Event::End(PartitionId(partition)),
                    Some(Err(error)) => Event::Failed(error),
                    None => Event::Nothing,
                },
            }
        };
        timeout_at(deadline, event).await.unwrap_or(Event::Nothing)
    }

    /// Adds what librdkafka holds ready, up to the limit. Does not wait, so nothing that was taken can get lost.
    fn drain(&mut self, first: Record, limit: PollLimit) -> Vec<Record> {
        let client = self.client.as_ref().expect("the client is taken by drop alone");
        let mut batch = Batch::new(limit);
        batch.add(first, &mut self.positions, &mut self.ends);
        let mut messages = client.stream();
        let mut was_empty = false;
        while !batch.is_full() {
            let next = messages.next().now_or_never().flatten();
            // A callback that was due also looks like an empty queue, once.
            self.is_drained = next.is_none() && was_empty;
            was_empty = next.is_none();
            match next {
                Some(Ok(message)) => batch.add(read_message(&message), &mut self.positions, &mut self.ends),
                Some(Err(KafkaError::PartitionEOF(partition))) => self.ends.note_eof(PartitionId(partition)),
                Some(Err(error)) => {
                    self.pending = Some(error);
                    break;
                }
                None if self.is_drained => break,
                None => {}
            }
        }
        batch.into_records()
    }

    /// What an error of librdkafka means for the reader; nothing where librdkafka mends it by itself.
    async fn interpret(&mut self, error: KafkaError) -> Result<(), EventLogError> {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => {
                // librdkafka says it once: until it is known which partition is meant, every poll looks again.
                self.pending = Some(error);
                self.find_lost().await
            }
            // The group goes on without us until the next poll joins again.
            Some(RDKafkaErrorCode::PollExceeded) => {
                warn!(topic = self.topic, "polled too seldom, the group took the partitions away");
                Ok(())
            }
            code => {
                let right = match &self.sharing {
                    Sharing::Broker(group) if code == Some(RDKafkaErrorCode::GroupAuthorizationFailed) => {
                        Right::ReadGroup(group)
                    }
                    _ => Right::Read(&self.topic),
                };
                Err(call_error_for(right, &format!("read topic {}", self.topic), &error))
            }
        }
    }

    /// librdkafka does not say which partition's offset was out of range: the one outside its bounds.
    async fn find_lost(&mut self) -> Result<(), EventLogError> {
        for (partition, asked) in self.positions.clone() {
            let bounds = self.producer.bounds(&self.topic, partition).await?;
            if asked < bounds.low {
                self.lost = Some(Lost::Below { partition, asked, low: bounds.low });
            } else if asked > bounds.high {
                self.lost = Some(Lost::Beyond { partition, asked });
            }
            if self.lost.is_some() {
                self.pending = None;
            }
            self.check_lost()?;
        }
        // Inside the bounds again, as after a change of leader: read on.
        self.assign(&self.positions)?;
        self.ends.forget();
        self.pending = None;
        Ok(())
    }

    /// Asks the broker where the partitions end, off the async threads.
    fn ask_for_ends(&mut self) {
        if self.positions.is_empty() || !self.ends.is_due() {
            return;
        }
        let Ok(list) = self.list(self.positions.keys().map(|partition| (*partition, KafkaOffset::End))) else { return };
        let client = Arc::clone(self.client.as_ref().expect("the client is taken by drop alone"));
        let (closing, timeout) = (&self.closing, self.settings.request_timeout.min(ENDS_TIMEOUT));
        let question = move || client.offsets_for_times(list, timeout).ok().map(|found| read_ends(&found));
        self.ends.note_question(self.positions.clone(), || run::ask(closing, question));
    }

    /// Records of another topic under the name are nobody's, except from its start.
    fn check_topic(&self) -> Result<(), EventLogError> {
        let context = self.client().context();
        if !context.is_replaced() {
            return Ok(());
        }
        match self.positions.iter().find(|(_, next)| **next > Offset(0)) {
            Some((partition, offset)) => {
                Err(EventLogError::AnotherTopic { topic: self.topic.clone(), partition: *partition, offset: *offset })
            }
            None => {
                context.accept_topic();
                Ok(())
            }
        }
    }

    fn check_lost(&self) -> Result<(), EventLogError> {
        let topic = self.topic.clone();
        match self.lost {
            None => Ok(()),
            Some(Lost::Below { partition, asked, low }) => Err(EventLogError::Expired { topic, partition, asked, low }),
            Some(Lost::Beyond { partition, asked }) => {
                Err(EventLogError::AnotherTopic { topic, partition, offset: asked })
            }
        }
    }
}

#[async_trait]
impl LogConsumer for KafkaConsumer {
    async fn seek(&mut self, starts: &BTreeMap<PartitionId, Offset>) -> Result<(), EventLogError> {
        if !starts.is_empty() || !self.positions.is_empty() {
            self.assign(starts)?;
        }
        self.forget();
        self.positions = starts.clone();
        Ok(())
    }

    async fn poll(&mut self, limit: PollLimit) -> Result<Poll, EventLogError> {
        let deadline = Instant::now() + limit.wait;
        self.is_drained = false;
        // Each turn but the last handles an event that is not news to the caller.
        loop {
            if let Some(assigned) = self.news_of_assignment() {
                return Ok(Poll::Assigned(assigned));
            }
            self.check_lost()?;
            let event = match self.pending.take() {
                Some(error) => Event::Failed(error),
                None => self.first_event(deadline).await,
            };
            self.check_topic()?;
            match event {
                Event::Nothing => {
                    self.is_drained = true;
                    return Ok(Poll::Records(Vec::new()));
                }
                Event::Rebalanced => {}
                Event::End(partition) => self.ends.note_eof(partition),
                Event::Failed(error) => self.interpret(error).await?,
                Event::Record(first) => {
                    let records = self.drain(first, limit);
                    self.check_topic()?;
                    if !records.is_empty() {
                        return Ok(Poll::Records(records));
                    }
                }
            }
        }
    }

    fn take_ends(&mut self) -> BTreeMap<PartitionId, Duration> {
        let reached = self.ends.take_reached(&self.positions, self.is_drained);
        self.ask_for_ends();
        let note = |(partition, reached): (PartitionId, Reached)| {
            if let Some(tail) = reached.tail {
                self.tails.note(&self.topic, partition, tail);
            }
            (partition, reached.age)
        };
        reached.into_iter().map(note).collect()
    }

    async fn report_progress(&mut self, offsets: &BTreeMap<PartitionId, Offset>) -> Result<(), EventLogError> {
        if matches!(self.sharing, Sharing::Told) || offsets.is_empty() {
            return Ok(());
        }
        let list = self.offset_list(offsets)?;
        if let Err(error) = self.client().commit(&list, CommitMode::Async) {
            debug!(topic = self.topic, %error, "progress was not reported");
        }
        Ok(())
    }
}

impl Drop for KafkaConsumer {
    fn drop(&mut self) {
        if let Some(client) = self.client.take() {
            run::close(&self.closing, client);
        }
    }
}

/// The ends that the broker told; a partition that it refused is left out.
fn read_ends(found: &TopicPartitionList) -> LogEnds {
    let told = found.elements().into_iter().filter(|element| element.error().is_ok());
    told.filter_map(|element| match element.offset() {
        KafkaOffset::Offset(end) => Some((PartitionId(element.partition()), Offset(end))),
        _ => None,
    })
    .collect()
}
