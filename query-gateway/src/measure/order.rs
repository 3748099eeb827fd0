//! `ORDER BY MEASURE(x)` beside `MEASURE(x) AS x`: sorts by the column of the answer.
//!
//! In: a statement. Out: the same statement, in which an ORDER BY names what its SELECT list computes and names.
//! Why so: the engine looks names of an ORDER BY up in the SELECT list first, so it takes `x` for the answer's column,
//! and the same call for a second aggregate of the same name.

use std::convert::Infallible;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Function, Ident, OrderBy, OrderByKind, Query, SelectItem, SetExpr, Statement, VisitMut, VisitorMut,
};

/// Writes the name of a column of the answer for each expression of an ORDER BY that is that column.
pub(crate) fn name_order(statement: &mut Statement) {
    let ControlFlow::Continue(()) = statement.visit(&mut Naming);
}

struct Naming;

impl VisitorMut for Naming {
    type Break = Infallible;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Infallible> {
        let Query { body, order_by: Some(OrderBy { kind: OrderByKind::Expressions(order), .. }), .. } = query else {
            return ControlFlow::Continue(());
        };
        let SetExpr::Select(select) = &**body else { return ControlFlow::Continue(()) };
        let named = select.projection.iter().filter_map(|item| match item {
            SelectItem::ExprWithAlias { expr: Expr::Identifier(_) | Expr::CompoundIdentifier(_), .. } => None,
            SelectItem::ExprWithAlias { expr, alias } => Some((expr, alias)),
            _ => None,
        });
        let columns: Vec<(&Expr, &Ident)> = named.collect();
        for key in order {
            name_columns(&mut key.expr, &columns);
        }
        ControlFlow::Continue(())
    }
}

/// Goes into arithmetic alone: a window or a subquery sees other columns under these names.
fn name_columns(expr: &mut Expr, columns: &[(&Expr, &Ident)]) {
    if let Some((_, name)) = columns.iter().find(|(column, _)| is_same(column, expr)) {
        *expr = Expr::Identifier((*name).clone());
        return;
    }
    match expr {
        Expr::BinaryOp { left, right, .. } => {
            name_columns(left, columns);
            name_columns(right, columns);
        }
        Expr::UnaryOp { expr, .. } | Expr::Nested(expr) | Expr::Cast { expr, .. } => name_columns(expr, columns),
        _ => {}
    }
}

/// Names of functions are the same in capitals.
fn is_same(one: &Expr, two: &Expr) -> bool {
    match (one, two) {
        (Expr::Function(one), Expr::Function(two)) => {
            let is_named_so = one.name.to_string().eq_ignore_ascii_case(&two.name.to_string());
            is_named_so && Function { name: two.name.clone(), ..one.clone() } == *two
        }
        _ => one == two,
    }
}
