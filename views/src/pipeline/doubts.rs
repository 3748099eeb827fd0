//! What in a right file works, but hardly as its author hopes: told by `validate` and at the start.
//!
//! In: the statements of a file without findings, and its static tables. Out: one finding for each doubt, and
//! those among them that new definitions are refused for: an event that counts several times by a slip in a file.
//! Why definitions that are registered may have them: their answers are what somebody has got used to, and they must go
//! on after an upgrade.
//! Not here: what is wrong (`findings.rs`).

use std::collections::HashMap;

use arrow::array::{Array, RecordBatch};
use arrow::error::ArrowError;
use arrow::row::{OwnedRow, RowConverter, SortField};
use arrow::util::display::array_value_to_string;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Join, JoinConstraint, JoinOperator, SetExpr, Spanned, Statement as SqlStatement, TableFactor,
};

use super::columns::normalized;
use super::findings::Findings;
use super::statements::Located;
use super::tables::{StaticTable, Tables};
use crate::error::Finding;

/// All doubts about a file that is right, and those that new definitions are refused for; each in the order of lines.
pub(super) fn doubts(statements: &[Located], tables: &Tables) -> (Vec<Finding>, Vec<Finding>) {
    let (mut names, mut joined) = (Findings::default(), Findings::default());
    for statement in statements {
        doubt_names(statement, &mut names);
        for join in joins(statement) {
            doubt_join(join, statement, tables, &mut joined);
        }
    }
    let found = |findings: Findings| findings.finish().err().map_or_else(Vec::new, |found| found.0);
    let (names, refusals) = (found(names), found(joined));
    let mut doubts: Vec<Finding> = names.into_iter().chain(refusals.iter().cloned()).collect();
    doubts.sort_by_key(|doubt| doubt.line);
    (doubts, refusals)
}

/// SQL reads a name without quotes in lower case, JSON keys and CSV headers have their capitals.
fn doubt_names(statement: &Located, doubts: &mut Findings) {
    let Statement::CreateExternalTable(table) = &statement.parsed else { return };
    for column in table.columns.iter().filter(|column| column.name.quote_style.is_none()) {
        let name = column.name.value.as_str();
        let is_camel = name.contains(|letter: char| letter.is_ascii_uppercase())
            && name.contains(|letter: char| letter.is_ascii_lowercase());
        let has_path = column.options.iter().any(|option| option.to_string().contains("path"));
        if is_camel && !has_path {
            let message = format!("this column is read as {}", normalized(&column.name));
            let hint = format!("where the data spell it with capitals, write \"{name}\" with the quotes, in views too");
            doubts.add(statement.line_of(name), name, message, hint);
        }
    }
}

fn joins(statement: &Located) -> Vec<&Join> {
    let Statement::Statement(sql) = &statement.parsed else { return Vec::new() };
    match sql.as_ref() {
        SqlStatement::CreateView(view) => match view.query.body.as_ref() {
            SetExpr::Select(select) => select.from.iter().flat_map(|from| &from.joins).collect(),
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// A key that stands in several rows gives an event several rows, and all of them count.
fn doubt_join(join: &Join, statement: &Located, tables: &Tables, doubts: &mut Findings) {
    let TableFactor::Table { name, alias, .. } = &join.relation else { return };
    let Some(table_name) = name.0.last().and_then(|part| part.as_ident()).map(normalized) else { return };
    let Some(table) = tables.statics(&table_name).filter(|table| !table.has_several_rows) else { return };
    let (JoinOperator::Join(constraint)
    | JoinOperator::Inner(constraint)
    | JoinOperator::Left(constraint)
    | JoinOperator::LeftOuter(constraint)) = &join.join_operator
    else {
        return;
    };
    let alias = alias.as_ref().map_or(table_name, |alias| normalized(&alias.name));
    let mut keys = Vec::new();
    let condition = match constraint {
        JoinConstraint::On(condition) => {
            key_columns(condition, &alias, table, &mut keys);
            condition.to_string()
        }
        JoinConstraint::Using(columns) => {
            let names = columns.iter().filter_map(|column| column.0.last()?.as_ident()).map(normalized);
            keys.extend(names.filter_map(|name| table.schema.index_of(&name).ok()));
            let columns: Vec<String> = columns.iter().map(ToString::to_string).collect();
            format!("USING({})", columns.join(", "))
        }
        _ => return,
    };
    // What cannot be compared here is told by the engine.
    let Ok(Some(repeated)) = repeated_keys(&table.batches, &keys) else { return };
    let keys = if repeated.keys == 1 { "1 key stands".to_owned() } else { format!("{} keys stand", repeated.keys) };
    let message = format!(
        "{keys} in several rows of static table {}, among them {}: an event counts once for each such row",
        table.name, repeated.named
    );
    let hint = "leave one row of each key in the file; or, where that is meant, say so: OPTIONS (several_rows 'true')";
    doubts.add(statement.line_of_span(join.relation.span()), &condition, message, hint);
}

/// The columns of a table that a condition holds equal to something.
fn key_columns(condition: &Expr, alias: &str, table: &StaticTable, keys: &mut Vec<usize>) {
    match condition {
        Expr::Nested(inner) => key_columns(inner, alias, table, keys),
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            key_columns(left, alias, table, keys);
            key_columns(right, alias, table, keys);
        }
        Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => {
            for side in [left, right] {
                let column = match side.as_ref() {
                    Expr::Identifier(name) => Some(normalized(name)),
                    Expr::CompoundIdentifier(path) => match path.as_slice() {
                        [scope, name] if normalized(scope) == alias => Some(normalized(name)),
                        _ => None,
                    },
                    _ => None,
                };
                keys.extend(column.and_then(|column| table.schema.index_of(&column).ok()));
            }
        }
        _ => {}
    }
}

/// So many keys are named.
const NAMED_KEYS: usize = 5;

/// Keys of more than one row.
struct Repeated {
    keys: usize,
    /// The first of them, each with its number of rows.
    named: String,
}

fn repeated_keys(batches: &[RecordBatch], keys: &[usize]) -> Result<Option<Repeated>, ArrowError> {
    let Some(schema) = batches.first().map(RecordBatch::schema).filter(|_| !keys.is_empty()) else { return Ok(None) };
    let fields = keys.iter().map(|key| SortField::new(schema.field(*key).data_type().clone()));
    let converter = RowConverter::new(fields.collect())?;
    let mut counts: HashMap<OwnedRow, usize> = HashMap::new();
    let (mut repeated, mut named): (usize, Vec<(OwnedRow, String)>) = (0, Vec::new());
    for batch in batches {
        let columns: Vec<_> = keys.iter().map(|key| batch.column(*key).clone()).collect();
        let rows = converter.convert_columns(&columns)?;
        // NULL equals nothing.
        for row in (0..batch.num_rows()).filter(|row| columns.iter().all(|column| column.is_valid(*row))) {
            let key = rows.row(row).owned();
            let count = counts.entry(key.clone()).or_default();
            *count += 1;
            if *count == 2 {
                repeated += 1;
                if named.len() < NAMED_KEYS {
                    let shown = columns.iter().map(|column| array_value_to_string(column.as_ref(), row));
                    named.push((key, shown.collect::<Result<Vec<_>, _>>()?.join(", ")));
                }
            }
        }
    }
    let with_rows =
        |(key, shown): &(OwnedRow, String)| format!("{shown} in {}", counts.get(key).copied().unwrap_or_default());
    let named: Vec<String> = named.iter().map(with_rows).collect();
    Ok((repeated > 0).then(|| Repeated { keys: repeated, named: named.join("; ") }))
}
