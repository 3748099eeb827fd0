//! Every metric of `/metrics` in one table: kind, labels, and what it is; the page docs/operations.md shows the same.
//!
//! Guarantee: each metric that a layer raises is here and has its HELP text (`tests/it/alerts.rs`).
//! Not here: the names as the layers use them, and where they are raised (in each crate).

use metrics::{describe_counter, describe_gauge, describe_histogram};

/// How a metric is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, from 0 at the start of the process.
    Counter,
    /// Is what it is now.
    Gauge,
    /// Quantiles of durations, with their sum and number.
    Summary,
}

impl Kind {
    /// The word of the text format.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Summary => "summary",
        }
    }
}

/// One metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// How it is to be read.
    pub kind: Kind,
    /// Its labels, separated by commas.
    pub labels: &'static str,
    /// What it is.
    pub help: &'static str,
}

impl Metric {
    /// Its row in the table of docs/operations.md.
    pub fn row(&self) -> String {
        let Self { name, kind, labels, help } = self;
        format!("| `{name}` | {} | {labels} | {help} |", kind.name())
    }
}

/// Tells the recorder of the process the HELP text of each metric. To be called once it is installed.
pub fn describe() {
    for Metric { name, kind, help, .. } in METRICS.iter().copied() {
        match kind {
            Kind::Counter => describe_counter!(name, help),
            Kind::Gauge => describe_gauge!(name, help),
            Kind::Summary => describe_histogram!(name, help),
        }
    }
}

const fn metric(name: &'static str, kind: Kind, labels: &'static str, help: &'static str) -> Metric {
    Metric { name, kind, labels, help }
}

