//! UNNEST in a view: the array whose items are rows, as FROM or the SELECT list names it, and what cannot be right.
//!
//! Not here: the type of the array (`view_analysis.rs`), names of columns (`view_names.rs`).

use std::ops::ControlFlow;

use datafusion::execution::session_state::SessionState;
use datafusion::sql::sqlparser::ast::{
    Expr, GroupByExpr, JoinConstraint, JoinOperator, Select, SelectItem, Spanned, TableAlias, TableFactor, Value,
    Visit, Visitor,
};
use datafusion::sql::sqlparser::tokenizer::Span;

use super::columns::normalized;
use super::view_rewrite::{ItemName, Unnested, plain_arguments, unnest_arguments};
use super::view_syntax::{Check, Scope};

const ONE_ARRAY: &str = "a view unnests one array";
const ONE_ARRAY_HINT: &str = "write one view for each array";
const IN_FROM: &str = "write FROM source CROSS JOIN UNNEST(array) AS t(item), and name item here";

/// `UNNEST(array) AS t(item)` in FROM.
pub(super) struct UnnestFactor<'a> {
    arrays: Vec<&'a Expr>,
    alias: Option<&'a TableAlias>,
    has_places: bool,
}

/// What a table in FROM says as UNNEST; `None` where it is no such.
pub(super) fn unnest_factor(relation: &TableFactor) -> Option<UnnestFactor<'_>> {
    match relation {
        TableFactor::UNNEST { alias, array_exprs, with_offset, with_ordinality, .. } => Some(UnnestFactor {
            arrays: array_exprs.iter().collect(),
            alias: alias.as_ref(),
            has_places: *with_offset || *with_ordinality,
        }),
        // Behind LATERAL the parser takes any name.
        TableFactor::Function { name, args, with_ordinality, alias, .. }
            if name.to_string().eq_ignore_ascii_case("unnest") =>
        {
            let arrays = plain_arguments(args);
            Some(UnnestFactor { arrays, alias: alias.as_ref(), has_places: *with_ordinality })
        }
        _ => None,
    }
}

impl Check<'_> {
    /// UNNEST in FROM, joined so; `None` if anything is wrong with it.
    pub(super) fn unnested_in_from(
        &mut self,
        factor: &UnnestFactor,
        operator: &JoinOperator,
        relation: &TableFactor,
    ) -> Option<Unnested> {
        let (span, text) = (relation.span(), relation.to_string());
        let before = self.findings.len();
        let is_outer = self.unnest_kind(operator, span, &text);
        if factor.has_places {
            self.add(span, &text, "a view knows the items of an array, not their places", "leave WITH ORDINALITY out");
        }
        let columns = factor.alias.map_or(&[][..], |alias| alias.columns.as_slice());
        if columns.len() > 1 || columns.iter().any(|column| column.data_type.is_some()) {
            self.add(span, &text, "an item is one column, of the type that the array has", "write AS t(item)");
        }
        let [array] = factor.arrays.as_slice() else {
            self.add(span, &text, ONE_ARRAY, ONE_ARRAY_HINT);
            return None;
        };
        // As in PostgreSQL: a column without a name of its own has that of the table.
        let alias = factor.alias.map_or_else(|| "unnest".to_owned(), |alias| normalized(&alias.name));
        let column = columns.first().map_or_else(|| alias.clone(), |column| normalized(&column.name));
        let mut inside = Calls { around: vec![Around::Unnest], ..Calls::new(self.state) };
        let _ = array.visit(&mut inside);
        self.refuse_calls(inside.refused);
        let unnested = self.unnested(array, ItemName::Table { alias, column }, is_outer, array.span());
        (self.findings.len() == before).then_some(unnested)
    }

    /// Whether an event without items is one row all the same.
    fn unnest_kind(&mut self, operator: &JoinOperator, span: Span, text: &str) -> bool {
        let is_true = |constraint: &JoinConstraint| match constraint {
            JoinConstraint::On(Expr::Value(value)) => value.value == Value::Boolean(true),
            _ => false,
        };
        match operator {
            JoinOperator::CrossJoin(JoinConstraint::None) => false,
            JoinOperator::Join(constraint) | JoinOperator::Inner(constraint) if is_true(constraint) => false,
            JoinOperator::Left(constraint) | JoinOperator::LeftOuter(constraint) if is_true(constraint) => true,
            _ => {
                let hint = "write CROSS JOIN UNNEST(array) AS t(item), or LEFT JOIN UNNEST(array) AS t(item) ON true; \
                            conditions stand in WHERE";
                self.add(span, text, "an array is joined to its own event, without a condition", hint);
                false
            }
        }
    }

    /// `unnest(array)` in the SELECT list and in GROUP BY. `in_from`: what FROM unnests.
    pub(super) fn unnested_calls(
        &mut self,
        select: &Select,
        in_from: Option<&Unnested>,
        scopes: &[Scope],
    ) -> Option<Unnested> {
        let mut calls = Calls::new(self.state);
        let _ = select.projection.visit(&mut calls);
        let _ = select.group_by.visit(&mut calls);
        calls.is_allowed = false;
        let _ = select.selection.visit(&mut calls);
        for join in select.from.iter().flat_map(|from| &from.joins) {
            let _ = join.join_operator.visit(&mut calls);
        }
        self.refuse_calls(calls.refused);
        let (first, others) = calls.found.split_first()?;
        let is_other = |call: &&Call| call.array != first.array;
        if let Some(second) = others.iter().find(is_other).or(in_from.map(|_| first)) {
            self.add(second.span, &second.text, ONE_ARRAY, ONE_ARRAY_HINT);
        }
        self.refuse_covered_names(select, scopes);
        Some(self.unnested(&first.array, ItemName::Call(first.text.clone()), false, first.span))
    }

    fn refuse_calls(&mut self, refused: Vec<Refused>) {
        for Refused { span, text, message, hint } in refused {
            self.add(span, &text, message, hint);
        }
    }

    /// GROUP BY takes a name for the column's where there is one, as the standard says: here for the array.
    fn refuse_covered_names(&mut self, select: &Select, scopes: &[Scope]) {
        let GroupByExpr::Expressions(keys, _) = &select.group_by else { return };
        for item in &select.projection {
            let SelectItem::ExprWithAlias { expr, alias } = item else { continue };
            let name = normalized(alias);
            let is_key = keys.iter().any(|key| matches!(key, Expr::Identifier(key) if normalized(key) == name));
            let is_column = scopes.iter().any(|scope| scope.schema.index_of(&name).is_ok());
            if unnest_arguments(expr).is_some() && is_key && is_column {
                let message = format!("{name} in GROUP BY is the column of that name, not the items");
                let hint = format!("give the items a name of their own, as in `{expr} AS item`, and GROUP BY item");
                self.add(alias.span, &item.to_string(), message, hint);
            }
        }
    }

    fn unnested(&self, array: &Expr, name: ItemName, is_outer: bool, span: Span) -> Unnested {
        let line = self.statement.line_of_span(span);
        Unnested { array: array.clone(), name, is_outer, text: array.to_string(), line }
    }
}

