//! The columns and functions that the expressions of a view name: whether they exist, and whether a view may use them.
//!
//! Not here: what they are applied to (`view_plan.rs`).

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion::logical_expr::Volatility;
use datafusion::sql::sqlparser::ast::{
    AccessExpr, Expr, Function, GroupByExpr, Ident, Select, SelectItem, Spanned, Value, Visit, visit_expressions,
};
use datafusion::sql::sqlparser::tokenizer::Span;

use super::columns::normalized;
use super::findings::known_names;
use super::view_syntax::{Check, Scope};
use crate::aggregate::{Verdict, refusal};

impl Check<'_> {
    /// Columns and functions, wherever they stand.
    pub(super) fn expressions(&mut self, select: &Select, scopes: &[Scope]) {
        let aliases: BTreeSet<String> = select
            .projection
            .iter()
            .filter_map(|item| match item {
                SelectItem::ExprWithAlias { alias, .. } => Some(normalized(alias)),
                _ => None,
            })
            .collect();
        let GroupByExpr::Expressions(keys, _) = &select.group_by else { return };
        let none = BTreeSet::new();
        self.visit(keys, scopes, &aliases);
        self.visit(&select.projection, scopes, &none);
        self.visit(&select.selection, scopes, &none);
        for table in &select.from {
            self.visit(table, scopes, &none);
        }
    }

    fn visit<V: Visit>(&mut self, part: &V, scopes: &[Scope], aliases: &BTreeSet<String>) {
        // Field names behind a dot look like columns to the visitor.
        let mut fields: BTreeSet<Span> = BTreeSet::new();
        let _ = visit_expressions(part, |expr| {
            match expr {
                Expr::CompoundFieldAccess { access_chain, .. } => {
                    fields.extend(access_chain.iter().filter_map(|access| match access {
                        AccessExpr::Dot(Expr::Identifier(field)) => Some(field.span),
                        _ => None,
                    }));
                }
                Expr::Identifier(ident) if !fields.contains(&ident.span) && !aliases.contains(&normalized(ident)) => {
                    self.column(ident, ident, scopes);
                }
                Expr::CompoundIdentifier(path) => self.path(path, scopes),
                Expr::Function(function) => self.function(function),
                Expr::Value(value) if matches!(value.value, Value::Placeholder(_)) => {
                    let hint = "write the value in its place";
                    self.add(expr.span(), &expr.to_string(), "a view has no parameters", hint);
                }
                Expr::Subquery(_) | Expr::InSubquery { .. } | Expr::Exists { .. } => {
                    let hint = "join a static table instead";
                    self.add(expr.span(), &expr.to_string(), "a view has no subqueries", hint);
                }
                _ => {}
            }
            ControlFlow::<()>::Continue(())
        });
    }

    fn column(&mut self, ident: &Ident, shown: &Ident, scopes: &[Scope]) {
        let name = normalized(ident);
        if scopes.iter().any(|scope| scope.schema.index_of(&name).is_ok()) {
            return;
        }
        let known = scopes.iter().flat_map(|scope| scope.schema.fields().iter().map(|field| field.name().as_str()));
        let hint = known_names(&name, known.filter(|name| !name.starts_with('_')));
        self.add(shown.span, &shown.to_string(), "unknown column", hint);
    }

    /// `table.column`, `column.field` and longer ones.
    fn path(&mut self, path: &[Ident], scopes: &[Scope]) {
        let [first, second, ..] = path else { return };
        let alias = normalized(first);
        match scopes.iter().find(|scope| scope.alias == alias) {
            Some(scope) => self.column(second, second, std::slice::from_ref(scope)),
            None => self.column(first, first, scopes),
        }
    }

    fn function(&mut self, function: &Function) {
        let name = function.name.to_string().to_lowercase();
        let span = function.name.span();
        if function.over.is_some() {
            self.add(span, &function.to_string(), "a view has no window functions", "ask for them over the view");
            return;
        }
        if let Some(Verdict::Refused { reason, hint }) = refusal(&name) {
            self.add(span, &function.to_string(), format!("{name} cannot be stored and merged: {reason}"), hint);
            return;
        }
        let scalar = self.state.scalar_functions().get(&name);
        match scalar.map(|scalar| scalar.signature().volatility) {
            Some(Volatility::Immutable) => {}
            Some(_) => {
                let message = format!("{name} depends on the clock or on chance, so no recompute would repeat it");
                self.add(span, &function.to_string(), message, "use a column of the event, such as its event time");
            }
            None => {
                let aggregates = self.state.aggregate_functions();
                let is_known =
                    aggregates.contains_key(&name) || self.state.higher_order_functions().contains_key(&name);
                if !is_known {
                    let known = self.state.scalar_functions().keys().chain(aggregates.keys());
                    let hint = nearest_function(&name, known.map(String::as_str));
                    self.add(span, &function.to_string(), "unknown function", hint);
                }
            }
        }
    }
}

/// There are hundreds of functions: only the nearest helps.
fn nearest_function<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    match known_names(name, known).split_once("? ") {
        Some((nearest, _)) => format!("{nearest}?"),
        None => "see the functions of Apache DataFusion's SQL".to_owned(),
    }
}
