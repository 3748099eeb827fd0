//! Options of sources, static tables and views: known names, values with their units, spans of time.

use std::collections::BTreeSet;
use std::time::Duration;

use datafusion::sql::parser::CreateExternalTable;
use datafusion::sql::sqlparser::ast::{CreateTableOptions, CreateView, Expr, SqlOption, UnaryOperator, Value};
use positions::{SPAN_EXAMPLES, SchemaId, SpanError, parse_span};

use super::findings::{Findings, known_names};
use super::statements::Located;
use crate::bucket::Bucket;

/// What a view says about itself in `WITH (...)`.
#[derive(Clone, Copy, Debug)]
pub(super) struct ViewOptions {
    pub(super) bucket: Bucket,
    pub(super) max_state_bytes: usize,
    /// The line that says `bucket`, where one does.
    pub(super) bucket_line: Option<usize>,
}

impl Default for ViewOptions {
    fn default() -> Self {
        Self { bucket: Bucket::Hour, max_state_bytes: 1 << 20, bucket_line: None }
    }
}

/// An option as written.
#[derive(Clone, Debug)]
pub(super) struct OptionValue {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) line: usize,
}

impl OptionValue {
    /// Adds the finding that the value is not what the option takes.
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

    /// The value as a span of time of at most a year.
    pub(super) fn span(&self, findings: &mut Findings) -> Option<Duration> {
        const MAX: Duration = Duration::from_secs(366 * 86_400);
        match parse_span(&self.value) {
            Ok(span) if span <= MAX => return Some(span),
            Ok(_) | Err(SpanError::TooLarge) => self.refuse("a span of time of at most 366 days", findings),
            Err(SpanError::Malformed) => self.refuse(SPAN_EXAMPLES, findings),
        }
        None
    }

    /// The value as a truth value.
    pub(super) fn truth(&self, findings: &mut Findings) -> Option<bool> {
        let truth = self.value.to_lowercase().parse().ok();
        if truth.is_none() {
            self.refuse("'true' or 'false'", findings);
        }
        truth
    }

    /// The value as ids of schemas.
    pub(super) fn schema_ids(&self, findings: &mut Findings) -> Option<BTreeSet<SchemaId>> {
        let ids: Result<BTreeSet<SchemaId>, _> =
            self.value.split(',').map(|id| id.trim().parse().map(SchemaId)).collect();
        if ids.is_err() {
            self.refuse("ids of schemas as the registry numbers them, such as '17' or '17, 23'", findings);
        }
        ids.ok()
    }
}

/// The options of a table, refusing names that are not in `known` and names given twice.
pub(super) fn table_options(
    table: &CreateExternalTable,
    known: &[&str],
    statement: &Located,
    findings: &mut Findings,
) -> Vec<OptionValue> {
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
        OptionValue { name, value, line }
    });
    only_known(settings.collect(), known, findings)
}

/// The options of a view.
pub(super) fn view_options(view: &CreateView, statement: &Located, findings: &mut Findings) -> ViewOptions {
    let mut options = ViewOptions::default();
    for setting in only_known(with_clause(view, statement, findings), &["bucket", "max_state_bytes"], findings) {
        match setting.name.as_str() {
            "bucket" => {
                options.bucket_line = Some(setting.line);
                match setting.value.parse() {
                    Ok(bucket) => options.bucket = bucket,
                    Err(()) => setting.refuse("'hour', 'day', 'month' or 'none'", findings),
                }
            }
            _ => {
                if let Some(bytes) = setting.number(1024, 1 << 30, findings) {
                    options.max_state_bytes = usize::try_from(bytes).unwrap_or(options.max_state_bytes);
                }
            }
        }
    }
    options
}

fn with_clause(view: &CreateView, statement: &Located, findings: &mut Findings) -> Vec<OptionValue> {
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
            findings.add(statement.line, &option.to_string(), "this is not an option", "write WITH (name = value)");
            continue;
        };
        let line = statement.line_of_span(key.span);
        settings.push(OptionValue { name: key.value.to_lowercase(), value: literal_text(value), line });
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

/// What says today what an option said that is no more, and how.
fn former_option(name: &str) -> Option<(&'static str, &'static str)> {
    const UNREADABLE: &str = "write strict 'true' for unreadable 'reject'; for unreadable 'null' leave it out";
    (name == "unreadable").then_some(("strict", UNREADABLE))
}

fn only_known(settings: Vec<OptionValue>, known: &[&str], findings: &mut Findings) -> Vec<OptionValue> {
    let mut kept: Vec<OptionValue> = Vec::new();
    for setting in settings {
        if !known.contains(&setting.name.as_str()) {
            let former = former_option(&setting.name).filter(|(present, _)| known.contains(present));
            let hint =
                former.map_or_else(|| known_names(&setting.name, known.iter().copied()), |(_, hint)| hint.to_owned());
            findings.add(setting.line, &setting.name, "unknown option", hint);
        } else if kept.iter().any(|other| other.name == setting.name) {
            findings.add(setting.line, &setting.name, "this option is given twice", "keep one of them");
        } else {
            kept.push(setting);
        }
    }
    kept
}