/// One call of `unnest`.
struct Call {
    array: Expr,
    text: String,
    span: Span,
}

/// A call that cannot be right.
struct Refused {
    span: Span,
    text: String,
    message: &'static str,
    hint: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Around {
    Unnest,
    Aggregate,
    Other,
}

/// Walks through expressions and finds the calls of `unnest`.
struct Calls<'a> {
    state: &'a SessionState,
    /// Whether a call may stand where the walk is.
    is_allowed: bool,
    /// The functions around, from the outermost on.
    around: Vec<Around>,
    found: Vec<Call>,
    refused: Vec<Refused>,
}

impl<'a> Calls<'a> {
    fn new(state: &'a SessionState) -> Self {
        Self { state, is_allowed: true, around: Vec::new(), found: Vec::new(), refused: Vec::new() }
    }

    fn call(&mut self, expr: &Expr, arguments: &[&Expr]) {
        let wrong = if self.around.contains(&Around::Unnest) {
            Some(("unnest takes one level of an array apart", "write unnest(flatten(array))"))
        } else if self.around.contains(&Around::Aggregate) {
            Some(("an aggregate takes one value of each row, and unnest gives rows", IN_FROM))
        } else if !self.is_allowed {
            Some(("a condition is about one row, and unnest gives rows", IN_FROM))
        } else if arguments.len() != 1 {
            Some((ONE_ARRAY, ONE_ARRAY_HINT))
        } else {
            None
        };
        match (wrong, arguments) {
            (Some((message, hint)), _) => {
                self.refused.push(Refused { span: expr.span(), text: expr.to_string(), message, hint });
            }
            (None, [array]) => {
                self.found.push(Call { array: (*array).clone(), text: expr.to_string(), span: expr.span() });
            }
            (None, _) => {}
        }
    }
}

impl Visitor for Calls<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if let Expr::Function(function) = expr {
            let arguments = unnest_arguments(expr);
            if let Some(arguments) = &arguments {
                self.call(expr, arguments);
            }
            let name = function.name.to_string().to_lowercase();
            self.around.push(match arguments {
                Some(_) => Around::Unnest,
                None if self.state.aggregate_functions().contains_key(&name) => Around::Aggregate,
                None => Around::Other,
            });
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if matches!(expr, Expr::Function(_)) {
            self.around.pop();
        }
        ControlFlow::Continue(())
    }
}
