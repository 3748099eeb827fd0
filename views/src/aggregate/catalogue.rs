//! The catalogue of aggregates: what is known of each function that the engine has, in one table.
//!
//! Guarantee: plain data, one entry per function under the engine's own name for it; a function without an entry is
//! refused. Whoever needs to know something of an aggregate (whether a view may use it, the class and additivity of its
//! measures, its sort keys, what a session registers) asks here.
//! Not here: whether the state's type can be stored (`storable.rs`); making and merging states (`stored.rs`).

use datafusion::logical_expr::AggregateUDF;

use super::class::AggregateClass;
use super::{hll, kll};

/// What is known of one aggregate function.
#[derive(Clone, Copy, Debug)]
pub struct AggregateFacts {
    /// The engine's own name for it; aliases such as `mean` resolve to it while planning.
    pub name: &'static str,
    /// Whether a view may use it, and what follows.
    pub support: Support,
}

/// Whether a view may use an aggregate.
#[derive(Clone, Copy, Debug)]
pub enum Support {
    /// Its states are stored and merged.
    Merged(MergeFacts),
    /// They cannot be.
    Refused(Refusal),
}

/// Why a view may not use an aggregate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Ends the sentence "it cannot be stored and merged: ...".
    pub reason: &'static str,
    /// What to write instead.
    pub hint: &'static str,
}

/// What is known of an aggregate whose states are merged.
#[derive(Clone, Copy, Debug)]
pub struct MergeFacts {
    /// What merging guarantees, without DISTINCT.
    pub class: ClassRule,
    /// What DISTINCT changes.
    pub distinct: Distinct,
    /// What the state holds, without DISTINCT: one stored column, or the fields of one.
    pub states: &'static [&'static str],
    /// How two states become one, for people.
    pub merging: &'static str,
    /// Whether the answer depends on the order of rows, so that the place in the log must be the last sort key.
    pub follows_log: bool,
    /// Whether finished values, without DISTINCT, may be summed up again.
    pub is_additive: bool,
    /// Whether the engine may fail to finish a state of decimals, which then makes the value NULL.
    pub may_overflow_decimals: bool,
    /// Whether the engine's accumulator of one group must be given one state at a time, since of several it takes the
    /// first and forgets the others.
    pub merges_singly: bool,
    /// Our own function, where it replaces the engine's of the same name.
    pub replacement: Option<fn() -> AggregateUDF>,
}

/// How the class follows from the call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ClassRule {
    /// The same for all arguments.
    Always(AggregateClass),
    /// [`AggregateClass::Float`] where the finished value is a floating-point number, otherwise exact.
    ByResult,
}

/// What DISTINCT does to the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distinct {
    /// Nothing: the same value twice changes neither state nor answer.
    Ignored,
    /// The state keeps every distinct value: [`AggregateClass::Unbounded`].
    KeepsValues,
}

impl MergeFacts {
    /// The class of a call.
    pub fn class_of(&self, is_distinct: bool, returns_float: bool) -> AggregateClass {
        match self.class {
            _ if is_distinct && self.distinct == Distinct::KeepsValues => AggregateClass::Unbounded,
            ClassRule::Always(class) => class,
            ClassRule::ByResult if returns_float => AggregateClass::Float,
            ClassRule::ByResult => AggregateClass::Exact,
        }
    }
}

/// What is known of an aggregate, by the engine's name for it.
pub fn aggregate_facts(name: &str) -> Option<&'static AggregateFacts> {
    AGGREGATES.iter().find(|facts| facts.name == name)
}

/// What is known of an aggregate whose states are merged, or why they are not.
pub(crate) fn merge_facts(name: &str) -> Result<&'static MergeFacts, Refusal> {
    match aggregate_facts(name).map(|facts| &facts.support) {
        Some(Support::Merged(facts)) => Ok(facts),
        Some(Support::Refused(refusal)) => Err(*refusal),
        None => Err(UNKNOWN),
    }
}

/// Why a view may not use a function of this name, if the catalogue has it and says so.
pub(crate) fn refusal(name: &str) -> Option<Refusal> {
    aggregate_facts(name).and_then(|_| merge_facts(name).err())
}

/// The aggregates that replace the engine's own under their SQL names.
pub(crate) fn replacements() -> impl Iterator<Item = AggregateUDF> {
    AGGREGATES.iter().filter_map(|facts| match facts.support {
        Support::Merged(facts) => facts.replacement.map(|make| make()),
        Support::Refused(_) => None,
    })
}

const UNKNOWN: Refusal = Refusal {
    reason: "its state is not known to merge to the same value in any order",
    hint: "use count, sum, avg, min, max, approx_distinct, approx_percentile_cont or another standard aggregate",
};

const EXACT: ClassRule = ClassRule::Always(AggregateClass::Exact);
const FLOAT: ClassRule = ClassRule::Always(AggregateClass::Float);
const UNBOUNDED: ClassRule = ClassRule::Always(AggregateClass::Unbounded);
const HLL: ClassRule = ClassRule::Always(AggregateClass::Sketch { bound: hll::BOUND });
const KLL: ClassRule = ClassRule::Always(AggregateClass::Sketch { bound: kll::BOUND });

const DEVIATIONS: &[&str] = &["count", "mean", "m2"];
const CODEVIATIONS: &[&str] = &["count", "mean1", "mean2", "algo_const"];
const CORRELATION: &[&str] = &["count", "mean1", "m2_1", "mean2", "m2_2", "algo_const"];
const REGRESSION: &[&str] = &["count", "mean_x", "mean_y", "m2_x", "m2_y", "algo_const"];
const ORDERED: &[&str] = &["array_agg", "array_agg_orderings"];

