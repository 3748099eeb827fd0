//! Buckets: the unit of recompute, a stretch of event time (UTC) that a batch version replaces as a whole.
//!
//! Guarantee: [`bucket_of`] and [`bucket_expr`] agree on every instant, before 1970 too.

use std::str::FromStr;

use datafusion::arrow::datatypes::IntervalMonthDayNano;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, lit};

use crate::date_bin::{DAY_MICROS, date_bin};
use crate::storable::utc_scalar;
use positions::TimestampMicros;
use positions::calendar::{date_of, day_of};

const HOUR_MICROS: i64 = 3_600_000_000;

/// The unit of recompute: the stretch of event time that is replaced as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bucket {
    /// The hour of the event time.
    Hour,
    /// The day of the event time (UTC).
    Day,
    /// The month of the event time (UTC).
    Month,
    /// One bucket for everything: a recompute reads all events.
    None,
}

impl FromStr for Bucket {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text.to_ascii_lowercase().as_str() {
            "hour" => Ok(Self::Hour),
            "day" => Ok(Self::Day),
            "month" => Ok(Self::Month),
            "none" => Ok(Self::None),
            _ => Err(()),
        }
    }
}

impl Bucket {
    /// The word that stands for it in `WITH (bucket = '...')`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Month => "month",
            Self::None => "none",
        }
    }
}

/// The start of the bucket that an instant falls into; 1970-01-01 for [`Bucket::None`].
pub fn bucket_of(bucket: Bucket, time: TimestampMicros) -> TimestampMicros {
    match bucket {
        Bucket::Hour => floor_to(time, HOUR_MICROS),
        Bucket::Day => floor_to(time, DAY_MICROS),
        Bucket::Month => {
            let date = date_of(time.0.div_euclid(DAY_MICROS));
            TimestampMicros(day_of(date.months(), 1).checked_mul(DAY_MICROS).unwrap_or(i64::MIN))
        }
        Bucket::None => TimestampMicros(0),
    }
}

/// The same as an expression over a TIMESTAMP (microseconds, UTC); null stays null, except for [`Bucket::None`].
pub fn bucket_expr(bucket: Bucket, time: Expr) -> Expr {
    let (months, days, nanos) = match bucket {
        Bucket::Hour => (0, 0, HOUR_MICROS * 1000),
        Bucket::Day => (0, 1, 0),
        Bucket::Month => (1, 0, 0),
        Bucket::None => return lit(utc_scalar(Some(TimestampMicros(0)))),
    };
    let stride = ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano::new(months, days, nanos)));
    date_bin().call(vec![lit(stride), time])
}

fn floor_to(time: TimestampMicros, width: i64) -> TimestampMicros {
    TimestampMicros(time.0.checked_sub(time.0.rem_euclid(width)).unwrap_or(i64::MIN))
}
