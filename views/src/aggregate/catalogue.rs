//! The catalogue of aggregates: what is known of each function that the engine has, in one table.
//!
//! Guarantee: plain data, one entry per function under the engine's own name for it; a function without an entry is
//! refused. Whoever needs to know something of an aggregate (whether a view may use it, the class and additivity of its
//! measures, its sort keys, what a session registers) asks here.
//! Not here: what an entry says (`facts.rs`); whether the state's type can be stored (`storable.rs`); making and
//! merging states (`stored.rs`).

use datafusion::logical_expr::AggregateUDF;

use super::class::{AggregateClass, ClassRule};
use super::facts::{AggregateFacts, Distinct, MergeFacts, Refusal, Support};
use super::{dd, extreme_by, frequent, hll, kll, own, visits};

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

/// Our aggregates under their SQL names, some in the place of the engine's own.
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
const DD: ClassRule = ClassRule::Always(AggregateClass::Sketch { bound: dd::BOUND });
const KLL: ClassRule = ClassRule::Always(AggregateClass::Sketch { bound: kll::BOUND });
const TOP: ClassRule = ClassRule::Always(AggregateClass::Sketch { bound: frequent::BOUND });

const DEVIATIONS: &[&str] = &["count", "mean", "mean_low", "m2"];
const CODEVIATIONS: &[&str] = &["count", "mean1", "mean1_low", "m2_1", "mean2", "mean2_low", "m2_2", "codeviation"];
const ORDERED: &[&str] = &["array_agg", "array_agg_orderings"];

const COMBINED: &str = "counts are added, means and deviations combined";
const TOTALS: &str = "exact totals are added";
const ENDS: &str = "-0.0 equals 0.0; NaN is greater than every number, as in PostgreSQL.";
const TIES: &str = "Also written `arg_min` and `arg_max`. Of equal keys the least value is taken, NULL only where \
                    there is no other; a row whose key is NULL does not count. NaN is greater than every number.";
const EACH_ONCE: Distinct = Distinct::Refused(Refusal {
    reason: "each of them occurs once",
    hint: "leave DISTINCT out, or count distinct values with `count(DISTINCT x)`",
});
const EACH_EVENT: Distinct = Distinct::Refused(Refusal {
    reason: "an event that occurs twice is two events",
    hint: "leave DISTINCT out: copies of an event are left out of every view before",
});
const UNSEEN: Distinct = Distinct::Refused(Refusal {
    reason: "the sketch does not know which values it has seen",
    hint: "write `percentile_cont(DISTINCT x, 0.5)`, or leave DISTINCT out",
});
const SPREAD: &str = "The mean has twice the digits of a DOUBLE, so large values keep small deviations. NaN or an \
                      infinity among the values makes it NaN.";
const MEAN: &str = "The mean has twice the digits of a DOUBLE.";
const SORTED: &str = "NaN sorts behind every number.";
const VISITS: &str = "`visits(user, time, INTERVAL '30 minutes')`: a visit is a stretch of events of one user in which \
                      no two that follow each other are further apart than the gap; exactly at the gap is within. \
                      `bounces` counts the visits of one event alone, `bounce_rate` is the part of these, NULL where \
                      there is no visit. Events whose user or time is NULL are left out. The gap is a written INTERVAL \
                      of days or less. The state holds each user, and some 8 to 12 bytes for each visit of theirs.";
const INTERLEAVED: &str = "the values of both are kept, in the order of their sort keys";

