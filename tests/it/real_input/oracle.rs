//! The independent oracle: plain folds over the events sent so far. Shares no code with the system.

use std::collections::{BTreeMap, BTreeSet};

use super::data::Event;

/// What a group of events amounts to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Totals {
    /// Number of events.
    pub count: i64,
    /// Sum of the first amount.
    pub sum: i64,
    /// Sum of the second amount.
    pub other_sum: i64,
    /// Distinct values of the counted field.
    pub distinct: BTreeSet<String>,
    /// The amounts, for percentiles.
    pub amounts: Vec<i64>,
}

/// Groups events by `key` and folds what `amounts` and `distinct` take from each.
pub fn group<'a>(
    events: impl IntoIterator<Item = &'a Event>,
    key: impl Fn(&Event) -> String,
    amounts: impl Fn(&Event) -> (Option<i64>, Option<i64>),
    distinct: impl Fn(&Event) -> String,
) -> BTreeMap<String, Totals> {
    let mut groups: BTreeMap<String, Totals> = BTreeMap::new();
    for event in events {
        let totals = groups.entry(key(event)).or_default();
        let (first, second) = amounts(event);
        totals.count += 1;
        totals.sum += first.unwrap_or(0);
        totals.other_sum += second.unwrap_or(0);
        totals.distinct.insert(distinct(event));
        totals.amounts.extend(first);
    }
    groups
}

/// The `limit` largest groups by count, ties by key: what `order=-count,key` answers.
pub fn top(groups: &BTreeMap<String, Totals>, limit: usize) -> Vec<(String, i64)> {
    let mut rows: Vec<(String, i64)> = groups.iter().map(|(key, totals)| (key.clone(), totals.count)).collect();
    rows.sort_by(|left, right| right.1.cmp(&left.1).then_with(|| left.0.cmp(&right.0)));
    rows.truncate(limit);
    rows
}

/// Whether `value` lies between the ranks `fraction - slack` and `fraction + slack` of the amounts.
pub fn is_percentile(amounts: &[i64], fraction: f64, slack: f64, value: f64) -> bool {
    let mut sorted = amounts.to_vec();
    sorted.sort_unstable();
    let at = |rank: f64| sorted[((rank * sorted.len() as f64) as usize).min(sorted.len() - 1)] as f64;
    let (low, high) = ((fraction - slack).max(0.0), fraction + slack);
    let low = if low == 0.0 { sorted[0] as f64 } else { at(low) };
    (low - 1.0..=at(high) + 1.0).contains(&value)
}
