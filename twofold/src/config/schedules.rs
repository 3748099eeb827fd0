//! `[schedules.NAME]`: sections whose names are free, each with the same keys; and `[scheduling]`, which holds for all.
//!
//! Guarantee: a schedule that could never be due, or at no moment that its author can mean, is refused by its key.
//! Not here: whether its source and views are there (`twofold/src/schedules.rs`), when it is due
//! (`workflow::schedule`).

use std::time::Duration;

use positions::{SourceName, ViewName};
use views::did_you_mean;
use workflow::RunMode;
use workflow::schedule::{
    CronExpression, Overlap, Rules, Schedule, ScheduleName, Target, Timing, parse_zone, zone_names,
};

use super::reader::{LARGEST_COUNT, Reader, SHORTEST_SPAN, Section};
use super::schedule_keys::{SCHEDULES, UTC};

const MOST_SCHEDULES: usize = 1_000;
const LONGEST_NAME: usize = 64;

/// When batch views are computed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScheduleSettings {
    /// As they are written, by name. What they leave out is computed each `batch.interval`.
    pub written: Vec<WrittenSchedule>,
    /// What holds for all of them.
    pub rules: Rules,
}

/// A schedule, and where it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenSchedule {
    /// What it says.
    pub schedule: Schedule,
    /// The place of its source and its views: a file, an environment variable.
    pub origin: String,
}

pub(super) fn read_schedules(reader: &Reader) -> ScheduleSettings {
    let names = reader.names_below(SCHEDULES);
    if names.len() > MOST_SCHEDULES {
        let message = format!("there are {} schedules: {MOST_SCHEDULES} at most", names.len());
        reader.section(SCHEDULES).refuse_all(message);
    }
    let written = names.iter().map(|name| read_schedule(reader.section(&format!("{SCHEDULES}.{name}")), name));
    ScheduleSettings { written: written.collect(), rules: read_rules(reader.section("scheduling")) }
}

fn read_rules(section: Section<'_>) -> Rules {
    Rules {
        least_distance: section.duration("least_distance", Duration::ZERO),
        max_runs: section.length("max_runs", 1..=LARGEST_COUNT),
        missed_after: section.duration("missed_after", Duration::from_secs(1)),
    }
}

fn read_schedule(section: Section<'_>, name: &str) -> WrittenSchedule {
    let timing = read_timing(section, name);
    if !is_schedule_name(name) {
        let form = "must be lower-case letters, digits, `-` and `_`";
        section.refuse_all(format!("the name of a schedule {form}, {LONGEST_NAME} at most, got `{name}`"));
    }
    let origin = section.origin("views").or_else(|| section.origin("source")).unwrap_or_default();
    let schedule = Schedule {
        name: ScheduleName(name.to_owned()),
        timing,
        target: Target {
            source: section.optional_text("source").map(SourceName::new),
            views: section.texts("views").into_iter().map(ViewName::new).collect(),
        },
        mode: section.parsed("mode", |text| match text {
            "incremental" => Ok(RunMode::Incremental),
            "full" => Ok(RunMode::Full),
            _ => Err(format!("must be `incremental` or `full`, got `{text}`")),
        }),
        jitter: section.duration("jitter", Duration::ZERO),
        overlap: section.parsed("overlap", |text| match text {
            "skip" => Ok(Overlap::Skip),
            "queue" => Ok(Overlap::Queue),
            "replace" => Ok(Overlap::Replace),
            _ => Err(format!("must be `skip`, `queue` or `replace`, got `{text}`")),
        }),
        catch_up: section.is_on("catch_up"),
        deadline: read_optional_span(section, "deadline"),
        priority: i32::try_from(section.count("priority", 0..=100)).unwrap_or(0),
    };
    WrittenSchedule { schedule, origin }
}

fn is_schedule_name(name: &str) -> bool {
    let is_sign = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(is_sign)
}

fn read_timing(section: Section<'_>, name: &str) -> Timing {
    let zone = section.text("time_zone");
    let every = read_optional_span(section, "every");
    let is_cron = section.optional_text("cron").is_some();
    match (is_cron, every) {
        (true, Some(_)) => {
            section.refuse("every", format!("keep one of the two: `{}` is set as well", section.key("cron")))
        }
        (false, None) => {
            let message = format!("must be set, such as \"30 2 * * *\", or `{}`", section.key("every"));
            section.refuse("cron", message);
        }
        (false, Some(_)) if zone != UTC => {
            section.refuse("time_zone", format!("is for `{}` alone: an interval has no zone", section.key("cron")));
        }
        _ => {}
    }
    match read_cron(section, is_cron) {
        Some(cron) => cron,
        // Where nothing can be used, the whole configuration is refused.
        None => Timing::every(every.unwrap_or(Duration::from_secs(60)), name),
    }
}

fn read_cron(section: Section<'_>, is_cron: bool) -> Option<Timing> {
    let zone = section.parsed("time_zone", |text| {
        let hint = || {
            let known: Vec<&str> = zone_names().collect();
            did_you_mean(text, &known).map_or_else(String::new, |hint| format!("; {hint}"))
        };
        parse_zone(text).map(Some).map_err(|error| format!("{error}{}", hint()))
    });
    if !is_cron {
        return None;
    }
    let expression =
        section.parsed("cron", |text| CronExpression::parse(text).map(Some).map_err(|error| error.to_string()));
    Some(Timing::Cron { expression: expression?, zone: zone? })
}

fn read_optional_span(section: Section<'_>, key: &str) -> Option<Duration> {
    section.optional_text(key)?;
    Some(section.duration(key, SHORTEST_SPAN))
}
