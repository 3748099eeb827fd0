//! Each publication compared with what it replaced: the exactness report.
//!
//! ```text
//!  files of the old version that the new one has not --+
//!                                                      +--> groups --+
//!  runs [cut of the old, cut of the new) --------------+             +--> compared --> report --> table, metrics, log
//!  files of the new version that the old one has not -----> groups --+
//! ```
//!
//! In: two versions that follow each other, and the runs between their cuts while they last. Out: one report.
//! Guarantee: what a publication did not touch is not read: the cost follows the new data, within
//! `gateway.exactness_memory`. Answers do not wait for it, and it changes none. What cannot be compared is told with
//! its reason, once. Of several gateways on a lake the first one writes the report of a version.
//! Not here: comparing values (`views::compare_groups`), the table (`serving-layer/src/exactness.rs`), when
//! (`run.rs`).
//! Why the gateway: of all roles it alone reaches the runs of every partition and the versions; whoever publishes reads
//! the lake alone. The speed layer keeps the runs for `speed.courtesy` after a version was seen, so they are still
//! there when a gateway finds it.

mod cause;
pub(crate) mod compared;
mod runs;
pub(crate) mod told;
mod uncompared;

use std::sync::Arc;

use arrow::array::RecordBatch;
use positions::{IdSource, TimestampMicros};
use serving_layer::exactness::{ExactnessReport, ExactnessRow};
use serving_layer::{BatchVersion, ServingError};
use tracing::{debug, error, info};
use views::{GroupComparison, MeasureDifference, PlannedView, compare_groups};

use self::cause::Span;
use self::runs::Realtime;
use self::told::groups_as_json;
use self::uncompared::{Uncompared, too_large};
use crate::attempt::ViewReader;
use crate::patience::{self, LARGE_ROWS};
use crate::refresh::SourceReader;
use crate::{Gateway, GatewayError, metrics};

/// Groups that a report names of each measure.
const WORST: usize = 10;

impl Gateway {
    /// Compares each version that is known, and that no report is there of, with the one that it replaced: one step of
    /// [`crate::run::compare`]. Reads what was published since, and the runs that it covers. Does nothing without
    /// [`crate::GatewaySettings::exactness`].
    pub async fn compare_versions(&self, ids: &dyn IdSource) {
        if !self.settings().exactness {
            return;
        }
        for source in self.sources() {
            // Of a former definition that still answers there is another version with each round, but not for long.
            for reader in source.live_views().into_iter().filter(|reader| !reader.is_former) {
                let problem = compare_new(&source, reader, ids).await.err().map(|error| error.to_string());
                reader.exactness.note_problem(&reader.view, problem);
            }
        }
    }
}

async fn compare_new(source: &SourceReader, reader: &ViewReader, ids: &dyn IdSource) -> Result<(), GatewayError> {
    let done = reader.exactness.done().await?;
    let versions = reader.versions.known();
    for pair in versions.windows(2).rev() {
        let [new, old] = pair else { continue };
        if new.number() <= done {
            continue;
        }
        let report = match reader.exactness.unwritten(new.number()) {
            Some(report) => report,
            None => Arc::new(report_of(source, reader, (old, new)).await?),
        };
        let is_first = reader.exactness.append(&report, source.settings().exactness_versions, ids).await?;
        tell(&reader.view, &report, is_first);
        reader.exactness.note(&report);
    }
    Ok(())
}

/// Log and metrics. Of several gateways that find the same, the one that wrote the report tells.
fn tell(view: &PlannedView, report: &ExactnessReport, is_first: bool) {
    let outcome = told::outcome(&report.rows);
    metrics::compared(&view.name, outcome, &report.rows);
    if !is_first {
        return debug!(view = %view.name, version = report.version.0, "another gateway has told of this version");
    }
    for row in &report.rows {
        let (view, version, replaced) = (&row.view, row.version.0, row.replaced_version.0);
        let (groups, different) = (row.groups, row.different);
        match (&row.measure, &row.cause) {
            (Some(measure), _) if told::is_unknown(row) => error!(
                view,
                version,
                replaced,
                measure,
                groups,
                different,
                largest = row.largest_difference,
                "an exact measure differs from what was answered before, for no cause that is known: `twofold verify` \
                 tells whether the new version is right"
            ),
            (Some(measure), Some(cause)) => {
                info!(view, version, replaced, measure, groups, different, cause, "answers changed with a publication");
            }
            (None, _) => debug!(view, version, reason = row.reason, "a publication was not compared"),
            _ => {}
        }
    }
}

