//! `twofold status`: shows how far a running system is, as tables for people or as JSON for programs.

use anyhow::Result;
use serde_json::{Map, Value};

use super::client_of;
use super::drawing::{align_right, cell, field, list, new_table};
use crate::arguments::StatusArguments;
use crate::console::say;

/// Runs the command.
///
/// # Errors
/// Where no system answers.
pub async fn status(arguments: &StatusArguments) -> Result<()> {
    let client = client_of(&arguments.target)?;
    let status = client.get("/v1/status", &[]).await?;
    if arguments.json {
        say(&format!("{status:#}\n"));
    } else {
        say(&draw_status(&status));
    }
    Ok(())
}

/// Columns of the partitions: heading and field.
const PARTITION: [(&str, &str); 11] = [
    ("part", "partition"),
    ("produced", "produced"),
    ("archived", "archived"),
    ("batched", "batched"),
    ("realtime", "realtime"),
    ("lag", "lag"),
    ("rejected", "rejected"),
    ("late", "late"),
    ("copies", "copies"),
    ("lost", "holes"),
    ("as of", "as_of"),
];

/// Letters of `2026-01-31`.
const DATE_LETTERS: usize = 10;

/// The answer of `/v1/status` in words and tables; what this version does not know is left to `--json`.
///
/// A role without a gateway knows of no source or view, and answers with what it knows of itself alone.
pub fn draw_status(status: &Value) -> String {
    let system = status.get("system").unwrap_or(status);
    let mut text = draw_system(system, status);
    text.push_str(&draw_troubles(list(status, "problems")));
    let today = field(status, "at").chars().take(DATE_LETTERS).collect::<String>();
    text.push_str(&draw_sources(list(status, "sources"), &today));
    text.push_str(&draw_views(list(status, "views"), &today));
    text.push_str(&draw_work(system, status.get("sources").is_some()));
    text
}

fn draw_system(system: &Value, status: &Value) -> String {
    let known = |title: &str, text: String| if text.is_empty() { text } else { format!("{title}{text}") };
    let (definitions, at) = (field(system, "definitions"), field(status, "at"));
    // Who does not operate the system is told less of it.
    let version = known(" ", field(system, "version"));
    let mut text = format!("twofold{version}{}{}\n", known(", definitions ", definitions), known(", at ", at));
    if let Some(registry) = system.get("registry") {
        text.push_str(&draw_registry(registry, &field(system, "definitions")));
    }
    let brokers = field(system, "brokers");
    if !brokers.is_empty() {
        text.push_str(&format!("kafka address {brokers}\n"));
    }
    if let Some(bytes) = system.get("embedded_log_bytes").and_then(Value::as_u64) {
        text.push_str(&format!("embedded log of {}\n", round_size(bytes)));
    }
    text
}

/// Everything that is wrong, each with since when and what to do.
fn draw_troubles(troubles: &[Value]) -> String {
    let draw = |trouble: &Value| {
        let [about, problem, since, way_out, told_by] =
            ["about", "problem", "since", "way_out", "told_by"].map(|name| field(trouble, name));
        let teller = if told_by.is_empty() { String::new() } else { format!(", told by {told_by}") };
        format!("PROBLEM  {about}: {problem} (since {since}{teller})\n         what to do: {way_out}\n")
    };
    troubles.iter().map(draw).collect()
}

/// What of the definitions is being built, and whether this process runs the present ones.
fn draw_registry(registry: &Value, running: &str) -> String {
    let views: Vec<String> = list(registry, "being_built").iter().map(cell).collect();
    let present = field(registry, "definitions");
    let mut text = String::new();
    if present != running {
        text.push_str(&format!("another process has registered definitions {present}\n"));
    }
    if !views.is_empty() {
        text.push_str(&format!("being built: {}\n", views.join(", ")));
    }
    text
}

fn draw_sources(sources: &[Value], today: &str) -> String {
    let mut header = vec!["source"];
    header.extend(PARTITION.map(|(heading, _)| heading));
    let mut table = new_table(&header);
    let mut problems = String::new();
    for source in sources {
        for (row, partition) in list(source, "partitions").iter().enumerate() {
            let name = if row == 0 { field(source, "source") } else { String::new() };
            let fields = PARTITION.map(|(_, name)| without_today(field(partition, name), today));
            table.add_row(std::iter::once(name).chain(fields));
        }
        problems.push_str(&problem("source", &field(source, "source"), source.get("problem")));
        problems.push_str(&draw_rejected(source));
        problems.push_str(&draw_unseen(&field(source, "source"), source));
    }
    align_right(&mut table, 1..=10);
    if table.is_empty() { problems } else { format!("\n{table}\n{problems}") }
}

/// How many records of a source were rejected, and what shows them.
fn draw_rejected(source: &Value) -> String {
    let Some(rejected) = source.get("rejected").filter(|rejected| !rejected.is_null()) else { return String::new() };
    let (name, records) = (field(source, "source"), field(rejected, "records"));
    format!("source {name}: {records} rejected; `{}` shows why\n", field(rejected, "command"))
}

