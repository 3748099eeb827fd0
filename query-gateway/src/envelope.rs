//! The envelope: what an answer is made of, and how far it reaches.
//!
//! Guarantee: computed from the very state that the answer was computed from.
//! Not here: who is told what of it (`told.rs`).

use std::collections::BTreeMap;
use std::time::Duration;

use positions::{Counters, Hole, Offset, PartitionId, TimestampMicros};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serving_layer::{BatchVersion, Version};
use views::{AggregateClass, ViewDefinition};

use crate::json::instant;
use crate::overflow::Overflow;
use crate::pin::PartitionPin;
use crate::rows::Layer;
use crate::served::{Served, as_of, of_log, unknown_partitions};

/// Facts about one answer of one view.
#[derive(Clone, Debug, PartialEq)]
pub struct Envelope {
    /// The view.
    pub view: String,
    /// The definition that batch and realtime states were computed with.
    pub definition: String,
    /// Where a former definition gave the answer, because the present one is being built; null otherwise.
    pub former: Option<FormerNote>,
    /// Which part of the states was asked for.
    pub layer: Layer,
    /// The batch version; null before the first.
    pub version: Option<Version>,
    /// When that version was published, RFC 3339.
    pub published_at: Option<String>,
    /// Per partition the offset below which batch answers.
    pub cut: BTreeMap<PartitionId, Offset>,
    /// Per partition the offset that the whole answer reaches.
    pub head: BTreeMap<PartitionId, Offset>,
    /// When the answer was last known to be right, RFC 3339; null where nothing is known of some partition yet.
    pub as_of: Option<String>,
    /// Age of `as_of` in milliseconds.
    pub age_ms: Option<i64>,
    /// Records counted below the cut.
    pub batch_rows: u64,
    /// Records counted between cut and head.
    pub realtime_rows: u64,
    /// `realtime_rows` as a share of both.
    pub realtime_share: f64,
    /// Runs that the realtime part is made of.
    pub runs: usize,
    /// Late events among the records; they are counted in the answer.
    pub late: u64,
    /// Records that could not be decoded; they are not in the answer.
    pub rejected: u64,
    /// Events left out because an earlier copy is in the answer.
    pub copies: u64,
    /// Offsets below the cut that were lost before they were archived.
    pub holes: Vec<Hole>,
    /// How many offsets the answer passes over because they were lost: those of `holes`, and above the cut those that
    /// had expired before the speed layer read them.
    pub lost: u64,
    /// How far back in log time the realtime part recognises copies, in seconds.
    pub horizon_seconds: u64,
    /// Per measure how far its value may be off; exact measures are left out.
    pub error_bounds: BTreeMap<String, ErrorBound>,
    /// Measures that have a total that does not fit its type in some groups; absent where there is none.
    pub overflows: BTreeMap<String, Overflow>,
    /// Whether the answer reaches less far than healthy stores would allow.
    pub stale: bool,
    /// Why.
    pub stale_reasons: Vec<String>,
    /// Whether who asks does not see all rows: then what counts records of all groups, offsets among it, is zero or
    /// empty here, and absent in JSON.
    pub is_uncounted: bool,
}

/// By name, in the order of the fields, each of which is named here: a new one is told only once it is decided to whom.
impl Serialize for Envelope {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self {
            view,
            definition,
            former,
            layer,
            version,
            published_at,
            cut,
            head,
            as_of,
            age_ms,
            batch_rows,
            realtime_rows,
            realtime_share,
            runs,
            late,
            rejected,
            copies,
            holes,
            lost,
            horizon_seconds,
            error_bounds,
            overflows,
            stale,
            stale_reasons,
            is_uncounted,
        } = self;
        let mut members = serializer.serialize_map(None)?;
        members.serialize_entry("view", view)?;
        members.serialize_entry("definition", definition)?;
        members.serialize_entry("former", former)?;
        members.serialize_entry("layer", layer)?;
        members.serialize_entry("version", version)?;
        members.serialize_entry("published_at", published_at)?;
        if !is_uncounted {
            members.serialize_entry("cut", cut)?;
            members.serialize_entry("head", head)?;
        }
        members.serialize_entry("as_of", as_of)?;
        members.serialize_entry("age_ms", age_ms)?;
        if !is_uncounted {
            members.serialize_entry("batch_rows", batch_rows)?;
            members.serialize_entry("realtime_rows", realtime_rows)?;
            members.serialize_entry("realtime_share", realtime_share)?;
            members.serialize_entry("runs", runs)?;
            members.serialize_entry("late", late)?;
            members.serialize_entry("rejected", rejected)?;
            members.serialize_entry("copies", copies)?;
            members.serialize_entry("holes", holes)?;
            members.serialize_entry("lost", lost)?;
        }
        members.serialize_entry("horizon_seconds", horizon_seconds)?;
        members.serialize_entry("error_bounds", error_bounds)?;
        if !overflows.is_empty() {
            members.serialize_entry("overflows", overflows)?;
        }
        members.serialize_entry("stale", stale)?;
        members.serialize_entry("stale_reasons", stale_reasons)?;
        members.end()
    }
}

/// What an answer says where a former definition gave it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FormerNote {
    /// The set that the answering definition came with.
    pub set: u64,
    /// The definition that is being built.
    pub building: String,
    /// How far that is.
    pub progress: String,
}

