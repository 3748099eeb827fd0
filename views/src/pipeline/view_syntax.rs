//! What can be said about a view from its syntax tree: its clauses, its grouping, its columns.
//!
//! Everything is reported at once, with the line of the offending text. Not here: FROM (`view_from.rs`), arrays that
//! give rows (`view_unnest.rs`), the columns and functions that expressions name (`view_names.rs`), types
//! (`view_plan.rs`).

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::execution::session_state::SessionState;
use datafusion::sql::sqlparser::ast::{
    CreateView, Distinct, Expr, GroupByExpr, Query, Select, SelectItem, SetExpr, Spanned,
};
use datafusion::sql::sqlparser::tokenizer::Span;

use super::columns::{check_column_name, normalized};
use super::findings::Findings;
use super::statements::Located;
use super::tables::Tables;
use super::view_rewrite::{Unnested, rewritten};
use crate::dialect::misreadings;
use crate::source::SourceDefinition;

/// A view whose shape is right.
#[derive(Debug)]
pub(super) struct CheckedView {
    /// The stream it aggregates.
    pub(super) source: Arc<SourceDefinition>,
    /// The name that the source's columns are qualified with.
    pub(super) source_alias: String,
    /// The static tables it joins, by name.
    pub(super) statics: Vec<String>,
    /// The array whose items are its rows.
    pub(super) unnested: Option<Unnested>,
    /// Its query in the words that the engine plans.
    pub(super) query: Box<Query>,
    /// Per SELECT item: its name, its expression as text, its line.
    pub(super) items: Vec<Item>,
}

impl CheckedView {
    /// Whether an event may be several rows.
    pub(super) fn is_joined(&self) -> bool {
        !self.statics.is_empty() || self.unnested.is_some()
    }
}

/// One column of a view.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) name: String,
    pub(super) text: String,
    pub(super) line: usize,
}

/// A table in FROM, under the name that columns are qualified with.
#[derive(Clone)]
pub(super) struct Scope {
    pub(super) alias: String,
    pub(super) schema: SchemaRef,
}

/// Checks a view; `None` if its tables are unknown, so that nothing more can be said.
pub(super) fn check_view(
    view: &CreateView,
    tables: &Tables,
    state: &SessionState,
    statement: &Located,
    findings: &mut Findings,
) -> Option<CheckedView> {
    let mut check = Check { tables, state, statement, findings };
    check.refuse_view_clauses(view);
    check.refuse_misreadings(view);
    let select = check.select(&view.query)?;
    check.refuse_select_clauses(select);
    let items = check.items(select);
    check.grouping(select);
    let from = check.from(select)?;
    check.expressions(select, &from.scopes);
    let called = check.unnested_calls(select, from.unnested.as_ref(), &from.scopes);
    let unnested = from.unnested.or(called);
    let query = rewritten(&view.query, from.tables, &from.merged, unnested.as_ref());
    let source_alias = from.scopes.first()?.alias.clone();
    Some(CheckedView { source: from.source, source_alias, statics: from.statics, unnested, query, items })
}

/// The checks of one view; those of `view_from.rs`, `view_unnest.rs` and `view_names.rs` follow those of this file.
pub(super) struct Check<'a> {
    pub(super) tables: &'a Tables,
    pub(super) state: &'a SessionState,
    pub(super) statement: &'a Located,
    pub(super) findings: &'a mut Findings,
}

