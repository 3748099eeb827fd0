//! Reading: from memory what there is to read, from the store the chunks that hold it, off the async threads.
//!
//! Guarantee: a poll that is cancelled has taken nothing. A waiting poll is woken by writers, groups and retention; it
//! looks at no clock but its own deadline.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use positions::{Offset, PartitionId};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::chunk::ChunkReader;
use super::key::TopicPartition;
use super::shared::Shared;
use super::topics::{Topic, find};
use crate::group::Membership;
use crate::local::{check_readable, check_same_topic};
use crate::{EventLogError, LogConsumer, Poll, PollLimit, Record};

/// Reads one topic.
pub(super) struct Consumer {
    shared: Arc<Shared>,
    topic: String,
    membership: Option<Membership>,
    positions: BTreeMap<PartitionId, Offset>,
    // Which topic of the name is read; `None` before the first look.
    topic_id: Option<u128>,
    // When nothing lay behind the positions of these.
    ends: BTreeMap<PartitionId, Instant>,
    turn: usize,
    // Chunks that the last poll did not finish; a hint alone.
    begun: BTreeMap<PartitionId, ChunkReader>,
    changes: watch::Receiver<u64>,
}

/// What a look at the memory says.
enum Look {
    News(BTreeSet<PartitionId>),
    Read(Vec<UnreadRange>),
    Nothing,
}

/// What there is to read of a partition: `[from, to)`.
#[derive(Clone, Copy)]
struct UnreadRange {
    place: TopicPartition,
    from: i64,
    to: i64,
}

/// What one poll read.
struct Found {
    records: Vec<Record>,
    begun: BTreeMap<PartitionId, ChunkReader>,
}

impl Consumer {
    pub(super) fn new(shared: &Arc<Shared>, topic: &str, group: Option<&str>) -> Self {
        Self {
            shared: Arc::clone(shared),
            topic: topic.to_owned(),
            membership: group.map(|group| shared.groups.join(topic, group)),
            positions: BTreeMap::new(),
            topic_id: None,
            ends: BTreeMap::new(),
            turn: 0,
            begun: BTreeMap::new(),
            changes: shared.changes.subscribe(),
        }
    }

    fn look(&mut self) -> Result<Look, EventLogError> {
        let shared = Arc::clone(&self.shared);
        let topics = shared.topics();
        let topic = find(&topics, &self.topic)?;
        self.ends.clear();
        self.check_topic(topic)?;
        if let Some(assigned) = self.news_of_assignment(topic.partitions.len()) {
            return Ok(Look::News(assigned));
        }
        let mut spans = Vec::new();
        for (id, at) in &self.positions {
            let partition = topic.partition(&self.topic, *id)?;
            check_readable(&self.topic, *id, *at, partition.bounds())?;
            if at.0 < partition.next {
                let place = TopicPartition { topic: topic.number, partition: *id };
                spans.push(UnreadRange { place, from: at.0, to: partition.next });
            } else {
                self.ends.insert(*id, Instant::now());
            }
        }
        // A different partition goes first each time, so that a small limit starves none.
        self.turn = self.turn.wrapping_add(1);
        let first = self.turn % spans.len().max(1);
        spans.rotate_left(first);
        Ok(if spans.is_empty() { Look::Nothing } else { Look::Read(spans) })
    }

    fn check_topic(&mut self, topic: &Topic) -> Result<(), EventLogError> {
        let is_another = self.topic_id.is_some_and(|topic_id| topic_id != topic.topic_id);
        check_same_topic(&self.topic, &self.positions, is_another)?;
        if is_another {
            self.begun.clear();
        }
        self.topic_id = Some(topic.topic_id);
        Ok(())
    }

    fn news_of_assignment(&mut self, count: usize) -> Option<BTreeSet<PartitionId>> {
        let now = self.membership.as_mut()?.news(count)?;
        self.positions.clear();
        self.begun.clear();
        Some(now)
    }

    /// Reads what was seen. Nothing where it was removed in between: the next look says so.
    async fn read(&mut self, spans: Vec<UnreadRange>, limit: PollLimit) -> Result<Vec<Record>, EventLogError> {
        let (shared, begun) = (Arc::clone(&self.shared), std::mem::take(&mut self.begun));
        let ends: Vec<(PartitionId, i64)> = spans.iter().map(|span| (span.place.partition, span.to)).collect();
        let looked_at = Instant::now();
        let found = tokio::task::spawn_blocking(move || read_spans(&shared, &spans, begun, limit)).await;
        let found =
            found.map_err(|error| EventLogError::Unreachable(format!("reading the embedded log: {error}")))??;
        for record in &found.records {
            self.positions.insert(record.partition, record.offset.next());
        }
        self.begun = found.begun;
        let is_reached = |(id, to): &(PartitionId, i64)| self.positions.get(id).is_some_and(|next| next.0 >= *to);
        self.ends.extend(ends.into_iter().filter(is_reached).map(|(id, _)| (id, looked_at)));
        Ok(found.records)
    }
}

