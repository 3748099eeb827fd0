//! `twofold explain`: what one number of a running system was made of, for people.

use std::fmt::Write as _;

use anyhow::Result;
use serde_json::Value;

use super::client_of;
use crate::arguments::ExplainArguments;
use crate::console::say;

/// Events that are listed for people; `--json` has all that the system named.
const SHOWN: usize = 20;

/// Runs the command.
///
/// # Errors
/// Where no system answers, or it refuses the question.
pub async fn explain(arguments: &ExplainArguments) -> Result<()> {
    let client = client_of(&arguments.target)?;
    let samples = arguments.samples.to_string();
    let keys = arguments.keys.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let parameters: Vec<(&str, &str)> = keys.chain([("samples", samples.as_str())]).collect();
    let account = client.explain(&arguments.view, &parameters).await?;
    let text = match (arguments.receipt, arguments.json) {
        (true, _) => format!("{}\n", account["receipt"]),
        (false, true) => format!("{account}\n"),
        (false, false) => in_words(&account),
    };
    say(&text);
    Ok(())
}

/// An account as lines.
pub fn in_words(account: &Value) -> String {
    let mut text = String::new();
    let rows = list(&account["rows"]);
    let view = word(&account["view"]);
    let _ = writeln!(text, "{view}: {} as of {}", numbered(rows.len(), "row"), word(&account["envelope"]["as_of"]));
    for row in rows {
        let _ = writeln!(text, "  {row}");
    }
    describe_version(account, &mut text);
    describe_partitions(account, &mut text);
    describe_events(account, &mut text);
    for sample in list(&account["samples"]) {
        let _ = writeln!(text, "  {}: {}", place(sample), word(&sample["payload"]));
    }
    for note in [&account["cut_short"], &account["withheld"]].into_iter().filter(|note| !note.is_null()) {
        let _ = writeln!(text, "note: {}", word(note));
    }
    let (digest, view) = (word(&account["receipt"]["digest"]), word(&account["view"]));
    let _ = writeln!(text, "receipt: {digest}; print it with --receipt, check it with `twofold verify` (view {view})");
    text
}

fn describe_version(account: &Value, text: &mut String) {
    let version = &account["version"];
    if version.is_null() {
        let _ = writeln!(text, "no batch version");
        return;
    }
    let _ = writeln!(text, "batch version {}, published {}", version["number"], word(&version["published_at"]));
    let files = list(&version["files"]);
    if version["files"].is_null() {
        let _ = writeln!(text, "  its files have too many rows to look for the groups in, or it took too long");
    } else if files.is_empty() {
        let _ = writeln!(text, "  holds nothing of these groups");
    }
    for file in files {
        let groups: Vec<String> = list(&file["row_groups"]).iter().map(Value::to_string).collect();
        let (path, groups, states) = (word(&file["path"]), groups.join(", "), &file["states"]);
        let _ = writeln!(text, "  {path}, row groups {groups}: {states} of {} states", file["rows"]);
    }
}

fn describe_partitions(account: &Value, text: &mut String) {
    for (partition, pin) in account["partitions"].as_object().into_iter().flatten() {
        let _ =
            writeln!(text, "partition {partition}: batch below offset {}, realtime below {}", pin["cut"], pin["head"]);
        for run in list(&pin["runs"]).iter().filter(|run| run["events"].as_u64() != Some(0)) {
            let (id, from, to) = (word(&run["id"]), &run["from"], &run["to"]);
            let events = run["events"].as_u64().map_or_else(String::new, |events| format!(", {events} of the events"));
            let _ = writeln!(text, "  run {id}: [{from}, {to}){events}");
        }
    }
}

fn describe_events(account: &Value, text: &mut String) {
    let events = &account["events"];
    if events.is_null() {
        return;
    }
    let total = numbered(events["total"].as_u64().unwrap_or_default() as usize, "event");
    let _ = writeln!(text, "{total}, {} late, {} copies that do not count", events["late"], events["copies"]);
    let first = list(&events["first"]);
    for event in first.iter().take(SHOWN) {
        let marks = [("late", "late"), ("copy", "a copy")].into_iter().filter(|(mark, _)| event[*mark] == true);
        let marks: String = marks.map(|(_, told)| format!(", {told}")).collect();
        let _ = writeln!(text, "  {} ({}{marks})", place(event), word(&event["layer"]));
    }
    if first.len() > SHOWN {
        let _ = writeln!(text, "  and {} more (--json)", first.len() - SHOWN);
    }
    let rejected = &events["rejected"];
    if rejected["total"].as_u64().is_some_and(|total| total > 0) {
        let _ = writeln!(text, "{} rejected: {}", rejected["total"], word(&rejected["note"]));
    }
}

fn place(event: &Value) -> String {
    let item =
        event["item"].as_i64().filter(|item| *item > 0).map_or_else(String::new, |item| format!(", event {item}"));
    format!("partition {} offset {}{item}", event["partition"], event["offset"])
}

fn numbered(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[][..], Vec::as_slice)
}

fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
