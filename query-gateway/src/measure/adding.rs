//! Which functions add values up, and which make of a value something else than a value.

use std::ops::Range;

/// Aggregates whose result is made of the sum of their arguments: besides sums the means, and what is measured from
/// means. Of values that are not additive neither has a meaning beyond the rows it is taken over.
const ADDING: [&str; 18] = [
    "sum",
    "avg",
    "stddev",
    "stddev_pop",
    "var",
    "var_pop",
    "covar_samp",
    "covar_pop",
    "corr",
    "regr_slope",
    "regr_intercept",
    "regr_r2",
    "regr_avgx",
    "regr_avgy",
    "regr_sxx",
    "regr_syy",
    "regr_sxy",
    "approx_percentile_cont_with_weight",
];

/// Aggregates and window functions that count rows or test values.
const COUNTING: [&str; 12] = [
    "count",
    "approx_distinct",
    "regr_count",
    "bool_and",
    "bool_or",
    "grouping",
    "row_number",
    "rank",
    "dense_rank",
    "percent_rank",
    "cume_dist",
    "ntile",
];

/// Scalar functions that add the items of a list up.
const ADDING_ITEMS: [&str; 4] = ["array_sum", "array_avg", "inner_product", "array_distance"];

/// Scalar functions that test a value, or count or place the items of a list.
const TESTING: [&str; 18] = [
    "isnan",
    "iszero",
    "starts_with",
    "ends_with",
    "contains",
    "regexp_like",
    "array_has",
    "array_has_all",
    "array_has_any",
    "array_any_match",
    "empty",
    "array_length",
    "array_ndims",
    "array_dims",
    "array_position",
    "array_positions",
    "cardinality",
    "arrow_typeof",
];

/// Whether an aggregate adds its arguments up.
pub(super) fn adds(aggregate: &str) -> bool {
    ADDING.contains(&aggregate)
}

/// Whether an aggregate or a window function gives a count or a test.
pub(super) fn counts(aggregate: &str) -> bool {
    COUNTING.contains(&aggregate)
}

/// Whether a scalar function adds the items of a list up.
pub(super) fn adds_items(function: &str) -> bool {
    ADDING_ITEMS.contains(&function)
}

/// The arguments whose values a function of that many may give: those that it only tests are left out.
pub(super) fn passed_on(function: &str, arguments: usize) -> Range<usize> {
    match function {
        "nullif" | "min_by" | "max_by" => 0..arguments.min(1),
        "nvl2" => arguments.min(1)..arguments,
        tested if TESTING.contains(&tested) => 0..0,
        _ => 0..arguments,
    }
}
