//! The columns and functions that the expressions of a view name: whether they exist, and whether a view may use them.
//!
//! Not here: what they are applied to (`view_plan.rs`).

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion::logical_expr::Volatility;
use datafusion::sql::sqlparser::ast::{
    AccessExpr, Expr, Function, FunctionArguments, GroupByExpr, Ident, Select, SelectItem, Spanned, Subscript, Value,
    Visit, Visitor,
};
use datafusion::sql::sqlparser::tokenizer::Span;

use super::columns::normalized;
use super::findings::known_names;
use super::view_syntax::{Check, Scope};
use crate::aggregate::{Refusal, refusal};
use crate::nearest::{called_here, did_you_mean};

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
        let _ = keys.visit(&mut Names::new(self, scopes, aliases));
        let mut names = Names::new(self, scopes, BTreeSet::new());
        let _ = select.projection.visit(&mut names);
        let _ = select.selection.visit(&mut names);
        let _ = select.from.visit(&mut names);
    }

    fn column(&mut self, ident: &Ident, shown: &Ident, scopes: &[Scope]) {
        let name = normalized(ident);
        if scopes.iter().any(|scope| scope.schema.index_of(&name).is_ok()) {
            return;
        }
        let hint = quotes_missing(&name, scopes)
            .unwrap_or_else(|| known_names(&name, columns_of(scopes).filter(|name| !name.starts_with('_'))));
        self.add(shown.span, &shown.to_string(), "unknown column", hint);
    }

    /// `table.column`, `column.field` and longer ones.
    fn path(&mut self, path: &[Ident], scopes: &[Scope]) {
        let [first, second, ..] = path else { return };
        let alias = normalized(first);
        match scopes.iter().find(|scope| scope.alias == alias) {
            Some(scope) => self.column(second, second, std::slice::from_ref(scope)),
            None => match dotted_name(path, scopes) {
                Some((name, hint)) => self.add(first.span, &name, "unknown column", hint),
                None => self.column(first, first, scopes),
            },
        }
    }

    /// `meta["domain"]`: in double quotes stands a column, and a key in single ones.
    fn subscript(&mut self, key: &Ident, scopes: &[Scope]) -> bool {
        let is_key = key.quote_style.is_some() && !columns_of(scopes).any(|known| known == key.value);
        if is_key {
            let hint = format!("write ['{}'], in single quotes, for the field or key of this name", key.value);
            self.add(key.span, &key.to_string(), "unknown column", hint);
        }
        is_key
    }

    fn function(&mut self, function: &Function, scopes: &[Scope]) {
        let name = function.name.to_string().to_lowercase();
        let span = function.name.span();
        if matches!(function.args, FunctionArguments::None) && columns_of(scopes).any(|known| known == name) {
            let hint = format!("write \"{name}\", in double quotes, for the column");
            self.add(span, &function.to_string(), "this word is a function of SQL", hint);
            return;
        }
        if function.over.is_some() {
            self.add(span, &function.to_string(), "a view has no window functions", "ask for them over the view");
            return;
        }
        // Where it may stand is said elsewhere (`view_unnest.rs`).
        if name == "unnest" {
            return;
        }
        if let Some(Refusal { reason, hint }) = refusal(&name) {
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
                if self.state.window_functions().contains_key(&name) && !is_known {
                    let message = "a view has no window functions";
                    self.add(span, &function.to_string(), message, "ask for them over the view");
                } else if !is_known {
                    let known = self.state.scalar_functions().keys().chain(aggregates.keys());
                    let hint = nearest_function(&name, known.map(String::as_str));
                    self.add(span, &function.to_string(), "unknown function", hint);
                }
            }
        }
    }
}

/// Walks through expressions and checks the names in them.
///
/// Why so: a type of its own, not a closure, so that the walk through the whole syntax tree is compiled once.
struct Names<'a, 'c> {
    check: &'a mut Check<'c>,
    scopes: &'a [Scope],
    /// What GROUP BY may name besides columns.
    aliases: BTreeSet<String>,
    /// Field names behind a dot, and tables before one, which look like columns to a visitor.
    fields: BTreeSet<Span>,
}

