//! Which keys the sections `[schedules.NAME]` have, and what they are where they are not written.
//!
//! Guarantee: pure. A schedule is there once one of its keys is written, in whichever layer.
//! Not here: what the keys mean (`schedules.rs`).

use toml::Value;

/// The section of sections.
pub(super) const SCHEDULES: &str = "schedules";
/// The zone where none is written.
pub(super) const UTC: &str = "UTC";

const MIDDLE_PRIORITY: i64 = 50;

/// The name of the schedule that a key belongs to.
pub(super) fn schedule_of(key: &str) -> Option<&str> {
    let (name, _) = key.strip_prefix(SCHEDULES)?.strip_prefix('.')?.rsplit_once('.')?;
    Some(name)
}

/// The keys of each schedule, and what they are where they are not written.
pub(super) fn schedule_defaults(name: &str) -> impl Iterator<Item = (String, Value)> {
    let text = |text: &str| Value::String(text.to_owned());
    let defaults = [
        ("cron", text("")),
        ("time_zone", text(UTC)),
        ("every", text("")),
        ("source", text("")),
        ("views", Value::Array(Vec::new())),
        ("mode", text("incremental")),
        ("jitter", text("0s")),
        ("overlap", text("skip")),
        ("catch_up", Value::Boolean(true)),
        ("deadline", text("")),
        ("priority", Value::Integer(MIDDLE_PRIORITY)),
    ];
    defaults.into_iter().map(move |(key, value)| (format!("{SCHEDULES}.{name}.{key}"), value))
}

/// Schedules of a file without any key: nobody would see that they are there.
pub(super) fn empty_schedules(table: &toml::Table) -> Vec<String> {
    let named = table.get(SCHEDULES).and_then(Value::as_table).into_iter().flatten();
    let empty = named.filter(|(_, schedule)| schedule.as_table().is_some_and(toml::Table::is_empty));
    empty.map(|(name, _)| format!("{SCHEDULES}.{name}")).collect()
}
