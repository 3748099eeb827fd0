//! Everything that this process finds to be wrong, in one list: what, since when, and what to do.
//!
//! In: definitions that were replaced or cannot be run, stopped sources, the log's silence, files of TLS and of access
//! that cannot be used, the archives' errors, views that could not be computed, refused writes of the realtime store,
//! what the gateway tells of its views. Out: the member `problems` of `/v1/status`.
//! Guarantee: each kind of trouble of each subject is there once.
//! Not here: since when (`trouble_book.rs`), whether the process is ready nevertheless (`hindrances.rs`), what other
//! processes find (`notices.rs`).

use std::collections::{BTreeMap, BTreeSet};

use batch_layer::archive::{ArchiveState, ArchiveStatus};
use collector::StoppedSource;
use positions::{SourceName, ViewName};
use query_gateway::{Standstill, Trouble};
use workflow::RunId;

use super::FactSuppliers;
use crate::config::RealtimeSettings;
use crate::health::{RefusedWrite, describe_stages, keeping_stop};
use crate::notices::Heard;
use crate::notices::watch::{SOURCE_STOPPED, about};
use crate::role::Role;
use crate::workflow::outcomes::given_up_views;

/// How many kinds of trouble there are of how many subjects.
const PROBLEMS: &str = "twofold_problems";

/// Of a store that takes no states.
const FULL: &str = "realtime-store-full";
/// Of a store that takes nothing else.
const UNWRITABLE: &str = "realtime-store-unwritable";

impl FactSuppliers {
    /// Everything that is wrong, as far as this process finds it by itself; and again, without what every gateway
    /// finds: for the other processes.
    pub(super) async fn troubles(
        &self,
        archives: &BTreeMap<SourceName, ArchiveStatus>,
        failing: &BTreeMap<ViewName, String>,
    ) -> (Vec<Trouble>, Vec<Trouble>) {
        let mut found = self.stop_troubles();
        found.extend(self.definitions.current().superseded().map(|problem| {
            let way_out = "start the version that registered the present definitions; or, to go back to those of this \
                           process, run `twofold apply --pipeline FILE` with its file";
            Trouble::new("superseded", "definitions", problem, way_out)
        }));
        found.extend(self.health.refused_definitions().map(|problem| {
            let way_out = "start the version that registered the present definitions, or start this process with what the \
                           reason asks for; or apply others with `twofold apply`";
            Trouble::new("definitions-refused", "definitions", problem, way_out)
        }));
        found.extend(self.health.log_problem().map(|problem| {
            let way_out = "start the brokers, or correct `log.brokers`; everything goes on by itself then";
            Trouble::new("log-silent", "event log", problem, way_out)
        }));
        found.extend(self.health.full_log().map(|problem| {
            let way_out = "make room on the disk of its folder, or lower `log.embedded_max_size`: events are refused until \
                           then, and are taken again by themselves";
            Trouble::new("log-full", "event log", problem, way_out)
        }));
        found.extend(self.health.certificate_problem().map(|problem| {
            let way_out =
                "put a certificate and its key into the place of these files: they are read again by themselves";
            Trouble::new("certificate", "TLS", problem, way_out)
        }));
        found.extend(archives.iter().filter_map(|(source, archive)| archive_trouble(source, archive)));
        found.extend(self.batch_troubles(failing));
        found.extend(self.run_troubles());
        found.extend(self.store_troubles());
        found.extend(self.shared.access_problems.troubles());
        let of_gateway = match self.current_gateway() {
            Some(gateway) => gateway.troubles().await,
            None => Vec::new(),
        };
        let key = |trouble: &Trouble| (trouble.kind.clone(), trouble.about.clone());
        let of_gateways: BTreeSet<_> = of_gateway.iter().map(key).collect();
        found.extend(of_gateway);
        let dated = self.book.date(found, self.shared.clock.now());
        metrics::gauge!(PROBLEMS).set(dated.len() as f64);
        let told = dated.iter().filter(|&trouble| !of_gateways.contains(&key(trouble))).cloned().collect();
        (dated, told)
    }

    /// What keeps the realtime views of each source from going on. A view without an answer is given up only where
    /// neither layer builds it: where nothing new is archived, and nothing that was archived waits for the batch layer.
    pub(super) fn standstills(
        &self,
        archives: &BTreeMap<SourceName, ArchiveStatus>,
        heard: &Heard,
    ) -> BTreeMap<SourceName, Standstill> {
        let pipeline = self.definitions.current().pipeline;
        let is_archived = |source: &SourceName| archives.get(source).is_some_and(|archive| archive.facts.rows > 0);
        let is_for_batch = |source: &SourceName| {
            let has_batch = self.roles.has(Role::Batch) || heard.with_batch.contains(source);
            let is_recomputed = pipeline.source(source.as_str()).is_none_or(|source| source.is_recomputed());
            has_batch && is_recomputed && (is_archived(source) || heard.has_rows(source))
        };
        let mut found = standstills_of_stores(&heard.problems);
        for (source, refused) in self.health.refused_writes() {
            let way_out = self.store_way_out(refused.is_full);
            found.insert(source, Standstill { reason: refused.reason, way_out, is_for_good: false });
        }
        for (source, stages) in self.health.stops() {
            let way_out = way_out_of(&stages);
            let reason = format!("source {source} has stopped: {}", describe_stages(&stages));
            let is_for_good = keeping_stop(&stages).is_some() && !is_for_batch(&source);
            found.insert(source, Standstill { reason, way_out, is_for_good });
        }
        found
    }