impl<'a, 'c> Names<'a, 'c> {
    fn new(check: &'a mut Check<'c>, scopes: &'a [Scope], aliases: BTreeSet<String>) -> Self {
        Self { check, scopes, aliases, fields: BTreeSet::new() }
    }

    /// `table.column` and `column.field` where a bracket follows: `ev.tags[1]`.
    fn path_before_bracket(&mut self, root: &Expr, access_chain: &[AccessExpr]) {
        let Expr::Identifier(first) = root else { return };
        let dotted = access_chain.iter().map_while(|access| match access {
            AccessExpr::Dot(Expr::Identifier(field)) => Some(field.clone()),
            _ => None,
        });
        let path: Vec<Ident> = std::iter::once(first.clone()).chain(dotted).collect();
        if path.len() > 1 {
            self.check.path(&path, self.scopes);
            self.fields.insert(first.span);
        }
    }
}

impl Visitor for Names<'_, '_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::CompoundFieldAccess { root, access_chain } => {
                self.path_before_bracket(root, access_chain);
                for access in access_chain {
                    match access {
                        AccessExpr::Dot(Expr::Identifier(field)) => {
                            self.fields.insert(field.span);
                        }
                        AccessExpr::Subscript(Subscript::Index { index: Expr::Identifier(key) })
                            if self.check.subscript(key, self.scopes) =>
                        {
                            self.fields.insert(key.span);
                        }
                        _ => {}
                    }
                }
            }
            Expr::Identifier(ident)
                if !self.fields.contains(&ident.span) && !self.aliases.contains(&normalized(ident)) =>
            {
                self.check.column(ident, ident, self.scopes);
            }
            Expr::CompoundIdentifier(path) => self.check.path(path, self.scopes),
            Expr::Function(function) => self.check.function(function, self.scopes),
            Expr::Value(value) if matches!(value.value, Value::Placeholder(_)) => {
                let hint = "write the value in its place";
                self.check.add(expr.span(), &expr.to_string(), "a view has no parameters", hint);
            }
            Expr::Subquery(_) | Expr::InSubquery { .. } | Expr::Exists { .. } => {
                let hint = "join a static table instead";
                self.check.add(expr.span(), &expr.to_string(), "a view has no subqueries", hint);
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

fn columns_of(scopes: &[Scope]) -> impl Iterator<Item = &str> {
    scopes.iter().flat_map(|scope| scope.schema.fields().iter().map(|field| field.name().as_str()))
}

/// The hint, where a column has this name but for its capitals and can only be named in quotes: without them SQL reads
/// lower case, and dots as a path.
fn quotes_missing(name: &str, scopes: &[Scope]) -> Option<String> {
    let needs_quotes = |letter: char| !(letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_');
    let meant = columns_of(scopes).find(|known| known.eq_ignore_ascii_case(name) && known.contains(needs_quotes))?;
    Some(format!("write \"{meant}\", in double quotes"))
}

/// A column whose name holds dots, written without quotes: its name, and the hint.
fn dotted_name(path: &[Ident], scopes: &[Scope]) -> Option<(String, String)> {
    let first = normalized(path.first()?);
    if columns_of(scopes).any(|known| known == first) {
        return None;
    }
    let name = path.iter().map(|part| part.value.as_str()).collect::<Vec<_>>().join(".");
    quotes_missing(&name, scopes).map(|hint| (name, hint))
}

/// There are hundreds of functions: only the nearest helps.
fn nearest_function<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    if let Some(here) = called_here(name) {
        return format!("write `{here}`");
    }
    let mut known: Vec<&str> = known.collect();
    known.sort_unstable();
    did_you_mean(name, &known).unwrap_or_else(|| "see the functions of Apache DataFusion's SQL".to_owned())
}