/// What is told of a publication.
async fn report_of(
    source: &SourceReader,
    reader: &ViewReader,
    (old, new): (&BatchVersion, &BatchVersion),
) -> Result<ExactnessReport, GatewayError> {
    let row = empty_row(&reader.view, (old, new), source.now());
    let rows: Vec<ExactnessRow> = match compare(source, reader, (old, new)).await {
        Ok((found, span)) => found.measures.iter().map(|measure| filled(&row, measure, found.groups, &span)).collect(),
        Err(Uncompared::For(reason)) => vec![ExactnessRow { reason: Some(reason), ..row }],
        Err(Uncompared::Failed(error)) => return Err(error),
    };
    Ok(ExactnessReport { version: new.number(), erased: new.facts.erased, rows })
}

fn empty_row(view: &PlannedView, (old, new): (&BatchVersion, &BatchVersion), now: TimestampMicros) -> ExactnessRow {
    ExactnessRow {
        view: view.name.to_string(),
        definition: view.hash.to_string(),
        version: new.number(),
        replaced_version: old.number(),
        published_at: new.facts.published_at,
        compared_at: now,
        reason: None,
        measure: None,
        class: None,
        groups: 0,
        different: 0,
        largest_difference: None,
        mean_difference: None,
        cause: None,
        worst: None,
    }
}

fn filled(row: &ExactnessRow, found: &MeasureDifference, groups: u64, span: &Span) -> ExactnessRow {
    let cause = (found.different > 0).then(|| span.cause(found.class, found.different));
    let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    ExactnessRow {
        measure: Some(found.measure.clone()),
        class: Some(found.class.as_str().to_owned()),
        groups: count(groups),
        different: count(found.different),
        largest_difference: found.largest,
        mean_difference: found.mean(groups),
        cause: cause.map(|cause| cause.as_str().to_owned()),
        // Who was erased must not be named because of that.
        worst: (!span.is_erased && !found.worst.is_empty()).then(|| groups_as_json(&found.worst)),
        ..row.clone()
    }
}

async fn compare(
    source: &SourceReader,
    reader: &ViewReader,
    (old, new): (&BatchVersion, &BatchVersion),
) -> Result<(GroupComparison, Span), Uncompared> {
    let limit_bytes = source.settings().exactness_memory_bytes;
    let Realtime { states, counters } = runs::between(source, reader, (&old.facts.cut, &new.facts.cut)).await?;
    let span = Span::between(&reader.view, (&old.facts, &new.facts), counters);
    let before = loaded(reader, (old, new), limit_bytes).await?;
    let after = loaded(reader, (new, old), limit_bytes).await?;
    let rows = [&states, &before, &after].into_iter().flatten().map(RecordBatch::num_rows).sum::<usize>();
    let before = before.into_iter().chain(states).collect();
    let comparing = compare_states(reader.view.clone(), before, after);
    Ok((patience::aside(rows > LARGE_ROWS, comparing).await?, span))
}

/// The states of `version` in files that `other` has not got.
async fn loaded(
    reader: &ViewReader,
    (version, other): (&BatchVersion, &BatchVersion),
    limit_bytes: usize,
) -> Result<Vec<RecordBatch>, Uncompared> {
    match reader.versions.load_beside(version, other, limit_bytes).await {
        Ok(states) => Ok(states),
        Err(ServingError::TooLarge { .. }) => Err(Uncompared::For(too_large(limit_bytes))),
        Err(error) => Err(error.into()),
    }
}

async fn compare_states(
    view: PlannedView,
    before: Vec<RecordBatch>,
    after: Vec<RecordBatch>,
) -> Result<GroupComparison, GatewayError> {
    let dimensions: Vec<&str> = view.dimensions.iter().map(|dimension| dimension.name.as_str()).collect();
    let finish = view.plans.compile_finish(&dimensions).await?;
    let before = finish.execute_whole(before).await?;
    let after = finish.execute_whole(after).await?;
    Ok(compare_groups(&view, &before, &after, WORST)?)
}