impl Check<'_> {
    pub(super) fn add(&mut self, span: Span, text: &str, message: impl Into<String>, hint: impl Into<String>) {
        let line = self.statement.line_of_span(span);
        self.findings.add(line, text, message, hint);
    }

    fn refuse_view_clauses(&mut self, view: &CreateView) {
        let clauses = [
            (view.or_replace || view.or_alter, "OR REPLACE", "leave it out: a changed file replaces the view"),
            (view.if_not_exists, "IF NOT EXISTS", "leave it out"),
            (view.temporary, "TEMPORARY", "leave it out"),
            (!view.columns.is_empty(), "a column list", "name the columns with AS in the SELECT"),
            (!view.cluster_by.is_empty(), "CLUSTER BY", "leave it out: rows are sorted by the dimensions"),
            (view.to.is_some(), "TO", "leave it out"),
        ];
        for (_, clause, hint) in clauses.iter().filter(|(is_given, ..)| *is_given) {
            self.findings.add(self.statement.line, clause, "this clause has no meaning for a view", *hint);
        }
    }

    /// What the engine would read otherwise than it is written.
    fn refuse_misreadings(&mut self, view: &CreateView) {
        for found in misreadings(&*view.query) {
            self.add(found.span, &found.text, found.message, found.hint);
        }
    }

    /// The SELECT of a view, without what a view cannot have around it.
    fn select<'q>(&mut self, query: &'q Query) -> Option<&'q Select> {
        if let Some(with) = &query.with {
            self.add(with.span(), "WITH", "a view has no common table expressions", "write the expression in place");
        }
        if let Some(order) = &query.order_by {
            let hint = "order the answer when you ask for it";
            self.add(order.span(), &order.to_string(), "a view has no ORDER BY", hint);
        }
        if query.limit_clause.is_some() || query.fetch.is_some() {
            let line = self.statement.line_of("limit");
            self.findings.add(line, "LIMIT", "a view has no LIMIT", "limit the answer when you ask for it");
        }
        if !query.pipe_operators.is_empty() || !query.locks.is_empty() || query.settings.is_some() {
            self.add(query.span(), &query.to_string(), "a view is a plain SELECT", "leave out what follows it");
        }
        match query.body.as_ref() {
            SetExpr::Select(select) => Some(select),
            SetExpr::SetOperation { op, .. } => {
                let line = self.statement.line_of(&op.to_string());
                let hint = "write one view per SELECT, or one SELECT with CASE";
                self.findings.add(line, &op.to_string(), format!("a view has no {op}"), hint);
                None
            }
            other => {
                let hint = "write SELECT keys, aggregates FROM source GROUP BY keys";
                self.add(other.span(), &other.to_string(), "a view is a SELECT", hint);
                None
            }
        }
    }

    fn refuse_select_clauses(&mut self, select: &Select) {
        if let Some(having) = &select.having {
            let hint = "filter the answer when you ask for it: a group below the bar today may pass it tomorrow";
            self.add(having.span(), &format!("HAVING {having}"), "a view has no HAVING", hint);
        }
        if let Some(distinct) = &select.distinct
            && !matches!(distinct, Distinct::All)
        {
            let line = self.statement.line_of("distinct");
            self.findings.add(line, "SELECT DISTINCT", "a view has no DISTINCT", "its rows are distinct by GROUP BY");
        }
        let windows = !select.named_window.is_empty() || select.qualify.is_some();
        if windows {
            let line = self.statement.line_of(if select.qualify.is_some() { "qualify" } else { "window" });
            self.findings.add(line, "WINDOW", "a view has no window functions", "ask for them over the view");
        }
        let others = [
            (select.into.is_some(), "INTO"),
            (select.top.is_some(), "TOP"),
            (!select.lateral_views.is_empty(), "LATERAL VIEW"),
            (select.prewhere.is_some(), "PREWHERE"),
            (!select.connect_by.is_empty(), "CONNECT BY"),
            (!select.cluster_by.is_empty(), "CLUSTER BY"),
            (!select.distribute_by.is_empty(), "DISTRIBUTE BY"),
            (!select.sort_by.is_empty(), "SORT BY"),
            (select.exclude.is_some(), "EXCLUDE"),
        ];
        for (_, clause) in others.iter().filter(|(is_given, _)| *is_given) {
            self.add(select.span(), clause, format!("a view has no {clause}"), "leave it out");
        }
    }

    /// The columns of the view.
    fn items(&mut self, select: &Select) -> Vec<Item> {
        let mut items: Vec<Item> = Vec::new();
        for item in &select.projection {
            let (expr, name, span) = match item {
                SelectItem::UnnamedExpr(expr @ Expr::Identifier(ident)) => (expr, normalized(ident), ident.span),
                SelectItem::UnnamedExpr(expr @ Expr::CompoundIdentifier(path)) => {
                    let Some(last) = path.last() else { continue };
                    (expr, normalized(last), last.span)
                }
                SelectItem::ExprWithAlias { expr, alias } => (expr, normalized(alias), alias.span),
                SelectItem::UnnamedExpr(expr) => {
                    let hint = format!("write `{expr} AS name`");
                    self.add(expr.span(), &expr.to_string(), "this column of the view needs a name", hint);
                    continue;
                }
                other => {
                    let hint = "list the group keys and the aggregates";
                    self.add(other.span(), &other.to_string(), "a view names its columns one by one", hint);
                    continue;
                }
            };
            let line = self.statement.line_of_span(span);
            check_column_name(&name, line, self.findings);
            if items.iter().any(|other| other.name.eq_ignore_ascii_case(&name)) {
                self.findings.add(line, &name, "two columns of the view have this name", "name one of them with AS");
            }
            items.push(Item { name, text: expr.to_string(), line });
        }
        items
    }

    fn grouping(&mut self, select: &Select) {
        match &select.group_by {
            GroupByExpr::Expressions(keys, _) if !keys.is_empty() => {
                let sets = keys.iter().find(|key| {
                    matches!(key, Expr::Rollup(_) | Expr::Cube(_) | Expr::GroupingSets(_) | Expr::Tuple(_))
                });
                if let Some(set) = sets {
                    let hint = "group by plain keys; roll up when you ask, with `by=` or MEASURE()";
                    self.add(set.span(), &set.to_string(), "a view has one grouping", hint);
                }
            }
            GroupByExpr::All(_) => {
                let line = self.statement.line_of("group");
                self.findings.add(line, "GROUP BY ALL", "a view names its group keys", "write GROUP BY key, key");
            }
            GroupByExpr::Expressions(..) => {
                let hint = "a view is a GROUP BY: add the keys that you want to ask by, for example \
                            `GROUP BY date_bin(INTERVAL '1 hour', time)`";
                let head = self.statement.head();
                self.findings.add(self.statement.line, &head, "the view has no GROUP BY", hint);
            }
        }
    }
}
