//! The catalogue of aggregates as a page of documentation.

use super::catalogue::AGGREGATES;
use super::facts::{Distinct, MergeFacts, Support};

const HEAD: &str = "# Aggregates

Printed from the catalogue (`views/src/aggregate/catalogue.rs`) by `views::print_aggregates`; a test compares this page
with it. What is *proven* is in `tests/it/aggregates`: every aggregate below, with and without DISTINCT and keys, over
parts in any number and order, against an answer computed from the rows by other code.

- **exact**: merged equals direct, bit for bit. **float**: up to rounding. **sketch**: within a published bound.
  **unbounded**: exact, and the state grows with its input, up to `max_state_bytes` per group.
- -0.0 goes into every aggregate as 0.0, and every NaN is the same NaN.
- One kind of state per call, whether it was made with or without keys.

| aggregate | class | with DISTINCT | state | merged |
|---|---|---|---|---|
";

/// The page `docs/aggregates.md`, in Markdown.
pub fn print_aggregates() -> String {
    let mut page = HEAD.to_owned();
    let (mut notes, mut refused) = (Shared::default(), Shared::default());
    for facts in AGGREGATES {
        let name = facts.name;
        match facts.support {
            Support::Merged(merged) => {
                page.push_str(&line(name, &merged));
                if let Distinct::Refused(refusal) = merged.distinct {
                    refused.add(format!("`{name}(DISTINCT ...)`"), format!("{} | {}", refusal.reason, refusal.hint));
                }
                if !merged.notes.is_empty() {
                    notes.add(format!("`{name}`"), merged.notes.to_owned());
                }
            }
            Support::Refused(refusal) => {
                refused.add(format!("`{name}`"), format!("{} | {}", refusal.reason, refusal.hint));
            }
        }
    }
    let notes = notes.print(|names, text| format!("- {names}: {text}\n"));
    let refused = refused.print(|names, text| format!("| {names} | {text} |\n"));
    format!("{page}\n## Notes\n\n{notes}\n## Refused\n\n| aggregate | why | instead |\n|---|---|---|\n{refused}")
}

/// What is said of several aggregates, once: the text, and their names.
#[derive(Default)]
struct Shared(Vec<(String, Vec<String>)>);

impl Shared {
    fn add(&mut self, name: String, text: String) {
        match self.0.iter_mut().find(|(known, _)| *known == text) {
            Some((_, names)) => names.push(name),
            None => self.0.push((text, vec![name])),
        }
    }

    fn print(&self, line: impl Fn(&str, &str) -> String) -> String {
        self.0.iter().map(|(text, names)| line(&names.join(", "), text)).collect()
    }
}

fn line(name: &str, merged: &MergeFacts) -> String {
    let (whole, float) = (merged.class_of(false, false).as_str(), merged.class_of(false, true).as_str());
    let class = if whole == float { whole.to_owned() } else { format!("{whole}; {float} over DOUBLE") };
    let distinct = match merged.distinct {
        Distinct::Ignored => "changes nothing",
        Distinct::KeepsValues => "unbounded",
        Distinct::Refused(_) => "refused",
    };
    format!("| `{name}` | {class} | {distinct} | {} | {} |\n", merged.states.join(", "), merged.merging)
}
