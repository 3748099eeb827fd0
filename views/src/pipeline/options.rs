//! Options of sources, static tables and views: known names, values with their units, spans of time.

use std::time::Duration;

use datafusion::sql::parser::CreateExternalTable;
use datafusion::sql::sqlparser::ast::{CreateTableOptions, CreateView, Expr, SqlOption, UnaryOperator, Value};

use super::findings::{Findings, known_names};
use super::statements::Located;
use crate::Bucket;

/// What a view says about itself in `WITH (...)`.
#[derive(Clone, Copy, Debug)]
pub(super) struct ViewOptions {
    pub(super) bucket: Bucket,
    pub(super) max_state_bytes: usize,
}

impl Default for ViewOptions {
    fn default() -> Self {
        Self { bucket: Bucket::Hour, max_state_bytes: 1 << 20 }
    }
}

/// An option as written.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) line: usize,
}

impl Setting {
    /// Notes that the value is not what the option takes.
    pub(super) fn refuse(&self, expected: &str, findings: &mut Findings) {
        let text = format!("{} '{}'", self.name, self.value);
        findings.add(self.line, &text, format!("bad value of option {}", self.name), format!("write {expected}"));
    }

    /// The value as a whole number within bounds.
    pub(super) fn number(&self, least: i64, most: i64, findings: &mut Findings) -> Option<i64> {
        let number = self.value.replace('_', "").parse().ok().filter(|number| (least..=most).contains(number));
        if number.is_none() {
            self.refuse(&format!("a whole number from {least} to {most}"), findings);
        }
        number
    }

    /// The value as a span of time, for example `10 minutes`, `30s` or `1 hour 30 minutes`.
    pub(super) fn span(&self, findings: &mut Findings) -> Option<Duration> {
        let span = parse_span(&self.value);
        if span.is_none() {
            self.refuse(
                "a span of time such as '500ms', '30s', '10 minutes', '1 hour 30 minutes' or '2 days'",
                findings,
            );
        }
        span
    }
}

/// The options of a table, refusing names that are not in `known` and names given twice.
pub(super) fn table_options(
    table: &CreateExternalTable,
    known: &[&str],
    statement: &Located,
    findings: &mut Findings,
) -> Vec<Setting> {
    let settings = table.options.iter().map(|(name, value)| {
        let name = name.to_lowercase();
        let name = name.strip_prefix("format.").unwrap_or(&name).to_owned();
        let value = match value {
            Value::SingleQuotedString(text) | Value::DoubleQuotedString(text) | Value::EscapedStringLiteral(text) => {
                text.clone()
            }
            other => other.to_string(),
        };
        let line = statement.line_of(&name);
        Setting { name, value, line }
    });
    only_known(settings.collect(), known, findings)
}

/// The options of a view.
pub(super) fn view_options(view: &CreateView, statement: &Located, findings: &mut Findings) -> ViewOptions {
    let mut options = ViewOptions::default();
    for setting in only_known(with_clause(view, statement, findings), &["bucket", "max_state_bytes"], findings) {
        match setting.name.as_str() {
            "bucket" => match setting.value.parse() {
                Ok(bucket) => options.bucket = bucket,
                Err(()) => setting.refuse("'hour', 'day', 'month' or 'none'", findings),
            },
            _ => {
                if let Some(bytes) = setting.number(1024, 1 << 30, findings) {
                    options.max_state_bytes = usize::try_from(bytes).unwrap_or(options.max_state_bytes);
                }
            }
        }
    }
    options
}

fn with_clause(view: &CreateView, statement: &Located, findings: &mut Findings) -> Vec<Setting> {
    let given = match &view.options {
        CreateTableOptions::None => return Vec::new(),
        CreateTableOptions::With(given) | CreateTableOptions::Options(given) => given,
        other => {
            findings.add(
                statement.line,
                &other.to_string(),
                "a view takes no such clause",
                "write WITH (name = value)",
            );
            return Vec::new();
        }
    };
    let mut settings = Vec::new();
    for option in given {
        let SqlOption::KeyValue { key, value } = option else {
            findings.add(statement.line, &option.to_string(), "this is no option", "write WITH (name = value)");
            continue;
        };
        let line = statement.line_of_span(key.span);
        settings.push(Setting { name: key.value.to_lowercase(), value: literal_text(value), line });
    }
    settings
}

fn literal_text(value: &Expr) -> String {
    match value {
        Expr::Value(literal) => match &literal.value {
            Value::SingleQuotedString(text) | Value::DoubleQuotedString(text) => text.clone(),
            other => other.to_string(),
        },
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => format!("-{}", literal_text(expr)),
        Expr::Identifier(word) => word.value.clone(),
        other => other.to_string(),
    }
}

fn only_known(settings: Vec<Setting>, known: &[&str], findings: &mut Findings) -> Vec<Setting> {
    let mut kept: Vec<Setting> = Vec::new();
    for setting in settings {
        if !known.contains(&setting.name.as_str()) {
            let hint = known_names(&setting.name, known.iter().copied());
            findings.add(setting.line, &setting.name, "unknown option", hint);
        } else if kept.iter().any(|other| other.name == setting.name) {
            findings.add(setting.line, &setting.name, "this option is given twice", "keep one of them");
        } else {
            kept.push(setting);
        }
    }
    kept
}

/// A sum of numbers with units; up to about a year.
fn parse_span(text: &str) -> Option<Duration> {
    const MAX: Duration = Duration::from_secs(366 * 86_400);
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit())?;
        let (number, tail) = rest.split_at(digits);
        let tail = tail.trim_start();
        let letters = tail.find(|letter: char| !letter.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let millis: u64 = match unit.to_ascii_lowercase().as_str() {
            "ms" | "millisecond" | "milliseconds" => 1,
            "s" | "sec" | "second" | "seconds" => 1000,
            "m" | "min" | "minute" | "minutes" => 60_000,
            "h" | "hour" | "hours" => 3_600_000,
            "d" | "day" | "days" => 86_400_000,
            _ => return None,
        };
        total = total.checked_add(Duration::from_millis(number.parse::<u64>().ok()?.checked_mul(millis)?))?;
        rest = tail.trim_start();
    }
    (total <= MAX).then_some(total)
}