    fn stop_troubles(&self) -> Vec<Trouble> {
        let stops = self.health.stops_here().into_iter();
        let tell = |(source, stages): (SourceName, BTreeMap<String, StoppedSource>)| {
            let problem = format!("it has stopped: {}", describe_stages(&stages));
            Trouble::new(SOURCE_STOPPED, about(&source), problem, way_out_of(&stages))
        };
        stops.map(tell).collect()
    }

    fn batch_troubles(&self, failing: &BTreeMap<ViewName, String>) -> Vec<Trouble> {
        let missing_files = self.tables.found().missing;
        let (state, set) = (self.shared.workflow.state(), self.definitions.current());
        let given_up = given_up_views(&state, &set, &self.shared.config);
        let tell = |(view, error): (&ViewName, &String)| {
            let way_out = batch_way_out(given_up.get(view).copied());
            Trouble::new("batch-failed", format!("batch view {view}"), error, way_out)
        };
        let missing = |(table, words): (String, String)| {
            let way_out = format!("`twofold lake repair --table {table}` says what can be brought back, and how");
            Trouble::new("files-missing", format!("table {table}"), words, way_out)
        };
        failing.iter().map(tell).chain(missing_files.into_iter().map(missing)).collect()
    }

    fn store_troubles(&self) -> Vec<Trouble> {
        let refused = self.health.refused_writes().into_iter();
        let tell = |(source, refused): (SourceName, RefusedWrite)| {
            let kind = if refused.is_full { FULL } else { UNWRITABLE };
            Trouble::new(kind, about(&source), refused.reason, self.store_way_out(refused.is_full))
        };
        refused.map(tell).collect()
    }

    fn store_way_out(&self, is_full: bool) -> String {
        let way_out = match (&self.shared.config.realtime, is_full) {
            (RealtimeSettings::Memory { .. }, true) => {
                "the store is in the memory of this process: raise `realtime.memory_limit`, or publish more often \
                 (`batch.interval`)"
            }
            (RealtimeSettings::Redis(_), true) => {
                "the store is the Redis of `realtime.store`: raise its `maxmemory`, or publish more often \
                 (`batch.interval`)"
            }
            (_, false) => {
                "see that the store of `realtime.store` answers and may be written; it goes on by itself then"
            }
        };
        way_out.to_owned()
    }
}

/// What an operator does about a view that could not be computed; `given_up`: the run that nothing repeats by itself.
fn batch_way_out(given_up: Option<RunId>) -> String {
    match given_up {
        Some(run) => format!(
            "its last version stays; do what the reason says: its schedule starts no run that would fail the same way, \
             before the view or a limit of `[batch]` is another; `twofold runs retry {run}` tries at once"
        ),
        None => "its last version stays; do what the reason says, or mend what it names (an object of a table: \
                 `twofold lake repair`), the next run tries again"
            .to_owned(),
    }
}

/// What keeps realtime views from going on that speed workers of other processes cannot write.
fn standstills_of_stores(problems: &[Trouble]) -> BTreeMap<SourceName, Standstill> {
    let of_stores = problems.iter().filter(|problem| problem.kind == FULL || problem.kind == UNWRITABLE);
    let standstill = |problem: &Trouble| {
        let source = SourceName::new(problem.about.strip_prefix("source ")?);
        let (reason, way_out) = (problem.problem.clone(), problem.way_out.clone());
        Some((source, Standstill { reason, way_out, is_for_good: false }))
    };
    of_stores.filter_map(standstill).collect()
}

/// What an operator does about a source that stopped in these stages: what the first of them says.
fn way_out_of(stages: &BTreeMap<String, StoppedSource>) -> String {
    stages.values().next().map(|stop| stop.way_out.clone()).unwrap_or_default()
}

fn archive_trouble(source: &SourceName, archive: &ArchiveStatus) -> Option<Trouble> {
    let ArchiveState::Retrying { error } = &archive.state else { return None };
    let way_out = "mend what the reason names; it is tried again by itself, and the log keeps what comes";
    Some(Trouble::new("archive-retrying", format!("archive of {source}"), error, way_out))
}
