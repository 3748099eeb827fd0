//! The keys of the store: topics, starts of partitions, chunks of records. Pure.
//!
//! ```text
//!  0 topic-name                                                        --> number, id, count of partitions
//!  1 topic-number partition                                            --> where the partition starts
//!  2 topic-number partition last-offset appended-at count total-bytes  --> the records of a chunk
//! ```
//!
//! Why the *last* offset: the chunk that holds an offset is the first one at or behind it, so that every look is one
//! step forward. Why the rest of a chunk's key: retention decides by keys alone and reads no record.

use positions::PartitionId;

const TOPIC: u8 = 0;
const START: u8 = 1;
const CHUNK: u8 = 2;

/// One partition of one topic, which another topic of the name does not share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TopicPartition {
    pub(super) topic: u32,
    pub(super) partition: PartitionId,
}

/// What the key of a chunk says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ChunkKey {
    pub(super) place: TopicPartition,
    /// The offset of its last record.
    pub(super) last: i64,
    /// When it was appended, milliseconds since 1970.
    pub(super) appended_at: i64,
    /// Its records.
    pub(super) count: u32,
    /// Bytes of the partition up to and with this chunk, since the topic was made.
    pub(super) total: u64,
}

pub(super) fn topic(name: &str) -> Vec<u8> {
    [&[TOPIC], name.as_bytes()].concat()
}

pub(super) fn topics() -> [u8; 1] {
    [TOPIC]
}

pub(super) fn topic_name(key: &[u8]) -> Option<String> {
    String::from_utf8(key.get(1..)?.to_vec()).ok()
}

pub(super) fn start(place: TopicPartition) -> Vec<u8> {
    with_place(START, place)
}

/// The least key of a start, before all chunks.
pub(super) fn starts() -> Vec<u8> {
    vec![START]
}

/// The number of the topic that a start or a chunk belongs to; `None` for any other key.
pub(super) fn topic_number(key: &[u8]) -> Option<u32> {
    let (tag, rest) = take::<1>(key)?;
    let (topic, _) = take(rest)?;
    ([[START], [CHUNK]].contains(&tag)).then(|| u32::from_be_bytes(topic))
}

/// The least key of the same kind that belongs to a topic behind that of `key`, which is a start or a chunk.
pub(super) fn behind_topic(key: &[u8], topic: u32) -> Vec<u8> {
    [&key[..1], &topic.saturating_add(1).to_be_bytes()].concat()
}

/// The least key of a chunk whose last offset is `offset` or more.
pub(super) fn chunks_from(place: TopicPartition, offset: i64) -> Vec<u8> {
    let mut key = with_place(CHUNK, place);
    key.extend(offset.to_be_bytes());
    key
}

/// Behind every chunk of the partition.
pub(super) fn chunks_end(place: TopicPartition) -> Vec<u8> {
    let mut key = chunks_from(place, i64::MAX);
    key.push(u8::MAX);
    key
}

impl ChunkKey {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut key = chunks_from(self.place, self.last);
        key.extend(self.appended_at.to_be_bytes());
        key.extend(self.count.to_be_bytes());
        key.extend(self.total.to_be_bytes());
        key
    }

    /// `None` for any other key.
    pub(super) fn decode(key: &[u8]) -> Option<Self> {
        let (tag, rest) = take::<1>(key)?;
        let (topic, rest) = take(rest)?;
        let (partition, rest) = take(rest)?;
        let (last, rest) = take(rest)?;
        let (appended_at, rest) = take(rest)?;
        let (count, rest) = take(rest)?;
        let (total, rest) = take(rest)?;
        let place =
            TopicPartition { topic: u32::from_be_bytes(topic), partition: PartitionId(i32::from_be_bytes(partition)) };
        (tag == [CHUNK] && rest.is_empty()).then_some(Self {
            place,
            last: i64::from_be_bytes(last),
            appended_at: i64::from_be_bytes(appended_at),
            count: u32::from_be_bytes(count),
            total: u64::from_be_bytes(total),
        })
    }

    /// The offset of its first record.
    pub(super) fn first(&self) -> i64 {
        self.last + 1 - i64::from(self.count)
    }
}

fn with_place(tag: u8, place: TopicPartition) -> Vec<u8> {
    let mut key = Vec::with_capacity(37);
    key.push(tag);
    key.extend(place.topic.to_be_bytes());
    key.extend(place.partition.0.to_be_bytes());
    key
}

fn take<const N: usize>(bytes: &[u8]) -> Option<([u8; N], &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<N>()?;
    Some((*head, rest))
}
