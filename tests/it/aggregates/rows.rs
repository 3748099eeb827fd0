//! Random rows that are hard on aggregates, as the oracle sees them and as events.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Decimal128Array, Float64Array, Int32Array, Int64Array, StringArray,
    TimestampMicrosecondArray,
};
use arrow::record_batch::RecordBatch;
use rand::Rng;
use rand::rngs::StdRng;
use views::SourceDefinition;

/// The source of all cases.
pub const SOURCE: &str = "CREATE UNBOUNDED EXTERNAL TABLE e (time TIMESTAMP NOT NULL, k VARCHAR, n BIGINT, \
    d DECIMAL(38, 2), c DECIMAL(10, 2), x DOUBLE, y DOUBLE, b BOOLEAN, s VARCHAR) \
    STORED AS JSON LOCATION 'kafka://e' OPTIONS (event_time 'time');\n";

/// The largest value of 38 digits.
pub const MOST: i128 = 10_i128.pow(38) - 1;

/// One event.
#[derive(Clone, Debug, Default)]
pub struct Row {
    pub k: &'static str,
    pub n: Option<i64>,
    pub d: Option<i128>,
    pub c: Option<i128>,
    pub x: Option<f64>,
    pub y: Option<f64>,
    pub b: Option<bool>,
    pub s: Option<&'static str>,
}

/// What the numbers of a case are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Small ones, many of them equal.
    Plain,
    /// With NaN, both infinities and both zeros among them.
    Special,
    /// Small differences of large numbers.
    Offset,
    /// The ends of BIGINT and DECIMAL(38, 2).
    Ends,
    /// All equal, or missing.
    Constant,
}

pub const KINDS: [Kind; 5] = [Kind::Plain, Kind::Special, Kind::Offset, Kind::Ends, Kind::Constant];

fn float(kind: Kind, random: &mut StdRng) -> f64 {
    let small = f64::from(random.random_range(-8..8)) * 0.25;
    match kind {
        Kind::Special => match random.random_range(0..8) {
            0 => f64::NAN,
            1 => -f64::NAN,
            2 => f64::INFINITY,
            3 => f64::NEG_INFINITY,
            4 => -0.0,
            5 => 0.0,
            _ => small,
        },
        Kind::Offset => 1e15 + small,
        Kind::Constant => 0.1,
        _ => small,
    }
}

/// `count` rows of a kind.
pub fn random_rows(kind: Kind, count: usize, random: &mut StdRng) -> Vec<Row> {
    let fraction = [0.0, 0.2, 0.9][random.random_range(0..3)];
    let row = |random: &mut StdRng| {
        let is_end = kind == Kind::Ends;
        let n = match random.random_range(0..4) {
            0 if is_end => i64::MAX,
            1 if is_end => i64::MIN,
            _ if kind == Kind::Constant => 7,
            _ => random.random_range(-5..5),
        };
        let d = match random.random_range(0..4) {
            0 if is_end => MOST,
            1 if is_end => -MOST,
            _ => i128::from(random.random_range(-500..500)),
        };
        Row {
            k: ["a", "b", "c"][random.random_range(0..3)],
            n: random.random_bool(1.0 - fraction).then_some(n),
            d: random.random_bool(1.0 - fraction).then_some(d),
            c: random.random_bool(1.0 - fraction).then(|| i128::from(random.random_range(-300..300))),
            x: random.random_bool(1.0 - fraction).then(|| float(kind, random)),
            y: random.random_bool(1.0 - fraction).then(|| float(kind, random)),
            b: random.random_bool(1.0 - fraction).then(|| random.random_bool(0.8)),
            s: random.random_bool(1.0 - fraction).then(|| ["p", "q", "r", ""][random.random_range(0..4)]),
        }
    };
    (0..count).map(|_| row(random)).collect()
}

/// The rows, each with its place in the log, as events of the source.
pub fn events(source: &SourceDefinition, rows: &[(usize, Row)]) -> RecordBatch {
    let decimals = |values: Vec<Option<i128>>, precision| -> ArrayRef {
        Arc::new(Decimal128Array::from(values).with_precision_and_scale(precision, 2).unwrap())
    };
    let column = |name: &str| -> ArrayRef {
        let rows = rows.iter();
        match name {
            "k" => Arc::new(StringArray::from_iter_values(rows.map(|(_, row)| row.k))),
            "n" => Arc::new(rows.map(|(_, row)| row.n).collect::<Int64Array>()),
            "d" => decimals(rows.map(|(_, row)| row.d).collect(), 38),
            "c" => decimals(rows.map(|(_, row)| row.c).collect(), 10),
            "x" => Arc::new(rows.map(|(_, row)| row.x).collect::<Float64Array>()),
            "y" => Arc::new(rows.map(|(_, row)| row.y).collect::<Float64Array>()),
            "b" => Arc::new(rows.map(|(_, row)| row.b).collect::<BooleanArray>()),
            "s" => Arc::new(rows.map(|(_, row)| row.s).collect::<StringArray>()),
            "_partition" => Arc::new(Int32Array::from_iter_values(rows.map(|_| 0))),
            "_offset" => Arc::new(Int64Array::from_iter_values(rows.map(|(place, _)| *place as i64))),
            _ => Arc::new(
                TimestampMicrosecondArray::from_iter_values(rows.map(|(place, _)| *place as i64)).with_timezone("UTC"),
            ),
        }
    };
    let columns = source.events.fields().iter().map(|field| column(field.name())).collect();
    RecordBatch::try_new(Arc::clone(&source.events), columns).unwrap()
}