fn read_spans(
    shared: &Shared,
    spans: &[UnreadRange],
    mut begun: BTreeMap<PartitionId, ChunkReader>,
    limit: PollLimit,
) -> Result<Found, EventLogError> {
    let mut found = Found { records: Vec::new(), begun: BTreeMap::new() };
    let mut room = limit;
    for span in spans {
        let reader = begun.remove(&span.place.partition).filter(|reader| reader.next_offset() == span.from);
        read_span(shared, *span, reader, &mut room, &mut found)?;
        if room.records == 0 || room.bytes == 0 {
            break;
        }
    }
    if found.records.is_empty() {
        // Removed in between: the writer tells of it before the next look.
        drop(shared.removal());
    }
    Ok(found)
}

fn read_span(
    shared: &Shared,
    span: UnreadRange,
    begun: Option<ChunkReader>,
    room: &mut PollLimit,
    found: &mut Found,
) -> Result<(), EventLogError> {
    let mut next = span.from;
    if let Some(reader) = begun {
        next = take(shared, reader, span, room, found)?;
    }
    if next >= span.to || room.records == 0 || room.bytes == 0 {
        return Ok(());
    }
    let store = shared.store();
    let store = store.as_ref().ok_or_else(|| shared.unreachable())?;
    for chunk in store.chunks(span.place, next) {
        let (key, body) = chunk.map_err(|error| shared.failed("read", &error))?;
        if key.first() > next || next >= span.to {
            break;
        }
        let reader = ChunkReader::new(&key, body).map_err(|_| shared.damaged(span.place, next))?;
        next = take(shared, reader, UnreadRange { from: next, ..span }, room, found)?;
        if room.records == 0 || room.bytes == 0 {
            break;
        }
    }
    Ok(())
}

/// Takes the records of a chunk from `span.from` on while there is room; keeps the chunk where it was not finished.
fn take(
    shared: &Shared,
    mut reader: ChunkReader,
    span: UnreadRange,
    room: &mut PollLimit,
    found: &mut Found,
) -> Result<i64, EventLogError> {
    while room.records > 0 && room.bytes > 0 {
        let at = reader.next_offset();
        let Some(record) = reader.read().map_err(|_| shared.damaged(span.place, at))? else { return Ok(at) };
        if at >= span.from {
            room.records -= 1;
            room.bytes = room.bytes.saturating_sub(record.payload.len());
            found.records.push(record);
        }
    }
    let next = reader.next_offset();
    if !reader.is_done() {
        found.begun.insert(span.place.partition, reader);
    }
    Ok(next)
}

#[async_trait]
impl LogConsumer for Consumer {
    async fn seek(&mut self, starts: &BTreeMap<PartitionId, Offset>) -> Result<(), EventLogError> {
        let topics = self.shared.topics();
        let topic = find(&topics, &self.topic)?;
        for partition in starts.keys() {
            topic.partition(&self.topic, *partition)?;
        }
        self.positions = starts.clone();
        self.begun.clear();
        self.ends.clear();
        Ok(())
    }

    async fn poll(&mut self, limit: PollLimit) -> Result<Poll, EventLogError> {
        let deadline = Instant::now() + limit.wait;
        let mut has_found_nothing = false;
        loop {
            self.changes.mark_unchanged();
            self.shared.check_open()?;
            match self.look()? {
                Look::News(assigned) => return Ok(Poll::Assigned(assigned)),
                Look::Read(spans) => {
                    let records = self.read(spans, limit).await?;
                    if !records.is_empty() {
                        return Ok(Poll::Records(records));
                    }
                    // Removed in between, once; what is still said to be there and is not was lost.
                    if std::mem::replace(&mut has_found_nothing, true) {
                        let folder = self.shared.settings.folder.display();
                        let text = format!("folder {folder} of the embedded log lacks records of topic {}", self.topic);
                        return Err(EventLogError::Unusable(text));
                    }
                }
                Look::Nothing => {
                    let change = async {
                        match &mut self.membership {
                            Some(membership) => tokio::select! {
                                biased;
                                () = membership.changed() => (),
                                _ = self.changes.changed() => (),
                            },
                            None => drop(self.changes.changed().await),
                        }
                    };
                    if timeout_at(deadline, change).await.is_err() {
                        // The ends are those of now, not of the last change.
                        if let Ok(Look::News(assigned)) = self.look() {
                            return Ok(Poll::Assigned(assigned));
                        }
                        return Ok(Poll::Records(Vec::new()));
                    }
                }
            }
        }
    }

    fn take_ends(&mut self) -> BTreeMap<PartitionId, Duration> {
        std::mem::take(&mut self.ends).into_iter().map(|(id, at)| (id, at.elapsed())).collect()
    }

    async fn report_progress(&mut self, _offsets: &BTreeMap<PartitionId, Offset>) -> Result<(), EventLogError> {
        // No lag tool looks into this process.
        Ok(())
    }
}