/// How far a measure may be off.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ErrorBound {
    /// `sketch`: relative error of uniques (99.7 % of estimates lie within), rank error of `approx_percentile_cont`
    /// (99 %), relative error of the value of `ddsketch_percentile` (always), error of the counts of `approx_top_k` as
    /// a share of all values of their group (always).
    /// `float`: rounding, relative to the sum of absolute values.
    pub kind: &'static str,
    /// The bound.
    pub bound: f64,
}

/// When an answer counts as stale by age alone, and the instant to compare with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Freshness {
    pub now: TimestampMicros,
    pub stale_after: Duration,
}

impl Envelope {
    /// The envelope of an answer from `served`; `problem` is what kept the stores from being read, or
    /// keeps realtime from going on.
    pub(crate) fn new(
        view: &ViewDefinition,
        served: &Served,
        layer: Layer,
        problem: Option<&str>,
        freshness: Freshness,
    ) -> Self {
        let facts = served.version.as_ref().map(|version| &version.facts);
        let batch: Counters = facts.map(|facts| facts.counters.values().copied().sum()).unwrap_or_default();
        let realtime: Counters = served.partitions.values().map(|partition| partition.counters).sum();
        let counted = match layer {
            Layer::Merged => batch + realtime,
            Layer::Batch => batch,
            Layer::Realtime => realtime,
        };
        let (batch_rows, realtime_rows) = (batch.rows, if layer == Layer::Batch { 0 } else { realtime.rows });
        let is_batch = layer == Layer::Batch;
        let as_of = if is_batch { log_time(&served.partitions) } else { as_of(&served.partitions) };
        let age = as_of.map(|as_of| freshness.now.micros_since(as_of).max(0));
        let stale_reasons = if is_batch { Vec::new() } else { stale_reasons(served, age, problem, freshness) };
        Self {
            view: view.name.to_string(),
            definition: view.hash.to_string(),
            former: None,
            layer,
            version: served.version.as_ref().map(BatchVersion::number),
            published_at: facts.and_then(|facts| instant(facts.published_at)),
            cut: offsets(&served.partitions, |partition| partition.cut.offset),
            head: offsets(
                &served.partitions,
                |partition| {
                    if is_batch { partition.cut.offset } else { partition.head.offset }
                },
            ),
            as_of: as_of.and_then(instant),
            age_ms: age.map(|age| age / 1_000),
            batch_rows,
            realtime_rows,
            realtime_share: share(realtime_rows, batch_rows),
            runs: if is_batch { 0 } else { served.partitions.values().map(|partition| partition.runs.len()).sum() },
            late: counted.late,
            rejected: counted.rejected,
            copies: counted.copies,
            holes: facts.map(|facts| facts.holes.clone()).unwrap_or_default(),
            lost: counted.holes,
            horizon_seconds: view.source.horizon.as_secs(),
            error_bounds: error_bounds(view, counted.rows),
            overflows: BTreeMap::new(),
            stale: !stale_reasons.is_empty(),
            stale_reasons,
            is_uncounted: false,
        }
    }

    /// The same without what counts records of all groups. The bound of a floating sum follows from their number.
    pub(crate) fn without_counts(self) -> Self {
        let mut error_bounds = self.error_bounds;
        error_bounds.retain(|_, bound| bound.kind != AggregateClass::Float.as_str());
        Self {
            cut: BTreeMap::new(),
            head: BTreeMap::new(),
            batch_rows: 0,
            realtime_rows: 0,
            realtime_share: 0.0,
            runs: 0,
            late: 0,
            rejected: 0,
            copies: 0,
            holes: Vec::new(),
            lost: 0,
            error_bounds,
            is_uncounted: true,
            ..self
        }
    }
}

/// The least instant up to which all batch states reach, in log time.
fn log_time(partitions: &BTreeMap<PartitionId, PartitionPin>) -> Option<TimestampMicros> {
    of_log(partitions).map(|(_, pin)| pin.cut.max_timestamp).filter(|at| *at != TimestampMicros::MIN).min()
}

fn stale_reasons(served: &Served, age: Option<i64>, problem: Option<&str>, freshness: Freshness) -> Vec<String> {
    let mut reasons = served.stale.clone();
    reasons.extend(problem.map(str::to_owned));
    let limit = positions::micros(freshness.stale_after);
    match age {
        Some(age) if age > limit => {
            let seconds = age / 1_000_000;
            // Nobody is asked for a reason that was just told.
            let question = if problem.is_none() { "; is the speed layer running?" } else { "" };
            reasons.push(format!("it was last known to be right {seconds} seconds ago{question}"));
        }
        _ => {}
    }
    reasons.extend(unknown_partitions(&served.partitions));
    reasons
}

fn offsets(
    partitions: &BTreeMap<PartitionId, PartitionPin>,
    of: impl Fn(&PartitionPin) -> Offset,
) -> BTreeMap<PartitionId, Offset> {
    partitions.iter().map(|(partition, pin)| (*partition, of(pin))).collect()
}

fn share(realtime: u64, batch: u64) -> f64 {
    let all = realtime + batch;
    if all == 0 { 0.0 } else { realtime as f64 / all as f64 }
}

fn error_bounds(view: &ViewDefinition, rows: u64) -> BTreeMap<String, ErrorBound> {
    let bounds = view.measures.iter().filter_map(|measure| {
        let bound = match measure.class {
            AggregateClass::Sketch { bound } => bound,
            // Each addition rounds by at most half a unit in the last place of the running sum.
            AggregateClass::Float => rows as f64 * f64::EPSILON,
            AggregateClass::Exact | AggregateClass::Unbounded => return None,
        };
        Some((measure.name.clone(), ErrorBound { kind: measure.class.as_str(), bound }))
    });
    bounds.collect()
}
