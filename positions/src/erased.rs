//! What was erased: which events, and the stone that stands in the place of a record's payload.
//!
//! ```text
//!  record   timestamp, payload               fingerprint(timestamp, payload)
//!  erased   timestamp, mark fingerprint rest  the same fingerprint; `rest` is what is left of several events
//! ```
//!
//! Guarantee: pure. A record keeps its place, its timestamp and its fingerprint, so positions, borders, cuts and the
//! look whether a topic is the one that was read stay as they are; it has no event any more, and no identity. Both
//! layers read the log through the same list, so the law holds for the log that is left.
//! Records that are erased whole are kept as stretches, so that all of a year are as few entries as they had
//! neighbours.
//! Why a stone in the payload: it goes wherever a payload goes, through logs, tables and readers of every release.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::{Fingerprint, Offset, OffsetSet, PartitionId};

/// How a stone begins: no UTF-8, so no JSON, and not the byte by which payloads name schemas.
const MARK: &[u8] = b"\xfftwofold-erased ";

/// Hexadecimal digits of a fingerprint.
const DIGITS: usize = 32;

/// The payload of a record of which something was erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stone<'a> {
    /// The fingerprint of the record as it was.
    pub fingerprint: Fingerprint,
    /// The events that are left, as an array in JSON with null or false for each one erased; empty where none is left.
    pub rest: &'a [u8],
}

impl<'a> Stone<'a> {
    /// Reads a payload; `None` for any that is no stone.
    pub fn of(payload: &'a [u8]) -> Option<Self> {
        let (digits, rest) = payload.strip_prefix(MARK)?.split_at_checked(DIGITS)?;
        let fingerprint = u128::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        Some(Self { fingerprint: Fingerprint(fingerprint), rest })
    }

    /// The payload that says this.
    pub fn to_payload(self) -> Vec<u8> {
        let mut digits = String::with_capacity(DIGITS);
        let _ = write!(digits, "{:032x}", self.fingerprint.0);
        [MARK, digits.as_bytes(), self.rest].concat()
    }
}

/// Events that an operator had erased.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ErasedRecord {
    /// The partition.
    pub partition: PartitionId,
    /// The record, or the first of a stretch of records.
    pub offset: Offset,
    /// Which of its events, as the master dataset numbers them from 1; empty: all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<i32>,
    /// Where a stretch of records ends that are erased whole; `None`: it is one record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Offset>,
}

impl ErasedRecord {
    /// All events of one record.
    pub fn whole(partition: PartitionId, offset: Offset) -> Self {
        Self::stretch(partition, offset, offset.next())
    }

    /// All events of the records `[from, to)`.
    pub fn stretch(partition: PartitionId, from: Offset, to: Offset) -> Self {
        Self { partition, offset: from, items: Vec::new(), to: Some(to).filter(|to| *to > from.next()) }
    }
}

/// Which events of one record are erased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ErasedItems {
    /// All of them.
    All,
    /// These.
    Some(BTreeSet<i32>),
}

/// What stands for each record that is erased whole.
static ALL: ErasedItems = ErasedItems::All;

/// All that was erased of a source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Erased {
    /// How many entries of the list are in: it only grows.
    pub number: u64,
    /// Records of which nothing is left.
    whole: OffsetSet,
    /// What is erased of others.
    parts: BTreeMap<(PartitionId, Offset), ErasedItems>,
}

impl Erased {
    /// Takes in events; what was erased stays so.
    pub fn add(&mut self, erased: ErasedRecord) {
        let (partition, offset) = (erased.partition, erased.offset);
        if erased.items.is_empty() {
            let to = erased.to.filter(|to| *to > offset).unwrap_or(offset.next());
            self.whole.insert(partition, offset, to);
            let within = self.parts.range((partition, offset)..(partition, to)).map(|(place, _)| *place);
            for place in within.collect::<Vec<_>>() {
                self.parts.remove(&place);
            }
        } else if !self.whole.contains(partition, offset) {
            let part = self.parts.entry((partition, offset));
            if let ErasedItems::Some(items) = part.or_insert_with(|| ErasedItems::Some(BTreeSet::new())) {
                items.extend(erased.items);
            }
        }
    }

    /// What was erased of a record.
    pub fn of(&self, partition: PartitionId, offset: Offset) -> Option<&ErasedItems> {
        if self.whole.contains(partition, offset) {
            return Some(&ALL);
        }
        self.parts.get(&(partition, offset))
    }

    /// Whether anything was erased in `[from, to]` of the partitions `[first, last]`.
    pub fn is_within(&self, (first, last): (PartitionId, PartitionId), (from, to): (Offset, Offset)) -> bool {
        let mut parts = self.parts.range((first, from)..=(last, to));
        self.whole.has_any_of(first..=last, from..=to) || parts.any(|((_, offset), _)| (from..=to).contains(offset))
    }

    /// Records of which something was erased.
    pub fn len(&self) -> usize {
        self.whole.count() as usize + self.parts.len()
    }

    /// Whether nothing was erased.
    pub fn is_empty(&self) -> bool {
        self.whole.is_empty() && self.parts.is_empty()
    }
}
