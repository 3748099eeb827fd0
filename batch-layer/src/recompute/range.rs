//! The buckets of a stretch of event time once more, at the cut of the version before.
//!
//! Guarantee: only whole buckets of the view are computed, and only such as lie in the stretch; the cut does not move.
//! Why so: a version says of one cut that everything below it is in. Rows that came since the version before lie in any
//! bucket: a version of a later cut would be without those of all the others, for good.

use std::collections::BTreeSet;

use arrow::datatypes::DataType;
use datafusion::scalar::ScalarValue;
use positions::TimestampMicros;
use records::master::MasterSnapshot;
use serving_layer::{BatchVersion, BatchViewStore, BucketRanges};
use views::{PlannedView, utc_scalar};

use super::master_rows::MasterRows;
use super::task::{Outcome, Planned, RecomputeComponents, Scope, Task};
use crate::BatchError;
use crate::grains::{Buckets, Grains};

/// What is to be computed of `[from, to)`: all buckets, or those that `previous` has no rows of.
pub(crate) async fn plan_range(
    rows: &MasterRows<'_>,
    (store, previous): (BatchViewStore, Option<BatchVersion>),
    view: &PlannedView,
    (from, to, only_missing): (TimestampMicros, TimestampMicros, bool),
) -> Result<Planned, BatchError> {
    let version = checked_version(rows.master, view, previous.as_ref(), (from, to))?;
    let grains = Grains::on(previous.as_ref(), view.bucket);
    let all = BucketRanges::from(vec![(from, to)]);
    let hours = if only_missing { missing(rows, &store, version, grains, all).await? } else { all };
    if hours.is_empty() {
        return Ok(Planned::Skipped(Outcome::NothingNew));
    }
    let cut = version.facts.cut.clone();
    Ok(Planned::Task(Task { view: view.clone(), store, previous, cut, scope: Scope::Hours(hours) }))
}

/// The version whose buckets of `[from, to)` can be computed again, at its cut.
fn checked_version<'a>(
    master: &MasterSnapshot,
    view: &PlannedView,
    previous: Option<&'a BatchVersion>,
    (from, to): (TimestampMicros, TimestampMicros),
) -> Result<&'a BatchVersion, BatchError> {
    let refused = |reason: String| BatchError::RangeRefused { view: view.name.clone(), reason };
    check_whole(Grains::on(previous, view.bucket), from, to).map_err(refused)?;
    let Some(version) = previous else {
        let reason = "it has no version yet, and a range is computed at the cut of one; compute it in full once: \
                      `twofold batch run`";
        return Err(refused(reason.to_owned()));
    };
    if version.facts.erased < master.facts.erased {
        let reason = "events were erased since its version was computed, and may be in any bucket; the next round \
                      computes it in full: `twofold batch run`";
        return Err(refused(reason.to_owned()));
    }
    Ok(version)
}

/// Whether `[from, to)` can be computed of views as they are now, by their newest versions alone: what is refused here
/// is what planning would refuse. Of a source without a master dataset nothing is known, and nothing is refused.
///
/// # Errors
/// [`BatchError::RangeRefused`]: why not. Others: an object store failed.
pub async fn check_range_now(
    components: &RecomputeComponents,
    from: TimestampMicros,
    to: TimestampMicros,
) -> Result<(), BatchError> {
    let Some(master) = components.master.open().await? else { return Ok(()) };
    for view in &components.views {
        let newest = BatchViewStore::new(&components.lake, view.clone()).newest().await?;
        checked_version(&master, view, newest.as_ref(), (from, to))?;
    }
    Ok(())
}

/// Whether `[from, to)` is made of whole buckets of a view, before anything is asked of a store.
///
/// # Errors
/// [`BatchError::RangeRefused`]: why not, with the bounds that are nearest.
pub fn check_range(view: &PlannedView, from: TimestampMicros, to: TimestampMicros) -> Result<(), BatchError> {
    check_whole(Grains::on(None, view.bucket), from, to)
        .map_err(|reason| BatchError::RangeRefused { view: view.name.clone(), reason })
}

fn check_whole(grains: Grains, from: TimestampMicros, to: TimestampMicros) -> Result<(), String> {
    if from >= to {
        return Err(format!("the range from {} to {} is empty", told(from), told(to)));
    }
    if grains.is_one() {
        let reason = "all of its events are one bucket, so that there is no range to compute; compute it in full: \
                      `twofold batch run --full`";
        return Err(reason.to_owned());
    }
    for (word, at) in [("begins", from), ("ends", to)] {
        let (start, next) = (grains.bucket_of(at), grains.next_bucket(at));
        if start != at {
            let within = format!("within a bucket ({})", grains.at(at).as_str());
            let (at, start, next) = (told(at), told(start), told(next));
            return Err(format!("the range {word} at {at}, {within}; the nearest bounds are {start} and {next}"));
        }
    }
    Ok(())
}

/// An instant as SQL writes it.
fn told(at: TimestampMicros) -> String {
    match utc_scalar(Some(at)).cast_to(&DataType::Utf8) {
        Ok(ScalarValue::Utf8(Some(text))) => text,
        _ => format!("{} µs", at.0),
    }
}

/// The buckets among `all` that files of the master dataset may hold events of, and the version has no rows of.
async fn missing(
    rows: &MasterRows<'_>,
    store: &BatchViewStore,
    version: &BatchVersion,
    grains: Grains,
    all: BucketRanges,
) -> Result<BucketRanges, BatchError> {
    let mut held = BTreeSet::new();
    let mut known = Vec::new();
    for (from, to) in all.iter() {
        held.extend(store.buckets_within(version, from, to).await?);
        for file in rows.master.snapshot.files() {
            known.push(match rows.sent_events(file) {
                Some((first, last)) => (grains.bucket_of(first).max(from), grains.next_bucket(last).min(to)),
                None => (from, to),
            });
        }
    }
    let starts = Buckets { grains, ranges: known.into() }.starts();
    let missing = starts.into_iter().filter(|start| !held.contains(start));
    Ok(missing.map(|start| (start, grains.next_bucket(start))).collect())
}
