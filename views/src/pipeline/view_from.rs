//! FROM of a view: the stream, the static tables that are joined to it, and the array whose items are rows.
//!
//! In: a SELECT. Out: what is in scope, and FROM in the words that the engine plans: a comma before UNNEST as CROSS
//! JOIN, USING as ON. Not here: UNNEST itself (`view_unnest.rs`), what conditions name (`view_names.rs`).

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Ident, Join, JoinConstraint, JoinOperator, ObjectName, Select, Spanned, TableFactor,
    TableWithJoins,
};
use datafusion::sql::sqlparser::tokenizer::Span;

use super::columns::normalized;
use super::findings::known_names;
use super::view_rewrite::{ItemName, Unnested, exactly};
use super::view_syntax::{Check, Scope};
use super::view_unnest::{UnnestFactor, unnest_factor};
use crate::source::SourceDefinition;

/// What a view reads.
pub(super) struct FromClause {
    /// The stream.
    pub(super) source: Arc<SourceDefinition>,
    /// What columns may be qualified with, the stream first.
    pub(super) scopes: Vec<Scope>,
    /// The names of joined static tables.
    pub(super) statics: Vec<String>,
    /// The array that FROM unnests.
    pub(super) unnested: Option<Unnested>,
    /// The columns that USING made one, by name, each as the qualified column that it is.
    pub(super) merged: BTreeMap<String, Expr>,
    /// In the words that the engine plans.
    pub(super) tables: TableWithJoins,
}

/// What was joined so far.
#[derive(Default)]
struct Joined {
    scopes: Vec<Scope>,
    statics: Vec<String>,
    unnested: Option<Unnested>,
    merged: BTreeMap<String, Expr>,
    joins: Vec<Join>,
    is_broken: bool,
}

