//! What every aggregate comes to, computed from the rows in one pass, by plain code that shares nothing with the
//! accumulators.

use std::collections::BTreeMap;

use arrow::datatypes::i256;

use super::rows::Row;

/// A finished value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    /// Whole numbers, and decimals by their digits.
    Int(i128),
    /// A number that may be off by 10^-9 of itself or of the scale, whichever is larger.
    Float(f64, f64),
    Text(String),
    List(Vec<Value>),
}

impl Value {
    pub fn exactly(value: f64) -> Self {
        Self::Float(value, 0.0)
    }

    fn of<T>(value: Option<T>, make: impl FnOnce(T) -> Self) -> Self {
        value.map_or(Self::Null, make)
    }

    /// Whether a value that was found is this one.
    pub fn is_met_by(&self, found: &Self) -> bool {
        match (self, found) {
            (Self::Float(wanted, scale), Self::Float(found, _)) => {
                (wanted.is_nan() && found.is_nan())
                    || wanted == found
                    || (wanted - found).abs() <= 1e-9 * wanted.abs().max(*scale)
            }
            (Self::List(wanted), Self::List(found)) => {
                wanted.len() == found.len() && wanted.iter().zip(found).all(|(wanted, found)| wanted.is_met_by(found))
            }
            _ => self == found,
        }
    }
}

/// -0.0 is 0.0, and there is one NaN, behind all numbers.
pub fn normal(value: f64) -> f64 {
    if value.is_nan() { f64::NAN } else { value + 0.0 }
}

pub fn floats(rows: &[Row], of: fn(&Row) -> Option<f64>) -> Vec<f64> {
    rows.iter().filter_map(of).map(normal).collect()
}

pub fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

pub fn distinct(values: Vec<f64>) -> Vec<f64> {
    let mut values = sorted(values);
    values.dedup_by(|one, other| one.total_cmp(other).is_eq());
    values
}

pub fn distinct_ints(mut values: Vec<i128>) -> Vec<i128> {
    values.sort_unstable();
    values.dedup();
    values
}

fn total(values: &[i128]) -> i256 {
    values.iter().fold(i256::ZERO, |sum, value| sum.checked_add(i256::from_i128(*value)).unwrap())
}

/// NULL of nothing, and of what a type with such a limit does not hold.
pub fn int_sum(values: &[i128], fits: impl Fn(i128) -> bool) -> Value {
    let sum = (!values.is_empty()).then(|| total(values).to_i128()).flatten();
    Value::of(sum.filter(|sum| fits(*sum)), Value::Int)
}

/// The mean with four more digits, cut off.
pub fn decimal_mean(values: &[i128], fits: impl Fn(i128) -> bool) -> Value {
    if values.is_empty() {
        return Value::Null;
    }
    let scaled = total(values).checked_mul(i256::from_i128(10_000)).unwrap();
    let mean = scaled.checked_div(i256::from_i128(values.len() as i128)).unwrap().to_i128();
    Value::of(mean.filter(|mean| fits(*mean)), Value::Int)
}

pub fn float_sum(values: &[f64]) -> Value {
    let scale = values.iter().map(|value| value.abs()).sum();
    if values.is_empty() { Value::Null } else { Value::Float(values.iter().sum(), scale) }
}

pub fn float_mean(values: &[f64]) -> Value {
    let count = values.len() as f64;
    match float_sum(values) {
        Value::Float(sum, scale) => Value::Float(sum / count, scale / count),
        other => other,
    }
}

/// Deviations of pairs from their means, counted from the first pair: what is large and the same in all falls out.
pub struct Deviations {
    pub count: f64,
    pub mean_x: f64,
    pub mean_y: f64,
    pub xx: f64,
    pub yy: f64,
    pub xy: f64,
}

impl Deviations {
    pub fn of(pairs: &[(f64, f64)]) -> Self {
        let count = pairs.len() as f64;
        let (first_y, first_x) = pairs.first().copied().unwrap_or_default();
        let mean = |of: fn(&(f64, f64)) -> f64, first: f64| {
            if pairs.iter().all(|pair| of(pair).is_finite()) {
                (first, pairs.iter().map(|pair| of(pair) - first).sum::<f64>() / count)
            } else {
                (pairs.iter().map(of).sum::<f64>(), f64::NAN)
            }
        };
        let (base_y, off_y) = mean(|pair| pair.0, first_y);
        let (base_x, off_x) = mean(|pair| pair.1, first_x);
        let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
        for (y, x) in pairs {
            let (dy, dx) = ((y - base_y) - off_y, (x - base_x) - off_x);
            (xx, yy, xy) = (xx + dx * dx, yy + dy * dy, xy + dx * dy);
        }
        let whole = |base: f64, off: f64| if off.is_nan() { base } else { base + off };
        Self { count, mean_x: whole(base_x, off_x), mean_y: whole(base_y, off_y), xx, yy, xy }
    }

    pub fn by(&self, deviations: f64, less: f64, scale: f64) -> Value {
        let by = self.count - less;
        if by > 0.0 { Value::Float(deviations / by, scale / by) } else { Value::Null }
    }

    /// How large a sum of products could be.
    pub fn scale(&self) -> f64 {
        (self.xx * self.yy).sqrt()
    }

    pub fn if_spread(&self, is_spread: bool, value: Value) -> Value {
        if self.count > 1.0 && is_spread { value } else { Value::Null }
    }

    pub fn if_any(&self, value: Value) -> Value {
        if self.count > 0.0 { value } else { Value::Null }
    }
}

/// The pairs of y and x of which neither is missing.
pub fn pairs(rows: &[Row]) -> Vec<(f64, f64)> {
    rows.iter().filter_map(|row| Some((normal(row.y?), normal(row.x?)))).collect()
}

/// Each of the pairs once.
pub fn distinct_pairs(rows: &[Row]) -> Vec<(f64, f64)> {
    let mut pairs = pairs(rows);
    pairs.sort_by(|one, other| one.0.total_cmp(&other.0).then(one.1.total_cmp(&other.1)));
    pairs.dedup_by(|one, other| one.0.total_cmp(&other.0).is_eq() && one.1.total_cmp(&other.1).is_eq());
    pairs
}

/// What lies in the middle of sorted values.
pub fn middle<T: Copy>(values: &[T], between: impl Fn(T, T) -> T) -> Option<T> {
    let half = values.len() / 2;
    match values.len() {
        0 => None,
        even if even.is_multiple_of(2) => Some(between(values[half - 1], values[half])),
        _ => Some(values[half]),
    }
}

/// Rows by their key, and all of them under no key.
pub fn by_key(rows: &[Row]) -> BTreeMap<Option<&'static str>, Vec<Row>> {
    let mut groups: BTreeMap<Option<&'static str>, Vec<Row>> = BTreeMap::new();
    for row in rows {
        groups.entry(Some(row.k)).or_default().push(row.clone());
    }
    groups.insert(None, rows.to_vec());
    groups
}
