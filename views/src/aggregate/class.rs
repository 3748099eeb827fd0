//! What merging the states of an aggregate guarantees, and which aggregates are refused, by name and with the reason.
//!
//! Not here: whether a state's type can be stored (`storable.rs`).

use datafusion::arrow::datatypes::DataType;
use datafusion::logical_expr::expr::AggregateFunction;

use crate::AggregateClass;

/// The judgement over one aggregate call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Verdict {
    /// It can be stored and merged with this guarantee.
    Allowed(AggregateClass),
    /// It cannot, for this reason, and this is the way out.
    Refused {
        /// Why not.
        reason: &'static str,
        /// What to write instead.
        hint: &'static str,
    },
}

/// Three standard deviations of the relative error of an HLL with 2^12 registers: 3 * 1.04 / sqrt(4096). Of 1,000
/// estimates 997 lie within, and every one of up to 200 values is exact.
pub(crate) const HLL_BOUND: f64 = 0.04875;

/// The normalized rank error of a KLL with k = 200 as Apache DataSketches publishes it: 99 of 100 estimates lie within.
pub(crate) const KLL_BOUND: f64 = 0.0133;

/// Judges an aggregate by its function name alone, before its arguments are known to be right.
pub(crate) fn refusal(name: &str) -> Option<Verdict> {
    let (reason, hint) = match name {
        "approx_median" => {
            ("its t-digest has no error bound once merged", "write `approx_percentile_cont(x, 0.5)` or `median(x)`")
        }
        "approx_percentile_cont_with_weight" => {
            ("its t-digest has no error bound once merged", "write `approx_percentile_cont(x, 0.5)`")
        }
        "any_value" => ("it may pick any row, so the two layers may disagree", "write `first_value(x)`"),
        "nth_value" => ("it needs its input sorted, which merged states are not", "write `array_agg(x)` and index it"),
        "grouping" => ("a view has exactly one grouping", "leave it out"),
        _ => return None,
    };
    Some(Verdict::Refused { reason, hint })
}

/// Judges a type-coerced aggregate call; `returns` is the type of its finished value.
pub(crate) fn verdict(call: &AggregateFunction, returns: &DataType) -> Verdict {
    let name = call.func.name();
    if let Some(refused) = refusal(name) {
        return refused;
    }
    let is_float = returns.is_floating();
    let class = match name {
        // Without effect on the extremes and on logic.
        "min" | "max" | "bool_and" | "bool_or" | "bit_and" | "bit_or" | "first_value" | "last_value" => {
            AggregateClass::Exact
        }
        _ if call.params.distinct => AggregateClass::Unbounded,
        "count" | "regr_count" | "bit_xor" => AggregateClass::Exact,
        "sum" | "avg" if is_float => AggregateClass::Float,
        "sum" | "avg" => AggregateClass::Exact,
        "stddev" | "stddev_pop" | "stddev_samp" | "var" | "var_pop" | "var_samp" | "var_sample" | "covar_samp"
        | "covar_pop" | "corr" | "regr_slope" | "regr_intercept" | "regr_r2" | "regr_avgx" | "regr_avgy"
        | "regr_sxx" | "regr_syy" | "regr_sxy" => AggregateClass::Float,
        "median" | "percentile_cont" | "array_agg" | "string_agg" => AggregateClass::Unbounded,
        "approx_distinct" => AggregateClass::Sketch { bound: HLL_BOUND },
        "approx_percentile_cont" => AggregateClass::Sketch { bound: KLL_BOUND },
        _ => {
            return Verdict::Refused {
                reason: "its state is not known to merge to the same value in any order",
                hint: "use count, sum, avg, min, max, approx_distinct, approx_percentile_cont or another standard \
                       aggregate",
            };
        }
    };
    Verdict::Allowed(class)
}

/// Whether the answer depends on the order of the rows, so that the log's order must be the last sort key.
pub(crate) fn order_keys_wanted(name: &str) -> bool {
    matches!(name, "array_agg" | "string_agg" | "first_value" | "last_value")
}

impl AggregateClass {
    /// The weaker of two guarantees: that of a measure made of both.
    pub fn weaker(self, other: Self) -> Self {
        use AggregateClass::*;
        match (self, other) {
            (Sketch { bound: one }, Sketch { bound: two }) => Sketch { bound: one.max(two) },
            (Sketch { bound }, _) | (_, Sketch { bound }) => Sketch { bound },
            (Float, _) | (_, Float) => Float,
            (Unbounded, _) | (_, Unbounded) => Unbounded,
            (Exact, Exact) => Exact,
        }
    }
}
