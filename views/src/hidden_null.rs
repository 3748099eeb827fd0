//! Measures that have a value where an aggregate in them has none.
//!
//! In: a measure over finished aggregates. Out: whether it is NULL wherever one of them is.
//! Why so: a total that does not fit its type is NULL, which a reader sees, and which says where to look for totals
//! that do not fit; `coalesce(sum(x), 0)` shows a number instead.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, Operator};

use crate::or_null::operator_of;
use crate::plan::ViewPlans;

impl ViewPlans {
    /// Whether a measure may have a value where an aggregate in it is NULL: `coalesce(sum(x), 0)` has, `sum(x) / 2` has
    /// not. What is not known to be NULL there counts as hiding it.
    pub fn hides_null(&self, measure: &str) -> bool {
        self.measures.iter().any(|known| known.name == measure && !hands_null_on(&known.expression))
    }
}

/// Whether the value is NULL wherever a column in it is.
fn hands_null_on(expr: &Expr) -> bool {
    use Operator::{Divide, Minus, Modulo, Multiply, Plus};
    let hands_on = match operator_of(expr) {
        Expr::BinaryExpr(binary) => matches!(binary.op, Plus | Minus | Multiply | Divide | Modulo),
        Expr::Column(_) | Expr::Literal(..) | Expr::Alias(_) | Expr::Cast(_) | Expr::TryCast(_) | Expr::Negative(_) => {
            true
        }
        _ => false,
    };
    let mut is_whole = true;
    let walked = expr.apply_children(|part| {
        is_whole &= hands_null_on(part);
        Ok(TreeNodeRecursion::Continue)
    });
    hands_on && is_whole && walked.is_ok()
}
