//! Whose notices count: of processes that are seen to live. Pure.
//!
//! In: what the objects hold at each look. Out: what is told by those who live, and the objects of those who do not.
//! Guarantee: time is counted in looks of the reader, so no clocks are compared, and a store that does not answer lets
//! nobody die. What was left by a process that died before the first look is never believed.
//! Why what is stopped must be told three times: in between every process that works on the source has looked as well,
//! and said so, and nobody refuses events that are archived.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use positions::SourceName;

use super::{Heard, Notice, NoticedStops};
use crate::stage::Stage;

/// A notice counts once it was seen to change so often.
pub const CHANGES: u32 = 2;

/// A notice that is the same for so many looks in a row is that of a process which died.
pub const UNCHANGED: u32 = 10;

/// The kind of the problem that a source has stopped, which is none where another process works on it.
pub const SOURCE_STOPPED: &str = "source-stopped";

/// What was seen of the notices of other processes.
#[derive(Debug, Default)]
pub struct NoticeWatch {
    // By the names of their objects.
    seen: BTreeMap<String, Seen>,
}

#[derive(Debug)]
struct Seen {
    bytes: Bytes,
    // Nothing where it cannot be read: another version's, or nobody's.
    notice: Notice,
    changes: u32,
    unchanged: u32,
}

impl Seen {
    fn of(bytes: Bytes) -> Self {
        let notice = serde_json::from_slice(&bytes).unwrap_or_default();
        Self { bytes, notice, changes: 0, unchanged: 0 }
    }

    fn is_alive(&self) -> bool {
        self.unchanged < UNCHANGED
    }
}

impl NoticeWatch {
    /// Takes note of what all objects hold now; the names of those whose processes have died.
    pub fn look(&mut self, found: BTreeMap<String, Bytes>) -> Vec<String> {
        self.seen.retain(|name, _| found.contains_key(name));
        for (name, bytes) in found {
            match self.seen.get_mut(&name) {
                None => {
                    self.seen.insert(name, Seen::of(bytes));
                }
                Some(seen) if seen.bytes == bytes => seen.unchanged = seen.unchanged.saturating_add(1),
                Some(seen) => *seen = Seen { changes: seen.changes.saturating_add(1), ..Seen::of(bytes) },
            }
        }
        let dead = self.seen.iter().filter(|(_, seen)| !seen.is_alive());
        dead.map(|(name, _)| name.clone()).collect()
    }

    /// What those who live say that they have given up, whether it counts already or not.
    pub fn claimed(&self) -> BTreeSet<(SourceName, String)> {
        self.alive().flat_map(|seen| duties(&seen.notice.stops)).collect()
    }

    /// What counts. A source has stopped in a stage where nobody works on it: no other process, nor this one, as
    /// `keeps` tells.
    pub fn heard(&self, keeps: impl Fn(&SourceName, &str) -> bool) -> Heard {
        let is_kept = |source: &SourceName, stage: &str| {
            let mut others = self.alive().filter_map(|seen| seen.notice.keeps.get(source));
            keeps(source, stage) || others.any(|stages| stages.contains(stage))
        };
        let mut heard = Heard::default();
        for seen in self.alive().filter(|seen| seen.changes >= CHANGES) {
            for (source, stages) in &seen.notice.stops {
                for (stage, stop) in stages.iter().filter(|(stage, _)| !is_kept(source, stage)) {
                    let known = heard.stops.entry(source.clone()).or_default();
                    known.entry(stage.clone()).or_insert_with(|| stop.clone());
                }
            }
            heard.problems.extend(seen.notice.problems.iter().cloned());
        }
        let kept = self.alive().flat_map(|seen| &seen.notice.keeps);
        let with_batch = kept.filter(|(_, stages)| stages.contains(Stage::Batch.name()));
        heard.with_batch = with_batch.map(|(source, _)| source.clone()).collect();
        let stopped: BTreeSet<String> = heard.stops.keys().map(about).collect();
        heard.problems.retain(|problem| problem.kind != SOURCE_STOPPED || stopped.contains(&problem.about));
        heard
    }

    fn alive(&self) -> impl Iterator<Item = &Seen> {
        self.seen.values().filter(|seen| seen.is_alive())
    }
}

/// What a problem of a source is about.
pub fn about(source: &SourceName) -> String {
    format!("source {source}")
}

fn duties(stops: &NoticedStops) -> impl Iterator<Item = (SourceName, String)> {
    stops.iter().flat_map(|(source, stages)| stages.keys().map(move |stage| (source.clone(), stage.clone())))
}
