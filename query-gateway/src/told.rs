//! What answers, errors and the status tell of the system, by who asks.
//!
//! In: the whole of it. Out: what a principal may know: for operators all of it, unchanged; for others no word of a
//! store, a topic or a record; for who does not see all rows also no count of records.
//! Guarantee: what is left out depends on the principal alone, never on what would be told. Pure.
//! Not here: which rows answers are made of (`visible.rs`), and which views there are (`access.rs`, `engines.rs`).
//! Why so: counts and offsets are of all records, and reasons may quote any group; neither can be filtered by row.

use std::collections::BTreeMap;

use edge::Principal;

use crate::envelope::Envelope;
use crate::{ExactnessReports, ExactnessStatus, GatewayError, Status, Trouble, VersionReport, ViewDetails, ViewStatus};

/// In the place of reasons that are for operators.
const OPERATORS_SEE_WHY: &str = "whoever operates the system sees why in /v1/status";

/// The envelope of an answer.
pub(crate) fn envelope(principal: &Principal, mut envelope: Envelope) -> Envelope {
    if principal.may_operate() {
        return envelope;
    }
    if envelope.stale {
        envelope.stale_reasons = vec![format!("it reaches less far than it should: {OPERATORS_SEE_WHY}")];
    }
    if let Some(former) = &mut envelope.former {
        OPERATORS_SEE_WHY.clone_into(&mut former.progress);
    }
    if principal.sees_all_rows() { envelope } else { envelope.without_counts() }
}

/// What `/v1/views/{view}` tells.
pub(crate) fn details(principal: &Principal, mut details: ViewDetails) -> ViewDetails {
    if !principal.sees_all_rows() {
        details.versions.iter_mut().for_each(|version| version.cut = None);
    }
    ViewDetails { status: view_status(principal, details.status), ..details }
}

/// What `/v1/views/{view}/exactness` tells: to who does not see all rows nothing, since counts and groups are of all.
pub(crate) fn exactness(principal: &Principal, reports: ExactnessReports) -> ExactnessReports {
    if principal.may_operate() {
        return reports;
    }
    if principal.sees_all_rows() {
        let told = |report: VersionReport| VersionReport { reason: unreasoned(report.reason), ..report };
        return ExactnessReports { reports: reports.reports.into_iter().map(told).collect(), ..reports };
    }
    let withheld = "reports count all groups, and are told to those who see all rows of the view";
    ExactnessReports { withheld: Some(withheld), reports: Vec::new(), ..reports }
}

/// What `/v1/status` tells: views with how far they are, of everything else nothing.
pub(crate) fn status(principal: &Principal, status: Status) -> Status {
    if principal.may_operate() {
        return status;
    }
    let shown: Vec<String> = status.views.iter().map(|view| format!("view {}", view.view)).collect();
    let problems = status.problems.into_iter().filter(|trouble| shown.contains(&trouble.about));
    let problems = problems.map(|trouble| Trouble {
        problem: "answers of it are not what they should be".to_owned(),
        way_out: OPERATORS_SEE_WHY.to_owned(),
        ..trouble
    });
    Status {
        at: status.at,
        sources: Vec::new(),
        problems: problems.collect(),
        views: status.views.into_iter().map(|view| view_status(principal, view)).collect(),
        system: BTreeMap::new(),
    }
}

fn view_status(principal: &Principal, status: ViewStatus) -> ViewStatus {
    if principal.may_operate() {
        return status;
    }
    let exactness = status.exactness.filter(|_| principal.sees_all_rows());
    ViewStatus {
        reason: unreasoned(status.reason),
        problem: unreasoned(status.problem),
        envelope: status.envelope.map(|of_answers| envelope(principal, of_answers)),
        exactness: exactness.map(|told| ExactnessStatus { reason: unreasoned(told.reason), ..told }),
        memory_bytes: BTreeMap::new(),
        ..status
    }
}

/// That there is a reason.
fn unreasoned(reason: Option<String>) -> Option<String> {
    reason.map(|_| OPERATORS_SEE_WHY.to_owned())
}

/// Why a request failed.
pub(crate) fn error(principal: &Principal, error: GatewayError) -> GatewayError {
    if principal.may_operate() {
        return error;
    }
    let why = || OPERATORS_SEE_WHY.to_owned();
    match error {
        GatewayError::Unavailable { view, .. } => GatewayError::Unavailable { view, reason: why() },
        GatewayError::Building { view, lasts, .. } => GatewayError::Building { view, reason: why(), lasts },
        GatewayError::Stopped { view, .. } => {
            GatewayError::Stopped { view, reason: why(), way_out: "tell whoever operates the system".to_owned() }
        }
        GatewayError::NotYet { view, waited, .. } if !principal.sees_all_rows() => {
            GatewayError::NotYet { view, waited, behind: Vec::new() }
        }
        GatewayError::NotInVersion { view, version, .. } if !principal.sees_all_rows() => {
            GatewayError::NotInVersion { view, version, behind: Vec::new() }
        }
        GatewayError::Serving(_) | GatewayError::Unread(_) | GatewayError::RunsUnread(_) => GatewayError::StoreFailed,
        other => other,
    }
}