/// Every aggregate of the engine, and ours.
pub const AGGREGATES: &[AggregateFacts] = &[
    merged(
        "count",
        MergeFacts {
            is_additive: true,
            notes: "`count(DISTINCT a, b)` counts distinct rows, without those in which one of the values is NULL.",
            ..facts(EXACT, &["count"], "counts are added")
        },
    ),
    merged(
        "sum",
        MergeFacts {
            is_additive: true,
            notes: "Of integers and decimals the total is exact and judged once, when it is finished: NULL in a group \
                    where it does not fit its type, counted under `overflows` in the answer. Floating-point sums \
                    round; beyond the range of DOUBLE they are infinite, which depends on the order.",
            replacement: Some(own::sum_function),
            lenient: Some(own::lenient_sum),
            ..facts(ClassRule::ByResult, &["sum"], TOTALS)
        },
    ),
    merged(
        "avg",
        MergeFacts {
            notes: "Of decimals exact, cut off at the scale of the answer, NULL where it does not fit; of integers and \
                    floating-point numbers a DOUBLE, which rounds.",
            replacement: Some(own::avg),
            lenient: Some(own::lenient_avg),
            ..facts(ClassRule::ByResult, &["count", "sum"], "counts and sums are added")
        },
    ),
    merged(
        "min",
        MergeFacts {
            distinct: Distinct::Ignored,
            notes: ENDS,
            replacement: Some(own::min),
            ..facts(EXACT, &["min"], "the lesser is kept")
        },
    ),
    merged(
        "max",
        MergeFacts {
            distinct: Distinct::Ignored,
            notes: ENDS,
            replacement: Some(own::max),
            ..facts(EXACT, &["max"], "the greater is kept")
        },
    ),
    merged(
        "min_by",
        MergeFacts {
            distinct: Distinct::Ignored,
            notes: TIES,
            replacement: Some(extreme_by::min_by),
            ..facts(EXACT, &["value", "key"], "the value of the lesser key is kept")
        },
    ),
    merged(
        "max_by",
        MergeFacts {
            distinct: Distinct::Ignored,
            notes: TIES,
            replacement: Some(extreme_by::max_by),
            ..facts(EXACT, &["value", "key"], "the value of the greater key is kept")
        },
    ),
    merged("bool_and", MergeFacts { distinct: Distinct::Ignored, ..facts(EXACT, &["bool_and"], "both must hold") }),
    merged("bool_or", MergeFacts { distinct: Distinct::Ignored, ..facts(EXACT, &["bool_or"], "one must hold") }),
    merged("bit_and", MergeFacts { distinct: Distinct::Ignored, ..facts(EXACT, &["bit_and"], "bits that both have") }),
    merged("bit_or", MergeFacts { distinct: Distinct::Ignored, ..facts(EXACT, &["bit_or"], "bits that either has") }),
    merged(
        "bit_xor",
        MergeFacts {
            replacement: Some(own::bit_xor),
            ..facts(EXACT, &["bit_xor"], "bits that exactly one of them has")
        },
    ),
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
    merged("stddev", deviations(own::stddev)),
    merged("stddev_pop", deviations(own::stddev_pop)),
    merged("var", deviations(own::var)),
    merged("var_pop", deviations(own::var_pop)),
    merged("covar_samp", codeviations(own::covar_samp)),
    merged("covar_pop", codeviations(own::covar_pop)),
    merged("corr", codeviations(own::corr)),
    merged("regr_count", MergeFacts { class: EXACT, notes: "", ..codeviations(own::regr_count) }),
    merged("regr_slope", codeviations(own::regr_slope)),
    merged("regr_intercept", codeviations(own::regr_intercept)),
    merged("regr_r2", codeviations(own::regr_r2)),
    merged("regr_avgx", MergeFacts { notes: MEAN, ..codeviations(own::regr_avgx) }),
    merged("regr_avgy", MergeFacts { notes: MEAN, ..codeviations(own::regr_avgy) }),
    merged("regr_sxx", codeviations(own::regr_sxx)),
    merged("regr_syy", codeviations(own::regr_syy)),
    merged("regr_sxy", codeviations(own::regr_sxy)),
    merged("median", MergeFacts { notes: SORTED, ..facts(UNBOUNDED, &["values"], "the values of both are kept") }),
    merged(
        "percentile_cont",
        MergeFacts { notes: SORTED, ..facts(UNBOUNDED, &["values"], "the values of both are kept") },
    ),
    merged(
        "mode",
        MergeFacts {
            distinct: EACH_ONCE,
            notes: "Of equally frequent values the least, or the greatest with `mode() WITHIN GROUP (ORDER BY x \
                    DESC)`. NULL is left out. The state holds each distinct value and its count, about as large as \
                    that of `count(DISTINCT x)`.",
            replacement: Some(frequent::mode),
            ..facts(UNBOUNDED, &["values", "counts", "error"], "counts of equal values are added")
        },
    ),
    merged("visits", of_visits(visits::visits)),
    merged("bounces", of_visits(visits::bounces)),
    merged("bounce_rate", of_visits(visits::bounce_rate)),
    merged("array_agg", MergeFacts { follows_log: true, ..facts(UNBOUNDED, ORDERED, INTERLEAVED) }),
    merged("string_agg", MergeFacts { follows_log: true, ..facts(UNBOUNDED, ORDERED, INTERLEAVED) }),
    merged(
        "approx_distinct",
        MergeFacts {
            distinct: Distinct::Ignored,
            replacement: Some(hll::function),
            ..facts(HLL, &["hll"], "the greater of each pair of registers is kept")
        },
    ),
    merged(
        "approx_percentile_cont",
        MergeFacts {
            distinct: UNSEEN,
            follows_merging: true,
            replacement: Some(kll::function),
            ..facts(KLL, &["kll"], "levels are joined, then compacted")
        },
    ),
    merged(
        "ddsketch_percentile",
        MergeFacts {
            distinct: UNSEEN,
            replacement: Some(dd::function),
            ..facts(DD, &["dd"], "counts of equal buckets are added")
        },
    ),
    merged(
        "approx_top_k",
        MergeFacts {
            bound: Some(frequent::bound),
            distinct: EACH_ONCE,
            follows_merging: true,
            notes: "`approx_top_k(x, k)` or `approx_top_k(x, k, capacity)`: the k most frequent values, the most \
                    frequent first, of equals the least, as a list of `value`, `count` and `error`: a value occurs at \
                    least `count` and at most `count + error` times. Of n values `error` is at most n / (capacity + \
                    1), always, and a value that occurs more often than `error` is held; up to 2 * capacity distinct \
                    values all counts are exact. The capacity is 1,000 where none is written. NULL is left out. The \
                    state holds up to 2 * capacity values as they are, within `max_state_bytes`.",
            replacement: Some(frequent::approx_top_k),
            ..facts(
                TOP,
                &["values", "counts", "error"],
                "counts of equal values are added, and the least frequent values given up",
            )
        },
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
    refused(
        "nth_value",
        "it needs its input sorted, which merged states are not",
        "write `array_agg(x) AS xs`, and `xs[2]` in the query",
    ),
    refused("grouping", "a view has exactly one grouping", "leave it out"),
];

const fn merged(name: &'static str, facts: MergeFacts) -> AggregateFacts {
    AggregateFacts { name, support: Support::Merged(facts) }
}

const fn refused(name: &'static str, reason: &'static str, hint: &'static str) -> AggregateFacts {
    AggregateFacts { name, support: Support::Refused(Refusal { reason, hint }) }
}

/// What the spread of one variable is made of.
const fn deviations(replacement: fn() -> AggregateUDF) -> MergeFacts {
    MergeFacts { notes: SPREAD, replacement: Some(replacement), ..facts(FLOAT, DEVIATIONS, COMBINED) }
}

/// What two variables have in common is made of.
const fn codeviations(replacement: fn() -> AggregateUDF) -> MergeFacts {
    MergeFacts { notes: SPREAD, replacement: Some(replacement), ..facts(FLOAT, CODEVIATIONS, COMBINED) }
}

/// What the visits of users are made of.
const fn of_visits(replacement: fn() -> AggregateUDF) -> MergeFacts {
    MergeFacts {
        distinct: EACH_EVENT,
        is_of_counts: true,
        notes: VISITS,
        replacement: Some(replacement),
        ..facts(UNBOUNDED, &["users", "visits"], "visits of a user that are within the gap become one")
    }
}

/// What most aggregates have in common: DISTINCT keeps values, the order of rows and of merging does not matter, the
/// engine's own function.
const fn facts(class: ClassRule, states: &'static [&'static str], merging: &'static str) -> MergeFacts {
    MergeFacts {
        class,
        bound: None,
        distinct: Distinct::KeepsValues,
        states,
        merging,
        follows_log: false,
        is_additive: false,
        follows_merging: false,
        is_of_counts: false,
        notes: "",
        replacement: None,
        lenient: None,
    }
}
