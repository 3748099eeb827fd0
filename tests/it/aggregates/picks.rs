//! The calls of aggregates that pick values: beside the least or the greatest key, or by how often they occur.

use std::cmp::{Ordering, Reverse};
use std::collections::BTreeMap;

use super::call::{Call, call, exactly, int, list, ns, text, texts, xs};
use super::oracle::{Value, normal};
use super::rows::Row;

/// A number in the order of all: NaN behind every other.
#[derive(Clone, Copy, Debug)]
struct Place(f64);

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Place {}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Place {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

fn x(row: &Row) -> Option<Place> {
    row.x.map(|x| Place(normal(x)))
}

fn is_true(rows: &[Row]) -> Vec<Row> {
    rows.iter().filter(|row| row.b == Some(true)).cloned().collect()
}

/// The value beside the least key; of equal keys the least value, none only where there is no other.
fn beside<K: Ord, V: Ord>(
    rows: &[Row],
    key: impl Fn(&Row) -> Option<K>,
    value: impl Fn(&Row) -> Option<V>,
) -> Option<V> {
    let best = rows.iter().filter_map(&key).min()?;
    rows.iter().filter(|&row| key(row).as_ref() == Some(&best)).filter_map(&value).min()
}

/// Values with how often they occur, the most frequent first, of equals the least.
fn ranking<V: Ord>(values: impl IntoIterator<Item = V>) -> Vec<(V, i128)> {
    let mut counts = BTreeMap::new();
    for value in values {
        *counts.entry(value).or_insert(0) += 1;
    }
    let mut all: Vec<(V, i128)> = counts.into_iter().collect();
    all.sort_by_key(|(_, count)| Reverse(*count));
    all
}

fn most<V: Ord>(values: impl IntoIterator<Item = V>) -> Option<V> {
    ranking(values).into_iter().next().map(|(value, _)| value)
}

fn top<V: Ord>(values: impl IntoIterator<Item = V>, k: usize, value: impl Fn(V) -> Value) -> Value {
    let items = ranking(values).into_iter().take(k);
    list(items.map(|(of, count)| Value::List(vec![value(of), Value::Int(count), Value::Int(0)])).collect())
}

/// Of values within twice the capacity of a top, so that it is exact.
pub const CALLS: &[Call] = &[
    call("min_by", "min_by(n, x)", |rows| int(beside(rows, x, |row| row.n).map(i128::from))),
    call("min_by", "min_by(DISTINCT x, d)", |rows| exactly(beside(rows, |row| row.d, x).map(|place| place.0))),
    call("min_by", "arg_min(s, n) FILTER (WHERE b)", |rows| text(beside(&is_true(rows), |row| row.n, |row| row.s))),
    call("min_by", "min_by(b, s)", |rows| beside(rows, |row| row.s, |row| row.b).map_or(Value::Null, Value::Bool)),
    call("max_by", "max_by(n, x)", |rows| int(beside(rows, |row| x(row).map(Reverse), |row| row.n).map(i128::from))),
    call("max_by", "max_by(x, y)", |rows| {
        let y = |row: &Row| row.y.map(|y| Reverse(Place(normal(y))));
        exactly(beside(rows, y, x).map(|place| place.0))
    }),
    call("max_by", "arg_max(c, b)", |rows| int(beside(rows, |row| row.b.map(Reverse), |row| row.c))),
    call("max_by", "max_by(d, s) FILTER (WHERE b)", |rows| {
        int(beside(&is_true(rows), |row| row.s.map(Reverse), |row| row.d))
    }),
    call("mode", "mode(n)", |rows| int(most(ns(rows)))),
    call("mode", "mode(x)", |rows| exactly(most(xs(rows).into_iter().map(Place)).map(|place| place.0))),
    call("mode", "mode(s) FILTER (WHERE b)", |rows| text(most(texts(&is_true(rows))))),
    call("mode", "mode() WITHIN GROUP (ORDER BY n)", |rows| int(most(ns(rows)))),
    call("mode", "mode() WITHIN GROUP (ORDER BY n DESC)", |rows| {
        int(most(ns(rows).into_iter().map(Reverse)).map(|n| n.0))
    }),
    call("approx_top_k", "approx_top_k(s, 2)", |rows| top(texts(rows), 2, |s| text(Some(s)))),
    call("approx_top_k", "approx_top_k(x, 100)", |rows| {
        top(xs(rows).into_iter().map(Place), 100, |place| Value::exactly(place.0))
    }),
    call("approx_top_k", "approx_top_k(n, 3, 100) FILTER (WHERE n > 0)", |rows| {
        top(ns(rows).into_iter().filter(|n| *n > 0), 3, Value::Int)
    }),
];
