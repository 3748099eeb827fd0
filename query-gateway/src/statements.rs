//! What a statement asks: which of those that people and tools send can be answered, and as which SELECT.
//!
//! ```text
//!  SELECT --> itself     EXPLAIN SELECT --> its plan     SHOW TABLES, SHOW COLUMNS, DESCRIBE --> SELECT over names
//! ```
//!
//! Guarantee: what is told here reads tables, or names and types of them; everything else is refused with the way out.
//! Pure.
//! Not here: a second look at what was planned (`sql.rs`), the tables of names (`names.rs`).

use datafusion::common::TableReference;
use datafusion::sql::parser::Statement;
use datafusion::sql::planner::object_name_to_table_reference;
use datafusion::sql::sqlparser::ast;

use crate::GatewayError;
use crate::names::{SCHEMA, split_version};

/// What a statement asks.
#[derive(Debug)]
pub(crate) enum Asked {
    /// The rows of a query.
    Rows(Box<ast::Statement>),
    /// The plan of a query.
    Plan(Box<ast::Statement>),
    /// The names of all tables, as a query writes them.
    Tables,
    /// The columns of a table.
    Columns(TableReference),
}

impl Asked {
    /// Understands a statement.
    pub(crate) fn read(statement: Statement) -> Result<Self, GatewayError> {
        match statement {
            Statement::Statement(statement) => read_standard(*statement),
            Statement::Explain(explain) if explain.options.analyze => Err(no_analyze()),
            Statement::Explain(explain) => match *explain.statement {
                Statement::Statement(inner) => Ok(Self::Plan(only_select(*inner)?)),
                _ => Err(not_a_select()),
            },
            _ => Err(not_a_select()),
        }
    }

    /// The SELECT that answers instead; `None` where the statement is one itself.
    pub(crate) fn instead(&self) -> Option<String> {
        match self {
            Self::Rows(_) | Self::Plan(_) => None,
            Self::Tables => Some(format!(
                "SELECT CASE table_schema WHEN '{SCHEMA}' THEN table_name ELSE concat(table_schema, '.', table_name) END \
                 AS table_name FROM information_schema.tables ORDER BY 1"
            )),
            Self::Columns(table) => Some(format!(
                "SELECT column_name, data_type, is_nullable FROM information_schema.columns \
                 WHERE table_schema = '{}' AND table_name = '{}' ORDER BY ordinal_position",
                table.schema().unwrap_or(SCHEMA).replace('\'', "''"),
                split_version(table.table()).0.replace('\'', "''")
            )),
        }
    }
}

fn read_standard(statement: ast::Statement) -> Result<Asked, GatewayError> {
    match statement {
        ast::Statement::ExplainTable { table_name, .. } => Ok(Asked::Columns(reference(table_name)?)),
        ast::Statement::Explain { analyze: true, .. } => Err(no_analyze()),
        ast::Statement::Explain { statement, .. } => Ok(Asked::Plan(only_select(*statement)?)),
        ast::Statement::ShowTables { show_options, .. } | ast::Statement::ShowViews { show_options, .. } => {
            refuse_options(show_options, "information_schema.tables").map(|_| Asked::Tables)
        }
        ast::Statement::ShowColumns { show_options, .. } => {
            let name = refuse_options(show_options, "information_schema.columns")?;
            let name = name.ok_or_else(|| {
                GatewayError::bad_with_hint("SHOW COLUMNS needs the name of a view", "write SHOW COLUMNS FROM name")
            })?;
            Ok(Asked::Columns(reference(name)?))
        }
        ast::Statement::ShowVariable { .. }
        | ast::Statement::ShowVariables { .. }
        | ast::Statement::ShowStatus { .. }
        | ast::Statement::ShowFunctions { .. }
        | ast::Statement::ShowCreate { .. }
        | ast::Statement::ShowDatabases { .. }
        | ast::Statement::ShowSchemas { .. }
        | ast::Statement::ShowCatalogs { .. }
        | ast::Statement::ShowCollation { .. } => Err(GatewayError::bad_with_hint(
            "SQL shows no settings, schemas or functions",
            "SHOW TABLES and SHOW COLUMNS FROM name show what can be read; all views are in the schema `public`",
        )),
        other => Ok(Asked::Rows(only_select(other)?)),
    }
}

fn only_select(statement: ast::Statement) -> Result<Box<ast::Statement>, GatewayError> {
    let is_select = matches!(&statement, ast::Statement::Query(query) if is_read_only(&query.body));
    if is_select { Ok(Box::new(statement)) } else { Err(not_a_select()) }
}

fn not_a_select() -> GatewayError {
    let hint = "send one SELECT; definitions and data change through the pipeline file and the collector";
    GatewayError::bad_with_hint("only SELECT is allowed", hint)
}

fn no_analyze() -> GatewayError {
    GatewayError::bad_with_hint("EXPLAIN ANALYZE is not available", "EXPLAIN alone tells the plan and runs nothing")
}

/// The name that a SHOW is about, where that is all that it says.
fn refuse_options(options: ast::ShowStatementOptions, instead: &str) -> Result<Option<ast::ObjectName>, GatewayError> {
    let is_narrowed = options.starts_with.is_some()
        || options.limit.is_some()
        || options.limit_from.is_some()
        || options.filter_position.is_some();
    if is_narrowed {
        let hint = format!("select from {instead}");
        return Err(GatewayError::bad_with_hint("SHOW takes no filter and no limit here", hint));
    }
    Ok(options.show_in.and_then(|place| place.parent_name))
}

fn reference(name: ast::ObjectName) -> Result<TableReference, GatewayError> {
    let told = name.to_string();
    object_name_to_table_reference(name, true).map_err(|_| GatewayError::bad(format!("`{told}` is no name of a view")))
}

/// Whether a query body only reads: `WITH x AS (...) INSERT ...` is a query too.
fn is_read_only(body: &ast::SetExpr) -> bool {
    match body {
        ast::SetExpr::Select(select) => select.into.is_none(),
        ast::SetExpr::Query(query) => is_read_only(&query.body),
        ast::SetExpr::SetOperation { left, right, .. } => is_read_only(left) && is_read_only(right),
        ast::SetExpr::Values(_) | ast::SetExpr::Table(_) => true,
        _ => false,
    }
}