impl Check<'_> {
    /// What the view reads; `None` if its tables are unknown.
    pub(super) fn from(&mut self, select: &Select) -> Option<FromClause> {
        let beside = select.from.iter().skip(1).find(|table| unnest_factor(&table.relation).is_none());
        let (Some((TableWithJoins { relation, joins }, others)), None) = (select.from.split_first(), beside) else {
            let (text, hint) = ("FROM", "name one source; join static tables with JOIN ... ON");
            let span = beside.map_or(select.span(), Spanned::span);
            self.add(span, text, "a view reads from exactly one source", hint);
            return None;
        };
        let first = self.table(relation);
        let mut joined = Joined::default();
        joined.scopes.extend(first.as_ref().map(|(_, scope)| scope.clone()));
        for join in joins.iter().cloned().chain(others.iter().flat_map(behind_comma)) {
            self.join(join, &mut joined);
        }
        let (name, _) = first?;
        let Some(source) = self.tables.stream(&name) else {
            let hint = "name the event stream first in FROM and join static tables to it";
            self.add(relation.span(), &name, "a view reads from an event stream, not from a static table", hint);
            return None;
        };
        let Joined { scopes, statics, unnested, merged, joins, is_broken } = joined;
        let tables = TableWithJoins { relation: relation.clone(), joins };
        (!is_broken).then(|| FromClause { source: Arc::clone(source), scopes, statics, unnested, merged, tables })
    }

    fn join(&mut self, mut join: Join, joined: &mut Joined) {
        if let Some(factor) = unnest_factor(&join.relation) {
            self.join_items(&factor, &join, joined);
            return;
        }
        let span = join.relation.span();
        self.join_kind(&join.join_operator, span);
        match self.table(&join.relation) {
            Some((name, scope)) if self.tables.stream(&name).is_some() => {
                let hint = "aggregate each stream in a view of its own and join the views when you ask";
                self.add(span, &name, "two streams cannot be joined", hint);
                joined.scopes.push(scope);
            }
            Some((name, scope)) => {
                self.refuse_second(&scope.alias, span, joined);
                if let Some(constraint) = constraint_of(&mut join.join_operator)
                    && let JoinConstraint::Using(columns) = &*constraint
                    && let Some(condition) = self.merge(columns, &scope, joined)
                {
                    *constraint = JoinConstraint::On(condition);
                }
                joined.statics.push(name);
                joined.scopes.push(scope);
            }
            None => joined.is_broken = true,
        }
        joined.joins.push(join);
    }

    fn join_items(&mut self, factor: &UnnestFactor, join: &Join, joined: &mut Joined) {
        let span = join.relation.span();
        let Some(unnested) = self.unnested_in_from(factor, &join.join_operator, &join.relation) else {
            joined.is_broken = true;
            return;
        };
        if let ItemName::Table { alias, column } = &unnested.name {
            self.refuse_second(alias, span, joined);
            // Only its name is looked at here.
            let schema = Arc::new(Schema::new(vec![Field::new(column, DataType::Null, true)]));
            joined.scopes.push(Scope { alias: alias.clone(), schema });
        }
        if joined.unnested.is_some() {
            let hint = "write one view for each array";
            self.add(span, &join.relation.to_string(), "a view unnests one array", hint);
        }
        joined.joins.push(unnested.join());
        joined.unnested = Some(unnested);
    }

    fn refuse_second(&mut self, alias: &str, span: Span, joined: &Joined) {
        if joined.scopes.iter().any(|other| other.alias == alias) {
            self.add(span, alias, "two tables of this name are joined", "give each its own name with AS");
        }
    }

    /// The condition that USING stands for; the columns are one from here on.
    ///
    /// Why so: of an INNER or LEFT JOIN the one column of the standard is that of the left side.
    fn merge(&mut self, columns: &[ObjectName], right: &Scope, joined: &mut Joined) -> Option<Expr> {
        if joined.scopes.is_empty() {
            return None;
        }
        let mut condition: Option<Expr> = None;
        for name in columns {
            let ident = name.0.last().and_then(|part| part.as_ident()).filter(|_| name.0.len() == 1);
            let Some(ident) = ident else {
                self.add(
                    name.span(),
                    &name.to_string(),
                    "USING takes columns by their names alone",
                    "leave the table out",
                );
                continue;
            };
            let column = normalized(ident);
            if right.schema.index_of(&column).is_err() {
                let hint = known_names(&column, right.schema.fields().iter().map(|field| field.name().as_str()));
                self.add(ident.span, &column, format!("{} has no such column", right.alias), hint);
                continue;
            }
            let Some(left) = self.left_of(&column, ident, right, joined) else { continue };
            let right = Expr::CompoundIdentifier(vec![exactly(&right.alias, ident.span), exactly(&column, ident.span)]);
            let equal = binary(left.clone(), BinaryOperator::Eq, right);
            condition = Some(match condition {
                Some(before) => binary(before, BinaryOperator::And, equal),
                None => equal,
            });
            joined.merged.insert(column, left);
        }
        condition
    }

    /// The column before a join that USING names.
    fn left_of(&mut self, column: &str, ident: &Ident, right: &Scope, joined: &Joined) -> Option<Expr> {
        if let Some(merged) = joined.merged.get(column) {
            return Some(merged.clone());
        }
        let has_column = |scope: &&Scope| scope.schema.index_of(column).is_ok();
        let with_column: Vec<&Scope> = joined.scopes.iter().filter(has_column).collect();
        match with_column.as_slice() {
            [scope] => {
                let path = vec![exactly(&scope.alias, ident.span), exactly(column, ident.span)];
                Some(Expr::CompoundIdentifier(path))
            }
            [] => {
                let known = joined.scopes.iter().flat_map(|scope| scope.schema.fields().iter());
                let known = known.map(|field| field.name().as_str()).filter(|name| !name.starts_with('_'));
                let hint = known_names(column, known);
                self.add(ident.span, column, "no table before the join has such a column", hint);
                None
            }
            several => {
                let hint = format!("write ON {}.{column} = {}.{column}", several[0].alias, right.alias);
                self.add(ident.span, column, "several tables before the join have this column", hint);
                None
            }
        }
    }

    fn table(&mut self, relation: &TableFactor) -> Option<(String, Scope)> {
        let TableFactor::Table { name, alias, args: None, .. } = relation else {
            let hint = "name a source or a static table";
            self.add(relation.span(), &relation.to_string(), "a view reads tables, no subqueries or functions", hint);
            return None;
        };
        let last = name.0.last().and_then(|part| part.as_ident());
        let table = last.map(normalized).unwrap_or_default();
        if self.tables.broken.contains(&table) {
            return None;
        }
        let Some(schema) = self.tables.schema(&table).filter(|_| name.0.len() == 1) else {
            let hint = known_names(&table, self.tables.known());
            self.add(name.span(), &name.to_string(), "unknown table", hint);
            return None;
        };
        let alias = alias.as_ref().map_or_else(|| table.clone(), |alias| normalized(&alias.name));
        Some((table, Scope { alias, schema: Arc::clone(schema) }))
    }

    fn join_kind(&mut self, operator: &JoinOperator, span: Span) {
        let constraint = match operator {
            JoinOperator::Join(constraint)
            | JoinOperator::Inner(constraint)
            | JoinOperator::Left(constraint)
            | JoinOperator::LeftOuter(constraint) => constraint,
            _ => {
                let hint = "write JOIN table ON ... or LEFT JOIN table ON ...";
                self.add(span, "JOIN", "a static table is joined by JOIN or LEFT JOIN only", hint);
                return;
            }
        };
        if !matches!(constraint, JoinConstraint::On(_) | JoinConstraint::Using(_)) {
            self.add(span, "JOIN", "a join needs a condition", "write JOIN table ON source.column = table.column");
        }
    }
}

/// A table behind a comma, and what is joined to it.
fn behind_comma(from: &TableWithJoins) -> impl Iterator<Item = Join> {
    let join_operator = JoinOperator::CrossJoin(JoinConstraint::None);
    let first = Join { relation: from.relation.clone(), global: false, join_operator };
    std::iter::once(first).chain(from.joins.iter().cloned())
}

fn constraint_of(operator: &mut JoinOperator) -> Option<&mut JoinConstraint> {
    match operator {
        JoinOperator::Join(constraint)
        | JoinOperator::Inner(constraint)
        | JoinOperator::Left(constraint)
        | JoinOperator::LeftOuter(constraint) => Some(constraint),
        _ => None,
    }
}

fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }
}
