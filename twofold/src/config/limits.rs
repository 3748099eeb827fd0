//! Limits that are right one by one and can never work together: refused at the start, by the keys of both sides.
//!
//! Why so: such a process starts and runs, and refuses for ever what its other settings promise to take.

use std::fmt::Display;
use std::time::Duration;

use positions::{Backoff, format_span};

use super::quantity::format_size;
use super::reader::Reader;
use super::{AccessMode, Config, Engine};

/// Notes every combination that cannot work.
pub(super) fn check_limits(reader: &Reader, config: &Config) {
    check_collector(reader, config);
    check_log(reader, config);
    check_retries(reader, config);
    check_gateway(reader, config);
    check_workflow(reader, config);
    check_access(reader, config);
    check_ballista(reader, config);
}

fn check_access(reader: &Reader, config: &Config) {
    let (section, access) = (reader.section("access"), &config.access);
    match (access.mode, &access.file) {
        (AccessMode::Keys, None) => {
            section.refuse("file", "must name the access file where `access.mode` is \"keys\"".to_owned());
        }
        (AccessMode::Local | AccessMode::Open, Some(_)) => {
            section.refuse("mode", "must be `keys` where `access.file` is set: nothing would look into it".to_owned());
        }
        _ => {}
    }
}

fn check_ballista(reader: &Reader, config: &Config) {
    let (section, ballista) = (reader.section("ballista"), &config.ballista);
    if ballista.max_plan_bytes as u64 >= u64::from(ballista.max_message_bytes) {
        let (message, plan) = (format_size(ballista.max_message_bytes.into()), size(ballista.max_plan_bytes));
        let why = "a plan of that size could never be sent";
        section.refuse("max_message", format!("`{message}` is not more than `ballista.max_plan` ({plan}): {why}"));
    }
    if ballista.keep <= ballista.deadline {
        let why = "what a plan still needs would be removed";
        section.refuse("keep", not_more(ballista.keep, "ballista.deadline", ballista.deadline, why));
    }
    if ballista.executor_listen.ip().is_unspecified() && ballista.advertised_host.is_none() {
        let message = "must be set where `ballista.executor_listen` is no single address: others cannot reach that one";
        section.refuse("advertised_host", message.to_owned());
    }
    if ballista.engine == Engine::Ballista && !cfg!(feature = "ballista") {
        let message = "is \"ballista\", which this build of twofold has not got: build it with its default features, \
                       or set it to \"local\"";
        reader.section("batch").refuse("engine", message.to_owned());
    }
}

fn check_collector(reader: &Reader, config: &Config) {
    let (section, collector) = (reader.section("collector"), &config.collector);
    let largest = collector.max_body_bytes.saturating_add(collector.max_inflated_bytes);
    if collector.max_in_flight_bytes < largest {
        let least = format!(
            "`collector.max_body` + `collector.max_inflated` ({} + {})",
            size(collector.max_body_bytes),
            size(collector.max_inflated_bytes)
        );
        let why = "a request of that size could never be taken";
        section.refuse("max_in_flight", too_little(size(collector.max_in_flight_bytes), least, why));
    }
    if collector.acknowledge_timeout <= config.log.kafka.linger {
        let why = "no record could be acknowledged in time";
        let message = not_more(collector.acknowledge_timeout, "log.linger", config.log.kafka.linger, why);
        section.refuse("acknowledge_timeout", message);
    }
    if collector.max_clock_shift < collector.clock_tolerance {
        let least = format!("`collector.clock_tolerance` ({})", format_span(collector.clock_tolerance));
        let why = "a clock that counts as right would be refused";
        section.refuse("max_clock_shift", too_little(format_span(collector.max_clock_shift), least, why));
    }
}

fn check_log(reader: &Reader, config: &Config) {
    let (section, log) = (reader.section("log"), &config.log.kafka);
    if log.queue_bytes < log.max_record_bytes as u64 {
        let least = format!("`log.max_record_bytes` ({})", log.max_record_bytes);
        let why = "such a record could never be sent";
        section.refuse("queue_size", too_little(format_size(log.queue_bytes), least, why));
    }
    if log.delivery_timeout <= log.linger {
        let why = "no record could be sent in time";
        section.refuse("delivery_timeout", not_more(log.delivery_timeout, "log.linger", log.linger, why));
    } else if let Err(error) = log.validate() {
        // The client library has limits of its own, and knows which of its properties it refuses.
        section.refuse_all(error.to_string());
    }
}

fn check_retries(reader: &Reader, config: &Config) {
    let spans = [
        ("archive", config.archive.backoff),
        ("batch", config.batch.backoff),
        ("notify", config.notify.backoff),
        ("speed", config.speed.backoff),
        ("workflow", config.workflow.takes_part.retry),
    ];
    for (section, Backoff { first: least, longest: most }) in spans {
        if least > most {
            let why = "it is the longest wait, the other one the first";
            let message = too_little(format_span(most), format!("`{section}.retry_min` ({})", format_span(least)), why);
            reader.section(section).refuse("retry_max", message);
        }
    }
}

fn check_gateway(reader: &Reader, config: &Config) {
    let (section, gateway) = (reader.section("gateway"), &config.gateway);
    if gateway.max_rows < gateway.default_rows {
        let least = format!("`gateway.default_rows` ({})", gateway.default_rows);
        let why = "a request without a limit would be beyond it";
        section.refuse("max_rows", too_little(gateway.max_rows, least, why));
    }
    if gateway.max_wait < gateway.default_wait {
        let least = format!("`gateway.default_wait` ({})", format_span(gateway.default_wait));
        let why = "a request without a timeout would be beyond it";
        section.refuse("max_wait", too_little(format_span(gateway.max_wait), least, why));
    }
    if gateway.stale_after <= config.speed.touch {
        let why = "answers over an idle source would always be stale";
        section.refuse("stale_after", not_more(gateway.stale_after, "speed.touch", config.speed.touch, why));
    }
}

/// Whoever lives must be heard several times within a patience.
fn check_workflow(reader: &Reader, config: &Config) {
    let (section, workflow) = (reader.section("workflow"), &config.workflow.takes_part);
    let patiences = [("leader_patience", workflow.leader_patience), ("lease_patience", workflow.lease_patience)];
    for (key, patience) in patiences {
        if patience < workflow.beat * 3 {
            let least = format!("three times `workflow.beat` ({})", format_span(workflow.beat));
            let why = "a process that lives would be taken for dead";
            section.refuse(key, too_little(format_span(patience), least, why));
        }
    }
    if let Some(all) = workflow.memory.all.filter(|all| *all < workflow.memory.task) {
        let least = format!("`batch.memory` ({})", format_size(workflow.memory.task));
        let why = "a task that needs all of that could never be taken; raise it, or lower `batch.memory`";
        section.refuse("memory", too_little(format_size(all), least, why));
    }
    if workflow.history_runs < workflow.recent_runs {
        let why = "runs whose tasks are kept are listed as well";
        let least = format!("`workflow.recent_runs` ({})", workflow.recent_runs);
        section.refuse("history_runs", too_little(workflow.history_runs, least, why));
    }
}

fn too_little(value: impl Display, least: String, why: &str) -> String {
    format!("`{value}` is less than {least}: {why}")
}

fn not_more(value: Duration, key: &str, other: Duration, why: &str) -> String {
    format!("`{}` is not more than `{key}` ({}): {why}", format_span(value), format_span(other))
}

fn size(bytes: usize) -> String {
    format_size(bytes as u64)
}