/// The columns that nothing was read for, of a source or its archive: which keys may be meant, and what to write.
fn draw_unseen(name: &str, of: &Value) -> String {
    let no_keys = Map::new();
    let draw = |unseen: &Value| {
        let keys = unseen.get("keys").and_then(Value::as_object).unwrap_or(&no_keys);
        let keys: Vec<String> = keys.iter().map(|(key, payloads)| format!("{key} (in {payloads})")).collect();
        format!(
            "source {name}: column {} has had no value so far; of the payloads looked at, some have {}: {}\n",
            field(unseen, "column"),
            keys.join(", "),
            field(unseen, "way_out")
        )
    };
    list(of, "unseen_columns").iter().map(draw).collect()
}

/// The values that an archive found and their columns cannot take.
fn draw_unreadable(name: &str, archive: &Value) -> String {
    let no_columns = Map::new();
    let columns = archive.get("unreadable_values").and_then(Value::as_object).unwrap_or(&no_columns);
    let draw = |(column, values): (&String, &Value)| {
        format!("source {name}: {values} values of column {column} are NULL: the column cannot take them\n")
    };
    columns.iter().map(draw).collect()
}

fn draw_views(views: &[Value], today: &str) -> String {
    let mut table = new_table(&["view", "state", "version", "published", "cut", "head", "realtime", "stale"]);
    let mut problems = String::new();
    for view in views {
        let envelope = view.get("envelope").unwrap_or(&Value::Null);
        table.add_row([
            field(view, "view"),
            field(view, "state"),
            field(envelope, "version"),
            without_today(field(envelope, "published_at"), today),
            sum_of_offsets(envelope.get("cut")),
            sum_of_offsets(envelope.get("head")),
            envelope.get("realtime_share").and_then(Value::as_f64).map_or(String::new(), percent),
            if envelope.get("stale").and_then(Value::as_bool).unwrap_or(false) { "STALE" } else { "" }.to_owned(),
        ]);
        problems.push_str(&problem("view", &field(view, "view"), view.get("reason")));
        problems.push_str(&problem("view", &field(view, "view"), view.get("problem")));
        for reason in list(envelope, "stale_reasons") {
            problems.push_str(&problem("view", &field(view, "view"), Some(reason)));
        }
    }
    align_right(&mut table, [2, 4, 5, 6]);
    let note = "cut, head: the offsets of all partitions added up; --json tells each";
    if table.is_empty() { problems } else { format!("\n{table}\n{note}\n{problems}") }
}

/// What archive and batch layer are doing, and what has stopped. `has_sources`: what archives found is told with those.
fn draw_work(system: &Value, has_sources: bool) -> String {
    let no_facts = Map::new();
    let mut text = String::from("\n");
    for (name, fact) in system.as_object().unwrap_or(&no_facts) {
        if let Some(source) = name.strip_prefix("archive of ") {
            let [rows, rejected, pending] = ["rows", "rejected", "pending_rows"].map(|name| field(fact, name));
            let state = field(fact, "state");
            text.push_str(&format!("{name}: {state}, {rows} records, {rejected} rejected, {pending} waiting\n"));
            text.push_str(&problem("", name, fact.get("error")));
            text.push_str(&draw_unreadable(source, fact));
            text.push_str(&if has_sources { String::new() } else { draw_unseen(source, fact) });
        }
    }
    if let Some(batch) = system.get("batch") {
        let is = |name: &str| batch.get(name).and_then(Value::as_bool).unwrap_or(false);
        let told = match (is("running"), is("paused")) {
            (true, _) => "at work",
            (false, true) => "paused: `twofold runs resume` lets it go on",
            (false, false) => "waiting for its next round",
        };
        text.push_str(&format!("batch: {told}\n"));
        for (view, error) in batch.get("errors").and_then(Value::as_object).unwrap_or(&no_facts) {
            text.push_str(&problem("batch view", view, Some(error)));
        }
    }
    text
}

fn problem(kind: &str, name: &str, what: Option<&Value>) -> String {
    let what = what.map(cell).unwrap_or_default();
    if what.is_empty() { what } else { format!("PROBLEM  {} {what}\n", format!("{kind} {name}:").trim_start()) }
}

/// `12:00:00Z` for an instant of today; any other text as it is.
fn without_today(text: String, today: &str) -> String {
    let rest = text.strip_prefix(today).filter(|_| !today.is_empty()).and_then(|rest| rest.strip_prefix('T'));
    rest.map(str::to_owned).unwrap_or(text)
}

/// The offsets of all partitions added up: a view may have a hundred of them.
fn sum_of_offsets(value: Option<&Value>) -> String {
    let offsets = value.and_then(Value::as_object);
    offsets.map_or_else(String::new, |offsets| offsets.values().filter_map(Value::as_i64).sum::<i64>().to_string())
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// Rounded to what a person reads: the exact number is in `--json`.
fn round_size(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}