/// All metrics, in the direction of the data; last those of the process.
pub const METRICS: &[Metric] = &[
    metric(
        "twofold_collector_requests_total",
        Kind::Counter,
        "status",
        "Requests that bring events, by the status of the answer",
    ),
    metric(
        "twofold_collector_events_total",
        Kind::Counter,
        "source, outcome",
        "Events sent: accepted, rejected, unacknowledged",
    ),
    metric(
        "twofold_collector_shifted_requests_total",
        Kind::Counter,
        "source",
        "Requests whose client's clock is off, so that the times of their events are corrected",
    ),
    metric("twofold_collector_shifted_events_total", Kind::Counter, "source", "Events accepted with such a correction"),
    metric("twofold_collector_body_bytes_total", Kind::Counter, "", "Bytes of request bodies, inflated"),
    metric("twofold_collector_in_flight_bytes", Kind::Gauge, "", "Bytes of the requests that are being worked on"),
    metric(
        "twofold_collector_acknowledge_seconds",
        Kind::Summary,
        "",
        "From handing events to the log until it acknowledged them",
    ),
    metric(
        "twofold_event_log_end_offsets",
        Kind::Gauge,
        "source",
        "The ends of all partitions that can be read up to, summed; told by archive and speed",
    ),
    metric(
        "twofold_archive_end_offsets",
        Kind::Gauge,
        "source",
        "How far the archive has come in all partitions, summed",
    ),
    metric("twofold_archive_rows_total", Kind::Counter, "source", "Rows committed to the master dataset"),
    metric(
        "twofold_archive_rejected_total",
        Kind::Counter,
        "source, reason",
        "Rejected records among them, by the kind of their reason",
    ),
    metric(
        "twofold_archive_unreadable_total",
        Kind::Counter,
        "source, column",
        "Values that are NULL since they could not be read, of sources that want it so",
    ),
    metric(
        "twofold_archive_unseen_columns",
        Kind::Gauge,
        "source",
        "Declared columns without any value since the start, while payloads have keys that may be meant for them",
    ),
    metric(
        "twofold_archive_dead_total",
        Kind::Counter,
        "source",
        "Rejected records appended to the topic of the dead, of archives that do so",
    ),
    metric(
        "twofold_archive_dead_missed_total",
        Kind::Counter,
        "source",
        "Rejected records that were not, and will not be",
    ),
    metric("twofold_archive_commits_total", Kind::Counter, "source", "Commits to the master dataset"),
    metric("twofold_archive_races_total", Kind::Counter, "source", "Commits lost to another archiver"),
    metric("twofold_archive_failures_total", Kind::Counter, "source", "Failed attempts to read the log or to commit"),
    metric(
        "twofold_archive_holes_offsets_total",
        Kind::Counter,
        "source",
        "Offsets that expired before they were archived",
    ),
    metric("twofold_batch_publications_total", Kind::Counter, "view", "Published versions"),
    metric("twofold_batch_failures_total", Kind::Counter, "view", "Recomputes that failed"),
    metric(
        "twofold_batch_failed_rows_total",
        Kind::Counter,
        "view, expression",
        "Rows on which an expression failed and is NULL, once for each recompute of them",
    ),
    metric(
        "twofold_batch_recompute_seconds",
        Kind::Summary,
        "source",
        "From the start of a recompute to its publication",
    ),
    metric("twofold_batch_version_number", Kind::Gauge, "view", "The newest published version"),
    metric("twofold_batch_covered_rows", Kind::Gauge, "view", "Records below the newest cut"),
    metric("twofold_compaction_commits_total", Kind::Counter, "source", "Compactions of the master dataset"),
    metric("twofold_compaction_files_total", Kind::Counter, "source", "Files that they replaced"),
    metric("twofold_compaction_rows_total", Kind::Counter, "source", "Rows that they rewrote"),
    metric("twofold_compaction_seconds", Kind::Summary, "source", "From the start of a compaction to its commit"),
    metric(
        "twofold_compaction_races_total",
        Kind::Counter,
        "source",
        "Compactions dropped, since somebody else was first",
    ),
    metric("twofold_compaction_failures_total", Kind::Counter, "source", "Failed attempts to compact"),
    metric("twofold_fold_commits_total", Kind::Counter, "view", "Versions published with coarser buckets"),
    metric("twofold_fold_failures_total", Kind::Counter, "view", "Failed attempts to fold"),
    metric(
        "twofold_master_live_files",
        Kind::Gauge,
        "source",
        "Live files of the master dataset, as the last look at tables, or for a compaction, found or left them",
    ),
    metric("twofold_speed_records_total", Kind::Counter, "source", "Records in appended runs"),
    metric("twofold_speed_rejected_total", Kind::Counter, "source", "Rejected records among them"),
    metric("twofold_speed_copies_total", Kind::Counter, "source", "Copies left out among them"),
    metric("twofold_speed_late_total", Kind::Counter, "source", "Late events among them"),
    metric("twofold_speed_runs_total", Kind::Counter, "source", "Runs appended"),
    metric("twofold_speed_merges_total", Kind::Counter, "source", "Merges of runs"),
    metric("twofold_speed_dropped_runs_total", Kind::Counter, "source", "Runs dropped since batch versions cover them"),
    metric("twofold_speed_starts_total", Kind::Counter, "source", "Partitions started"),
    metric("twofold_speed_failures_total", Kind::Counter, "source", "Steps that failed and are tried again"),
    metric(
        "twofold_speed_view_failures_total",
        Kind::Counter,
        "view",
        "Micro-batches that the plan of a view failed on",
    ),
    metric(
        "twofold_speed_failed_rows_total",
        Kind::Counter,
        "view, expression",
        "Rows on which an expression failed and is NULL, once for each micro-batch of them",
    ),
    metric(
        "twofold_speed_batch_seconds",
        Kind::Summary,
        "source",
        "From the return of a poll to the last append of its records",
    ),
    metric("twofold_serving_memory_store_used_bytes", Kind::Gauge, "", "Bytes that the realtime store in memory holds"),
    metric(
        "twofold_serving_memory_store_limit_bytes",
        Kind::Gauge,
        "",
        "Bytes that it may hold: `realtime.memory_limit`",
    ),
    metric(
        "twofold_gateway_requests_total",
        Kind::Counter,
        "route, status",
        "Requests to the gateway, by the status of the answer",
    ),
    metric("twofold_gateway_request_duration_seconds", Kind::Summary, "route", "How long they took"),
    metric("twofold_gateway_stale_answers_total", Kind::Counter, "view", "Answers that were marked stale"),
    metric(
        "twofold_gateway_stale",
        Kind::Gauge,
        "view",
        "1 where answers reach less far than they should, or there are none",
    ),
    metric("twofold_gateway_sql_waiting", Kind::Gauge, "", "SQL queries in line for a place"),
    metric("twofold_gateway_sql_refused_total", Kind::Counter, "", "SQL queries that found no place in time"),
    metric("twofold_gateway_blobs_fetched_total", Kind::Counter, "", "Blobs of runs fetched from the realtime store"),
    metric(
        "twofold_gateway_batch_version_bytes",
        Kind::Gauge,
        "view",
        "Memory of the states of the version that is served",
    ),
    metric("twofold_gateway_batch_versions_loaded_total", Kind::Counter, "view", "Batch versions loaded into memory"),
    metric(
        "twofold_gateway_publications_compared_total",
        Kind::Counter,
        "view, outcome",
        "Versions compared with what they replaced: same, different, unexplained, uncompared",
    ),
    metric(
        "twofold_gateway_different_groups",
        Kind::Gauge,
        "view, measure",
        "Groups that the newest of these versions changed by more than the class of the measure allows",
    ),
    metric("twofold_gateway_realtime_bytes", Kind::Gauge, "view", "Memory of the states of its runs"),
    metric(
        "twofold_gateway_realtime_partitions_too_large",
        Kind::Gauge,
        "view",
        "Partitions whose realtime states do not fit into `gateway.realtime_memory`",
    ),
    metric("twofold_gateway_head_offsets", Kind::Gauge, "source, view", "How far answers reach, all partitions summed"),
    metric(
        "twofold_gateway_cut_offsets",
        Kind::Gauge,
        "source, view",
        "How far their batch part reaches, all partitions summed",
    ),
    metric(
        "twofold_gateway_as_of_seconds",
        Kind::Gauge,
        "source, view",
        "Until when answers are known to be right, in seconds since 1970",
    ),
    metric(
        "twofold_source_stopped",
        Kind::Gauge,
        "source",
        "1 where a role has stopped the source, here or in another process, and an operator must act",
    ),
    metric(
        "twofold_problems",
        Kind::Gauge,
        "",
        "Entries in the list of problems of /v1/status that this process found by itself",
    ),
    metric("twofold_workflow_runs", Kind::Gauge, "state", "Runs that are kept"),
    metric("twofold_workflow_tasks", Kind::Gauge, "state", "Tasks of runs that have not ended"),
    metric("twofold_workflow_leased_here", Kind::Gauge, "", "Tasks that this process works at"),
    metric("twofold_workflow_leads", Kind::Gauge, "", "1 where this process leads the workflow"),
    metric(
        "twofold_workflow_journal_entries",
        Kind::Gauge,
        "",
        "Entries of the journal of runs, as this process read it last",
    ),
    metric(
        "twofold_workflow_task_failures_total",
        Kind::Counter,
        "kind, outcome",
        "Tasks that failed in this process: `transient` ones are tried again, `permanent` ones end their run",
    ),
    metric("twofold_workflow_task_seconds", Kind::Summary, "kind", "How long tasks took in this process"),
    metric("twofold_notify_sent_total", Kind::Counter, "receiver", "Notices of runs that were taken"),
    metric(
        "twofold_notify_failed_attempts_total",
        Kind::Counter,
        "receiver",
        "Attempts to send a notice that failed; most are made again",
    ),
    metric(
        "twofold_notify_dropped_total",
        Kind::Counter,
        "receiver",
        "Notices given up: their queue was full, or no attempt was taken",
    ),
    metric("process_cpu_seconds_total", Kind::Counter, "", "Processor time of this process, user and system"),
    metric("process_resident_memory_bytes", Kind::Gauge, "", "Memory of this process that is in RAM"),
    metric("process_virtual_memory_bytes", Kind::Gauge, "", "Address space of this process"),
    metric("process_open_fds", Kind::Gauge, "", "Open file descriptors"),
    metric("process_max_fds", Kind::Gauge, "", "The most file descriptors that may be open"),
    metric("process_threads", Kind::Gauge, "", "Threads"),
    metric("process_start_time_seconds", Kind::Gauge, "", "When this process was started, in seconds since 1970"),
];