const COMBINED: &str = "counts are added, means and deviations combined";
const INTERLEAVED: &str = "the values of both are kept, in the order of their sort keys";

/// Every aggregate of the engine.
pub const AGGREGATES: &[AggregateFacts] = &[
    merged("count", MergeFacts { is_additive: true, ..facts(EXACT, &["count"], "counts are added") }),
    merged("sum", MergeFacts { is_additive: true, ..facts(ClassRule::ByResult, &["sum"], "sums are added") }),
    merged(
        "avg",
        MergeFacts {
            may_overflow_decimals: true,
            ..facts(ClassRule::ByResult, &["count", "sum"], "counts and sums are added")
        },
    ),
    merged("min", MergeFacts { distinct: Distinct::Ignored, ..facts(EXACT, &["min"], "the lesser is kept") }),
    merged("max", MergeFacts { distinct: Distinct::Ignored, ..facts(EXACT, &["max"], "the greater is kept") }),
    merged("bool_and", MergeFacts { distinct: Distinct::Ignored, ..facts(EXACT, &["bool_and"], "both must hold") }),
    merged("bool_or", MergeFacts { distinct: Distinct::Ignored, ..facts(EXACT, &["bool_or"], "one must hold") }),
    merged("bit_and", MergeFacts { distinct: Distinct::Ignored, ..facts(EXACT, &["bit_and"], "bits that both have") }),
    merged("bit_or", MergeFacts { distinct: Distinct::Ignored, ..facts(EXACT, &["bit_or"], "bits that either has") }),
    merged("bit_xor", facts(EXACT, &["bit_xor"], "bits that exactly one of them has")),
    merged(
        "first_value",
        MergeFacts {
            distinct: Distinct::Ignored,
            follows_log: true,
            ..facts(EXACT, &["first_value", "partition", "offset", "first_value_is_set"], "the first in order is kept")
        },
    ),
    merged(
        "last_value",
        MergeFacts {
            distinct: Distinct::Ignored,
            follows_log: true,
            ..facts(EXACT, &["last_value", "partition", "offset", "last_value_is_set"], "the last in order is kept")
        },
    ),
    merged("stddev", facts(FLOAT, DEVIATIONS, COMBINED)),
    merged("stddev_pop", facts(FLOAT, DEVIATIONS, COMBINED)),
    merged("var", facts(FLOAT, DEVIATIONS, COMBINED)),
    merged("var_pop", facts(FLOAT, DEVIATIONS, COMBINED)),
    merged("covar_samp", facts(FLOAT, CODEVIATIONS, COMBINED)),
    merged("covar_pop", facts(FLOAT, CODEVIATIONS, COMBINED)),
    merged("corr", facts(FLOAT, CORRELATION, COMBINED)),
    merged("regr_count", facts(EXACT, REGRESSION, COMBINED)),
    merged("regr_slope", facts(FLOAT, REGRESSION, COMBINED)),
    merged("regr_intercept", facts(FLOAT, REGRESSION, COMBINED)),
    merged("regr_r2", facts(FLOAT, REGRESSION, COMBINED)),
    merged("regr_avgx", facts(FLOAT, REGRESSION, COMBINED)),
    merged("regr_avgy", facts(FLOAT, REGRESSION, COMBINED)),
    merged("regr_sxx", facts(FLOAT, REGRESSION, COMBINED)),
    merged("regr_syy", facts(FLOAT, REGRESSION, COMBINED)),
    merged("regr_sxy", facts(FLOAT, REGRESSION, COMBINED)),
    merged("median", facts(UNBOUNDED, &["values"], "the values of both are kept")),
    merged(
        "percentile_cont",
        MergeFacts { merges_singly: true, ..facts(UNBOUNDED, &["values"], "the values of both are kept") },
    ),
    merged("array_agg", MergeFacts { follows_log: true, ..facts(UNBOUNDED, ORDERED, INTERLEAVED) }),
    merged("string_agg", MergeFacts { follows_log: true, ..facts(UNBOUNDED, ORDERED, INTERLEAVED) }),
    merged(
        "approx_distinct",
        MergeFacts {
            replacement: Some(hll::function),
            ..facts(HLL, &["hll"], "the greater of each pair of registers is kept")
        },
    ),
    merged(
        "approx_percentile_cont",
        MergeFacts { replacement: Some(kll::function), ..facts(KLL, &["kll"], "levels are joined, then compacted") },
    ),
    refused(
        "approx_median",
        "its t-digest has no error bound once merged",
        "write `approx_percentile_cont(x, 0.5)` or `median(x)`",
    ),
    refused(
        "approx_percentile_cont_with_weight",
        "its t-digest has no error bound once merged",
        "write `approx_percentile_cont(x, 0.5)`",
    ),
    refused("any_value", "it may pick any row, so the two layers may disagree", "write `first_value(x)`"),
    refused("nth_value", "it needs its input sorted, which merged states are not", "write `array_agg(x)` and index it"),
    refused("grouping", "a view has exactly one grouping", "leave it out"),
];

const fn merged(name: &'static str, facts: MergeFacts) -> AggregateFacts {
    AggregateFacts { name, support: Support::Merged(facts) }
}

const fn refused(name: &'static str, reason: &'static str, hint: &'static str) -> AggregateFacts {
    AggregateFacts { name, support: Support::Refused(Refusal { reason, hint }) }
}

/// What most aggregates have in common: DISTINCT keeps values, the order of rows does not matter, the engine's own
/// function.
const fn facts(class: ClassRule, states: &'static [&'static str], merging: &'static str) -> MergeFacts {
    MergeFacts {
        class,
        distinct: Distinct::KeepsValues,
        states,
        merging,
        follows_log: false,
        is_additive: false,
        may_overflow_decimals: false,
        merges_singly: false,
        replacement: None,
    }
}
