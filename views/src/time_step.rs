//! The step of a dimension that is time in bins, `date_bin(INTERVAL '1 hour', time)` or `date_trunc('month', time)`:
//! which values it can have. Pure.
//!
//! Not here: recompute's buckets (`bucket.rs`), which are no dimensions.

use datafusion::common::ScalarValue;
use datafusion::logical_expr::Expr;
use positions::TimestampMicros;

use crate::date_bin::{DAY_MICROS, Stride};
use crate::or_null::operator_of;

const SECOND_MICROS: i64 = 1_000_000;
/// 1970-01-05, a Monday.
const MONDAY: i64 = 4 * DAY_MICROS;

/// How the values of a time dimension follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeStep {
    stride: Stride,
    origin: i64,
}

impl TimeStep {
    /// The step of a planned group key; none where it is not time in bins.
    pub(crate) fn of(key: &Expr) -> Option<Self> {
        match operator_of(key) {
            Expr::Alias(alias) => Self::of(&alias.expr),
            Expr::ScalarFunction(call) if call.func.name() == "date_bin" => Self::of_bins(&call.args),
            Expr::ScalarFunction(call) if call.func.name() == "date_trunc" => Self::of_unit(&call.args),
            _ => None,
        }
    }

    fn of_bins(arguments: &[Expr]) -> Option<Self> {
        let origin = match arguments.get(2) {
            None => 0,
            Some(Expr::Literal(ScalarValue::TimestampMicrosecond(Some(origin), _), _)) => *origin,
            Some(_) => return None,
        };
        match arguments.first()? {
            Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(stride)), _) => {
                Some(Self { stride: Stride::new(*stride).ok()?, origin })
            }
            _ => None,
        }
    }

    fn of_unit(arguments: &[Expr]) -> Option<Self> {
        let Expr::Literal(unit, _) = arguments.first()? else { return None };
        let (stride, origin) = match unit.try_as_str()??.to_ascii_lowercase().as_str() {
            "second" => (Stride::Micros(SECOND_MICROS), 0),
            "minute" => (Stride::Micros(60 * SECOND_MICROS), 0),
            "hour" => (Stride::Micros(3_600 * SECOND_MICROS), 0),
            "day" => (Stride::Micros(DAY_MICROS), 0),
            "week" => (Stride::Micros(7 * DAY_MICROS), MONDAY),
            "month" => (Stride::Months(1), 0),
            "quarter" => (Stride::Months(3), 0),
            "year" => (Stride::Months(12), 0),
            _ => return None,
        };
        Some(Self { stride, origin })
    }

    /// The value that holds an instant: the start of its bin.
    pub fn floor(self, at: TimestampMicros) -> TimestampMicros {
        TimestampMicros(self.stride.floor(at.0, self.origin))
    }

    /// The value behind one. None beyond the last instant.
    pub fn next(self, value: TimestampMicros) -> Option<TimestampMicros> {
        match self.stride {
            Stride::Micros(stride) => value.0.checked_add(stride).map(TimestampMicros),
            // No bin is longer, and none so short that a second one ends within.
            Stride::Months(months) => {
                let within = months.checked_mul(31 * DAY_MICROS).and_then(|longest| value.0.checked_add(longest))?;
                Some(self.floor(TimestampMicros(within)))
            }
        }
    }
}
