//! Buckets: the unit of recompute, a stretch of event time (UTC) that a batch version replaces as a whole.
//!
//! Guarantee: [`bucket_of`] and [`bucket_expr`] agree on every instant, before 1970 too.

use std::str::FromStr;

use datafusion::arrow::datatypes::{DataType, IntervalMonthDayNano, TimeUnit};
use datafusion::common::ScalarValue;
use datafusion::functions::datetime::expr_fn::date_bin;
use datafusion::logical_expr::{Expr, lit};

use crate::{Bucket, TimestampMicros};

const HOUR_MICROS: i64 = 3_600_000_000;
const DAY_MICROS: i64 = 24 * HOUR_MICROS;

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
            let days = time.0.div_euclid(DAY_MICROS);
            TimestampMicros(first_of_month(days).saturating_mul(DAY_MICROS))
        }
        Bucket::None => TimestampMicros(0),
    }
}

/// The same as an expression over a TIMESTAMP (microseconds, UTC); null stays null, except for [`Bucket::None`].
pub fn bucket_expr(bucket: Bucket, time: Expr) -> Expr {
    let instant = |micros| lit(ScalarValue::TimestampMicrosecond(Some(micros), Some("UTC".into())));
    let stride = |months, days, nanos| {
        lit(ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano::new(months, days, nanos))))
    };
    let floor = match bucket {
        Bucket::Hour => date_bin(stride(0, 0, HOUR_MICROS * 1000), time, instant(0)),
        Bucket::Day => date_bin(stride(0, 1, 0), time, instant(0)),
        Bucket::Month => date_bin(stride(1, 0, 0), time, instant(0)),
        Bucket::None => return instant(0),
    };
    datafusion::logical_expr::cast(floor, DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())))
}

fn floor_to(time: TimestampMicros, width: i64) -> TimestampMicros {
    TimestampMicros(time.0.div_euclid(width).saturating_mul(width))
}

/// The day number of the first day of the month that a day lies in, counted from 1970-01-01.
///
/// # Source
/// Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.
fn first_of_month(days: i64) -> i64 {
    let shifted = days + 719_468;
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month + 2) / 5;
    days - day_of_month
}
