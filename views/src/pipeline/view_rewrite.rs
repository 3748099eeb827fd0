//! The query of a view in the words that the engine plans: what it has no plan for, said otherwise.
//!
//! In: a query without findings, and what was read of its FROM. Out: the same query, in which `JOIN ... USING (k)` is a
//! JOIN with ON, and `k` alone the column before it; UNNEST is a table of items; `count(DISTINCT a, b)` counts one
//! value.
//! Guarantee: what is shown of a view, its hash included, is made of the query as it was written.
//! Not here: what may be written (`view_from.rs`, `view_unnest.rs`); the plan of the items (`unnest.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    AccessExpr, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, Join, JoinConstraint, JoinOperator,
    ObjectName, Query, SetExpr, TableAlias, TableFactor, TableWithJoins, VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::tokenizer::Span;

use super::columns::normalized;
use crate::distinct_row::name_rows;
use crate::unnest::ITEMS;

/// The array that gives rows in a view.
#[derive(Clone, Debug)]
pub(super) struct Unnested {
    /// Over columns of the stream.
    pub(super) array: Expr,
    /// What the items are called: by FROM, or by the call in the SELECT list that they stand for.
    pub(super) name: ItemName,
    /// Whether an event without items is one row all the same.
    pub(super) is_outer: bool,
    /// The array as it was written, and its line: for messages.
    pub(super) text: String,
    pub(super) line: usize,
}

/// The names by which a query speaks of items.
#[derive(Clone, Debug)]
pub(super) enum ItemName {
    /// A table with one column.
    Table { alias: String, column: String },
    /// The text of the call.
    Call(String),
}

impl Unnested {
    /// The column of the table of items.
    pub(super) fn column(&self) -> &str {
        match &self.name {
            ItemName::Table { column, .. } | ItemName::Call(column) => column,
        }
    }

    /// The join to the table of items.
    pub(super) fn join(&self) -> Join {
        let alias = match &self.name {
            ItemName::Table { alias, .. } => {
                Some(TableAlias { explicit: true, name: exactly(alias, Span::empty()), columns: Vec::new(), at: None })
            }
            ItemName::Call(_) => None,
        };
        let relation = TableFactor::Table {
            name: ObjectName::from(exactly(ITEMS, Span::empty())),
            alias,
            args: None,
            with_hints: Vec::new(),
            version: None,
            with_ordinality: false,
            partitions: Vec::new(),
            json_path: None,
            sample: None,
            index_hints: Vec::new(),
        };
        Join { relation, global: false, join_operator: JoinOperator::CrossJoin(JoinConstraint::None) }
    }
}

/// A name as it is, without regard to case rules.
pub(super) fn exactly(name: &str, span: Span) -> Ident {
    Ident::with_quote_and_span('"', span, name)
}

/// The arguments of a call of `unnest`; `None` where it is a call of something else.
pub(super) fn unnest_arguments(expr: &Expr) -> Option<Vec<&Expr>> {
    let Expr::Function(function) = expr else { return None };
    if !function.name.to_string().eq_ignore_ascii_case("unnest") {
        return None;
    }
    match &function.args {
        FunctionArguments::List(list) => Some(plain_arguments(&list.args)),
        _ => Some(Vec::new()),
    }
}

/// The arguments that are expressions without a name.
pub(super) fn plain_arguments(arguments: &[FunctionArg]) -> Vec<&Expr> {
    let plain = arguments.iter().filter_map(|argument| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    });
    plain.collect()
}

/// `query` in the engine's words. `tables`: its FROM in them; `merged`: what each column that USING made one is.
pub(super) fn rewritten(
    query: &Query,
    mut tables: TableWithJoins,
    merged: &BTreeMap<String, Expr>,
    unnested: Option<&Unnested>,
) -> Box<Query> {
    let mut item = None;
    if let Some(unnested) = unnested
        && let ItemName::Call(call) = &unnested.name
    {
        tables.joins.push(unnested.join());
        item = Some(Expr::CompoundIdentifier(vec![exactly(ITEMS, Span::empty()), exactly(call, Span::empty())]));
    }
    let mut query = Box::new(query.clone());
    if let SetExpr::Select(select) = query.body.as_mut() {
        select.from = vec![tables];
    }
    let _ = query.visit(&mut Rewriting { merged, item, fields: BTreeSet::new() });
    name_rows(query.as_mut());
    query
}

struct Rewriting<'a> {
    merged: &'a BTreeMap<String, Expr>,
    /// What a call of `unnest` stands for.
    item: Option<Expr>,
    /// Field names behind a dot, which look like columns to a visitor.
    fields: BTreeSet<Span>,
}

impl VisitorMut for Rewriting<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::CompoundFieldAccess { access_chain, .. } = &*expr {
            self.fields.extend(access_chain.iter().filter_map(|access| match access {
                AccessExpr::Dot(Expr::Identifier(field)) => Some(field.span),
                _ => None,
            }));
        }
        let stands_for = match &*expr {
            Expr::Identifier(name) if !self.fields.contains(&name.span) => self.merged.get(&normalized(name)),
            call if unnest_arguments(call).is_some() => self.item.as_ref(),
            _ => None,
        };
        if let Some(stands_for) = stands_for {
            *expr = stands_for.clone();
        }
        ControlFlow::Continue(())
    }
}
