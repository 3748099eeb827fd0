//! `twofold rejected`: shows the newest records of a source that no event could be read from, and why; or has all of
//! them judged again.

use std::cmp::Ordering;

use anyhow::{Result, bail};
use comfy_table::Table;
use serde_json::{Map, Value};

use super::client_of;
use super::drawing::{align_right, cell, field, list, new_table};
use crate::arguments::RejectedArguments;
use crate::client::Client;
use crate::console::say;

/// Letters of a payload in a table; `--json` shows what the system answers.
const PAYLOAD_LETTERS: usize = 80;

/// Runs the command.
///
/// # Errors
/// Where no system answers, or it knows no such source or reason; where records were to be read again and a view could
/// not be recomputed.
pub async fn rejected(arguments: &RejectedArguments) -> Result<()> {
    let client = client_of(&arguments.target)?;
    if arguments.read_again {
        return read_again(arguments, &client).await;
    }
    let limit = arguments.limit.to_string();
    let reason = arguments.reason.as_deref().map(|kind| ("reason", kind));
    let parameters: Vec<(&str, &str)> = [("limit", limit.as_str())].into_iter().chain(reason).collect();
    let answer = client.rejected(&arguments.source, &parameters).await?;
    if arguments.json {
        say(&format!("{answer:#}\n"));
    } else {
        say(&draw_rejected(&answer));
    }
    Ok(())
}

async fn read_again(arguments: &RejectedArguments, client: &Client) -> Result<()> {
    let answer = client.read_again(&arguments.source).await?;
    if arguments.json {
        say(&format!("{answer:#}\n"));
    } else {
        say(&draw_read_again(&answer));
    }
    let views = answer.get("views").and_then(Value::as_object);
    let failed = views.into_iter().flatten().filter(|(_, outcome)| !field(outcome, "error").is_empty()).count();
    if failed > 0 {
        bail!("{failed} views failed: what came back is not in them yet");
    }
    Ok(())
}

/// An answer of `/v1/sources/{source}/rejected/read-again` in words: the counts, then what became of each view.
pub fn draw_read_again(answer: &Value) -> String {
    let (then, now) = (number(answer, "rejected_when_archived"), number(answer, "rejected_now"));
    let change = match now.cmp(&then) {
        Ordering::Less => format!("{} came back", then - now),
        Ordering::Equal => "none came back".to_owned(),
        Ordering::Greater => format!("{} more are rejected", now - then),
    };
    let mut text = format!(
        "source {}: of {} records archived, {then} were rejected when they were archived and {now} are now: {change}\n",
        field(answer, "source"),
        number(answer, "records")
    );
    let no_views = Map::new();
    for (view, outcome) in answer.get("views").and_then(Value::as_object).unwrap_or(&no_views) {
        let details = ["version", "error"].map(|name| field(outcome, name)).concat();
        let separator = if details.is_empty() { "" } else { ": " };
        text.push_str(&format!("{view}: {}{separator}{details}\n", field(outcome, "state")));
    }
    text
}

/// An answer of `/v1/sources/{source}/rejected` in words and tables: counts first, the records below.
pub fn draw_rejected(answer: &Value) -> String {
    let (total, looked_at) = (number(answer, "total"), number(answer, "looked_at"));
    let looked_at = if looked_at < total { format!(", {looked_at} of them looked at") } else { String::new() };
    let mut text = format!("source {}: {total} rejected{looked_at}\n", field(answer, "source"));
    text.push_str(&draw_reasons(list(answer, "reasons")));
    text.push_str(&draw_records(list(answer, "records")));
    let archived = answer.get("archived").and_then(Value::as_object);
    let ends = archived.into_iter().flatten().map(|(partition, offset)| format!("{partition}:{offset}"));
    let ends: Vec<String> = ends.collect();
    if !ends.is_empty() {
        text.push_str(&format!("\narchived up to {}; what is newer is not archived yet\n", ends.join(" ")));
    }
    // Without an offset to name, the system's own words say it.
    let notes = [("note", ends.is_empty()), ("withheld", true)].into_iter().filter(|(_, is_told)| *is_told);
    for note in notes.map(|(name, _)| field(answer, name)).filter(|note| !note.is_empty()) {
        text.push_str(&format!("{note}\n"));
    }
    text
}

fn draw_reasons(reasons: &[Value]) -> String {
    let mut table = new_table(&["reason", "records"]);
    for reason in reasons {
        table.add_row([field(reason, "reason"), field(reason, "records")]);
    }
    align_right(&mut table, [1]);
    below_a_line(&table)
}

fn draw_records(records: &[Value]) -> String {
    let mut table = new_table(&["offset", "when", "reason", "payload"]);
    for record in records {
        let place = format!("{}:{}", field(record, "partition"), field(record, "offset"));
        table.add_row([place, field(record, "time"), plain(&field(record, "error")), draw_payload(record)]);
    }
    below_a_line(&table)
}

fn below_a_line(table: &Table) -> String {
    if table.is_empty() { String::new() } else { format!("\n{table}\n") }
}

/// The start of a payload on one line; bytes that are no text in base64, and called so.
fn draw_payload(record: &Value) -> String {
    let payload = record.get("payload").and_then(Value::as_str).unwrap_or_default();
    let encoding = record.get("encoding").and_then(Value::as_str).filter(|encoding| *encoding != "utf-8");
    let is_cut = record.get("truncated").and_then(Value::as_bool).unwrap_or(false);
    let mut text = encoding.map_or_else(String::new, |encoding| format!("{encoding} "));
    text.extend(payload.chars().take(PAYLOAD_LETTERS));
    if is_cut || payload.chars().nth(PAYLOAD_LETTERS).is_some() {
        text.push_str(&format!("… ({} bytes)", record.get("payload_bytes").map(cell).unwrap_or_default()));
    }
    plain(&text)
}

/// What a sender wrote must not move the cursor of who reads it.
fn plain(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}

fn number(answer: &Value, name: &str) -> u64 {
    answer.get(name).and_then(Value::as_u64).unwrap_or_default()
}
