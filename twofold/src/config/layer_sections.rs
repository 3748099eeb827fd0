//! Which key means which setting of a layer: one function per section of `config/default.toml`.

use std::path::PathBuf;
use std::time::Duration;

use batch_layer::archive::ArchiveSettings;
use batch_layer::{BatchSettings, CompactSettings, RecomputeSettings};
use collector::CollectorSettings;
use event_log::PollLimit;
use positions::Backoff;
use query_gateway::GatewaySettings;
use records::decode::MAX_PAYLOAD_BYTES;
use speed_layer::SpeedSettings;

use super::origins::{read_origins, read_source_origins};
use super::reader::{LARGEST_COUNT, SHORTEST_SPAN, Section};

const NONE: Duration = Duration::ZERO;

pub(super) fn read_collector(section: Section<'_>) -> CollectorSettings {
    CollectorSettings {
        max_body_bytes: section.memory_size("max_body"),
        max_inflated_bytes: section.memory_size("max_inflated"),
        max_events: section.length("max_events", 1..=LARGEST_COUNT),
        max_event_bytes: section.length("max_event_bytes", 1..=MAX_PAYLOAD_BYTES as u64),
        max_in_flight_requests: section.length("max_in_flight_requests", 1..=LARGEST_COUNT),
        max_in_flight_bytes: section.memory_size("max_in_flight"),
        read_timeout: section.duration("read_timeout", SHORTEST_SPAN),
        acknowledge_timeout: section.duration("acknowledge_timeout", SHORTEST_SPAN),
        retry_after: section.duration("retry_after", SHORTEST_SPAN),
        clock_tolerance: section.duration("clock_tolerance", NONE),
        max_clock_shift: section.duration("max_clock_shift", NONE),
        allowed_origins: section.parsed("allowed_origins", read_source_origins),
    }
}

pub(super) fn read_archive(section: Section<'_>) -> ArchiveSettings {
    ArchiveSettings {
        commit_interval: section.duration("commit_interval", SHORTEST_SPAN),
        commit_bytes: section.memory_size("commit_size"),
        commit_rows: section.length("commit_rows", 1..=LARGEST_COUNT),
        poll: PollLimit {
            records: section.length("poll_records", 1..=LARGEST_COUNT),
            bytes: section.memory_size("poll_size"),
            wait: section.duration("poll_wait", SHORTEST_SPAN),
        },
        partitions_interval: section.duration("partitions_interval", SHORTEST_SPAN),
        dead_topics: section.is_on("dead_topics"),
        backoff: read_backoff(section),
    }
}

pub(super) fn read_batch(section: Section<'_>) -> BatchSettings {
    BatchSettings {
        interval: section.duration("interval", SHORTEST_SPAN),
        backoff: read_backoff(section),
        housekeeping_interval: section.duration("housekeeping_interval", SHORTEST_SPAN),
        recompute: read_recompute(section),
        table_check_interval: section.duration("table_check_interval", NONE),
        compact: CompactSettings {
            is_on: section.is_on("compact"),
            file_bytes: section.size("compact_file_size"),
            min_files: section.length("compact_min_files", 2..=1_000),
        },
        fold_after: Some(section.duration("fold_after", NONE)).filter(|age| !age.is_zero()),
        keep_versions: section.length("keep_versions", 2..=LARGEST_COUNT),
        cleanup_interval: section.duration("cleanup_interval", SHORTEST_SPAN),
        cleanup_grace: section.duration("cleanup_grace", NONE),
    }
}

fn read_recompute(section: Section<'_>) -> RecomputeSettings {
    let threads = section.length("threads", 0..=1_024);
    RecomputeSettings {
        memory_bytes: section.memory_size("memory"),
        spill_folder: section.optional_text("spill_folder").map(PathBuf::from),
        spill_limit_bytes: section.size("spill_limit"),
        target_partitions: if threads == 0 {
            std::thread::available_parallelism().map_or(2, usize::from)
        } else {
            threads
        },
        task_bytes: section.size("task_bytes"),
    }
}

