//! Which aggregates a state may be merged into twice.

use super::catalogue::merge_facts;
use super::facts::Distinct;
use super::stored::StoredAggregate;

/// Our own sketch, whose registers keep the greater of two.
const SKETCH_OF_DISTINCT: &str = "approx_distinct";

/// Whether merging a state twice gives what merging it once gives: the least and the greatest, the first and the last,
/// sets of distinct values. Counts, sums and percentiles do not.
pub(crate) fn ignores_copies(aggregate: &StoredAggregate) -> bool {
    let inner = aggregate.inner();
    let name = inner.fun().name();
    merge_facts(name).is_ok_and(|facts| {
        facts.distinct == Distinct::Ignored || name == SKETCH_OF_DISTINCT || (inner.is_distinct() && !facts.follows_log)
    })
}
