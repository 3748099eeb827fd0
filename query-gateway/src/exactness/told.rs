//! What is told of reports: the answer of `/v1/views/{view}/exactness`, and the newest one in the status. Pure.
//!
//! Guarantee: groups are named to nobody who does not see all rows of the view.

use serde::Serialize;
use serde_json::{Value, json};
use serving_layer::Version;
use serving_layer::exactness::ExactnessRow;
use views::GroupDifference;

use crate::json::instant;

/// The cause of what nothing explains.
pub(crate) const UNKNOWN: &str = "unknown";

/// The newest report of a view, in short.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExactnessStatus {
    /// The version that was compared.
    pub version: Version,
    /// The one that it replaced.
    pub replaced_version: Version,
    /// Why it was not compared; null where it was.
    pub reason: Option<String>,
    /// Groups of the touched buckets that were compared.
    pub groups: i64,
    /// The most of them that differ in one measure, by more than its class allows.
    pub different: i64,
    /// Exact measures that differ for no cause that is known.
    pub unexplained: Vec<String>,
}

impl ExactnessStatus {
    /// Of the newest version among these rows, which are newest first; `None` where there is none.
    pub(crate) fn newest(rows: &[ExactnessRow]) -> Option<Self> {
        let first = rows.first()?;
        let of_version = || rows.iter().take_while(|row| row.version == first.version);
        Some(Self {
            version: first.version,
            replaced_version: first.replaced_version,
            reason: first.reason.clone(),
            groups: first.groups,
            different: of_version().map(|row| row.different).max().unwrap_or_default(),
            unexplained: of_version().filter(|row| is_unknown(row)).filter_map(|row| row.measure.clone()).collect(),
        })
    }
}

/// Whether an exact measure differs for no cause that is known.
pub(crate) fn is_unknown(row: &ExactnessRow) -> bool {
    row.cause.as_deref() == Some(UNKNOWN) && matches!(row.class.as_deref(), Some("exact" | "unbounded"))
}

/// How a comparison ended, in one word, for a metric.
pub(crate) fn outcome(rows: &[ExactnessRow]) -> &'static str {
    match rows {
        _ if rows.iter().any(|row| row.reason.is_some()) => "uncompared",
        _ if rows.iter().any(is_unknown) => "unexplained",
        _ if rows.iter().any(|row| row.different > 0) => "different",
        _ => "same",
    }
}

/// The answer of `/v1/views/{view}/exactness`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExactnessReports {
    /// The view.
    pub view: String,
    /// Its definition.
    pub definition: String,
    /// Why there are no reports in the answer although there may be some; absent otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub withheld: Option<&'static str>,
    /// Newest first.
    pub reports: Vec<VersionReport>,
}

/// What is told of one version.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VersionReport {
    /// The version.
    pub version: Version,
    /// The one that it replaced.
    pub replaced_version: Version,
    /// When it was published, RFC 3339.
    pub published_at: Option<String>,
    /// When it was compared, RFC 3339.
    pub compared_at: Option<String>,
    /// Why it was not compared; null where it was.
    pub reason: Option<String>,
    /// Groups of the touched buckets that were compared.
    pub groups: i64,
    /// In the order of the view; empty where it was not compared.
    pub measures: Vec<MeasureReport>,
}

/// What is told of one measure.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MeasureReport {
    /// Its name.
    pub measure: Option<String>,
    /// Its class.
    pub class: Option<String>,
    /// Groups that differ by more than the class allows.
    pub different: i64,
    /// The largest distance of two values; null for values that are no numbers.
    pub largest_difference: Option<f64>,
    /// The mean distance over all groups.
    pub mean_difference: Option<f64>,
    /// Why they differ; null where none does.
    pub cause: Option<String>,
    /// The groups that differ most: `group`, `before`, `after`, `difference`.
    pub worst: Value,
}

/// The rows of a table as reports, version by version.
pub(crate) fn reports(rows: &[ExactnessRow]) -> Vec<VersionReport> {
    let by_version = rows.chunk_by(|one, next| one.version == next.version);
    let report = |rows: &[ExactnessRow]| VersionReport {
        version: rows[0].version,
        replaced_version: rows[0].replaced_version,
        published_at: instant(rows[0].published_at),
        compared_at: instant(rows[0].compared_at),
        reason: rows[0].reason.clone(),
        groups: rows[0].groups,
        measures: rows.iter().filter(|row| row.measure.is_some()).map(measure_report).collect(),
    };
    by_version.map(report).collect()
}

fn measure_report(row: &ExactnessRow) -> MeasureReport {
    let worst = row.worst.as_deref().and_then(|text| serde_json::from_str(text).ok());
    MeasureReport {
        measure: row.measure.clone(),
        class: row.class.clone(),
        different: row.different,
        largest_difference: row.largest_difference,
        mean_difference: row.mean_difference,
        cause: row.cause.clone(),
        worst: worst.unwrap_or_else(|| json!([])),
    }
}

/// Groups as the table keeps them.
pub(super) fn groups_as_json(groups: &[GroupDifference]) -> String {
    let group = |found: &GroupDifference| {
        let group: serde_json::Map<String, Value> =
            found.group.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        json!({ "group": group, "before": found.before, "after": found.after, "difference": found.difference })
    };
    Value::Array(groups.iter().map(group).collect()).to_string()
}