fn read_backoff(section: Section<'_>) -> Backoff {
    Backoff {
        first: section.duration("retry_min", SHORTEST_SPAN),
        longest: section.duration("retry_max", SHORTEST_SPAN),
    }
}

pub(super) fn read_speed(section: Section<'_>) -> SpeedSettings {
    SpeedSettings {
        group: section.optional_text("group"),
        tick: section.duration("tick", SHORTEST_SPAN),
        linger: section.duration("linger", NONE),
        max_records: section.length("max_records", 1..=LARGEST_COUNT),
        max_bytes: section.memory_size("max_size"),
        merge_fan_in: section.length("merge_fan_in", 2..=1_000),
        merges_at_once: section.length("merges_at_once", 1..=1_000),
        files_at_once: section.length("files_at_once", 1..=1_000),
        blob_time_to_live: section.duration("blob_time_to_live", SHORTEST_SPAN),
        grace: section.duration("grace", SHORTEST_SPAN),
        courtesy: section.duration("courtesy", NONE),
        refresh: section.duration("refresh", SHORTEST_SPAN),
        retained_versions: section.length("retained_versions", 1..=1_000),
        touch: section.duration("touch", SHORTEST_SPAN),
        backoff: read_backoff(section),
        shutdown_deadline: section.duration("shutdown_deadline", SHORTEST_SPAN),
    }
}

pub(super) fn read_gateway(section: Section<'_>) -> GatewaySettings {
    GatewaySettings {
        refresh_interval: section.duration("refresh_interval", SHORTEST_SPAN),
        version_interval: section.duration("version_interval", SHORTEST_SPAN),
        retained_versions: section.length("retained_versions", 1..=1_000),
        view_memory_bytes: section.memory_size("view_memory"),
        run_memory_bytes: section.memory_size("run_memory"),
        realtime_memory_bytes: section.memory_size("realtime_memory"),
        store_timeout: section.duration("store_timeout", SHORTEST_SPAN),
        stale_after: section.duration("stale_after", SHORTEST_SPAN),
        default_rows: section.length("default_rows", 1..=LARGEST_COUNT),
        max_rows: section.length("max_rows", 1..=LARGEST_COUNT),
        max_answer_bytes: section.memory_size("max_answer"),
        unread_bytes: section.memory_size("unread_answers"),
        read_timeout: section.duration("read_timeout", SHORTEST_SPAN),
        default_wait: section.duration("default_wait", NONE),
        max_wait: section.duration("max_wait", NONE),
        max_queries: section.length("max_queries", 1..=LARGEST_COUNT),
        max_waiting: section.length("max_waiting", 1..=LARGEST_COUNT),
        max_sql_queries: section.length("max_sql_queries", 1..=LARGEST_COUNT),
        sql_queue: section.length("sql_queue", 0..=LARGEST_COUNT),
        sql_queue_wait: section.duration("sql_queue_wait", NONE),
        sql_plan_bytes: section.memory_size("sql_plan_memory"),
        sql_text_bytes: section.memory_size("sql_text"),
        sql_time_limit: section.duration("sql_time_limit", SHORTEST_SPAN),
        sql_memory_bytes: section.memory_size("sql_memory"),
        sql_result_bytes: section.memory_size("sql_result"),
        sql_partitions: section.length("sql_partitions", 1..=1_024),
        exactness: section.is_on("exactness"),
        exactness_memory_bytes: section.memory_size("exactness_memory"),
        exactness_versions: section.length("exactness_versions", 1..=10_000),
        explain_rows: section.count("explain_rows", 0..=LARGEST_COUNT),
        explain_events: section.length("explain_events", 1..=100_000),
        explain_time_limit: section.duration("explain_time_limit", SHORTEST_SPAN),
        explain_memory_bytes: section.memory_size("explain_memory"),
        allowed_origins: section.parsed("allowed_origins", read_origins),
    }
}
