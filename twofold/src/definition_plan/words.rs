//! A plan in words: the same for `twofold plan`, `twofold apply`, the start of `twofold up` and its log.

use std::fmt::Write as _;
use std::time::Duration;

use indicatif::{FormattedDuration, HumanBytes, HumanCount};

use super::{DefinitionPlan, Held, PlannedChange, PlannedRead};

/// The whole plan.
pub fn describe(plan: &DefinitionPlan) -> String {
    let mut text = match plan.planned_on {
        Some(number) if plan.is_unchanged => format!("nothing differs from definitions {}\n", number.0),
        Some(number) => format!("beside definitions {}:\n", number.0),
        None => "no definitions are registered yet:\n".to_owned(),
    };
    let all = || plan.sources.iter().map(|it| ("source", it)).chain(plan.views.iter().map(|it| ("view", it)));
    for (what, change) in all().filter(|(_, change)| change.change != "unchanged") {
        describe_change(&mut text, what, change);
    }
    let same: Vec<String> = all()
        .filter(|(_, change)| change.change == "unchanged")
        .map(|(what, change)| format!("{what} {}", change.name))
        .collect();
    if !same.is_empty() && !plan.is_unchanged {
        let _ = writeln!(text, "  unchanged: {}", same.join(", "));
    }
    plan.reads.iter().for_each(|read| describe_read(&mut text, read));
    if plan.views.iter().any(|view| view.change == "changed") {
        text.push_str("  until they are built, changed views answer by their former definitions, and both are kept\n");
        let changed = plan.views.iter().filter(|view| view.change == "changed");
        let more: u64 = changed.filter_map(|view| view.memory_bytes).sum();
        if more > 0 {
            let more = HumanBytes(more);
            let _ =
                writeln!(text, "  a gateway takes about {more} more meanwhile, if they stay as large as they are now");
        }
    }
    plan.warnings.iter().for_each(|warning| {
        let _ = writeln!(text, "warning: {warning}");
    });
    text
}

fn describe_change(text: &mut String, what: &str, change: &PlannedChange) {
    let memory = change.memory_bytes.map(|bytes| format!("{} in a gateway's memory", HumanBytes(bytes)));
    let now: Vec<String> = change.holds.map(describe_held).into_iter().chain(memory).collect();
    let now = if now.is_empty() { String::new() } else { format!(", now {}", now.join(", ")) };
    let _ = writeln!(text, "  {what} {}: {}{now}", change.name, change.change);
    for part in &change.parts {
        let _ = writeln!(text, "    {part}");
    }
}

/// What a batch view holds.
fn describe_held(held: Held) -> String {
    format!("{} rows in {}", HumanCount(held.rows), HumanBytes(held.bytes))
}

fn describe_read(text: &mut String, read: &PlannedRead) {
    let views = read.views.join(", ");
    let (rows, bytes) = (HumanCount(read.estimate.rows), HumanBytes(read.estimate.bytes));
    let _ = write!(text, "  to be read of source {} for {views}: about {rows} rows in {bytes}", read.source);
    let _ = match (read.estimated_seconds, read.rate) {
        (Some(seconds), Some(rate)) => writeln!(
            text,
            "; estimated time {}, since {} tasks of past runs did {} in a second each",
            FormattedDuration(Duration::from_secs_f64(seconds.ceil())),
            rate.tasks,
            HumanBytes(rate.bytes_per_second as u64)
        ),
        _ => writeln!(text, "; estimated time unknown, since no run of this source at hand computed anything"),
    };
}
