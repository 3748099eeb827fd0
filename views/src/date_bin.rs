//! `date_bin` on microseconds, for every instant that a TIMESTAMP can hold.
//!
//! Guarantee: equal to the engine's own function wherever that has an answer, and total: beyond the years 1677 to 2262
//! the engine's goes through nanoseconds and fails, and one event with a zero date would stop its stream.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::{DataType, Field, FieldRef, IntervalMonthDayNano, IntervalUnit, TimestampMicrosecondType};
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use positions::calendar::{Date, date_of, day_of};

use crate::storable::{utc_micros, utc_scalar};

pub(crate) const DAY_MICROS: i64 = 86_400_000_000;

/// The function under its SQL name: `date_bin(stride, time [, origin])`.
pub(crate) fn date_bin() -> ScalarUDF {
    ScalarUDF::from(DateBin { signature: Signature::user_defined(Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct DateBin {
    signature: Signature,
}

impl ScalarUDFImpl for DateBin {
    fn name(&self) -> &str {
        "date_bin"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let is_time = |data_type: &DataType| {
            matches!(data_type, DataType::Timestamp(_, _) | DataType::Date32 | DataType::Date64 | DataType::Null)
                || data_type.is_string()
        };
        let [stride, times @ ..] = arguments else {
            return plan_err!("'date_bin' takes a stride and a time");
        };
        if !matches!(stride, DataType::Interval(_)) || !(1..=2).contains(&times.len()) || !times.iter().all(is_time) {
            return plan_err!("'date_bin' takes an INTERVAL, a TIMESTAMP and perhaps an origin");
        }
        if let Some(zone) = times.iter().find_map(other_zone) {
            return plan_err!(
                "'date_bin' counts in UTC and would lose the time zone {zone}; write \
                 date_trunc('day', time AT TIME ZONE '{zone}') for local days, or date_bin of the time itself"
            );
        }
        let interval = DataType::Interval(IntervalUnit::MonthDayNano);
        Ok(std::iter::once(interval).chain(times.iter().map(|_| utc_micros())).collect())
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(utc_micros())
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs) -> Result<FieldRef> {
        // Refused while planning: a view with a stride of zero would fail on its first event.
        if let Some(Some(ScalarValue::IntervalMonthDayNano(Some(stride)))) = arguments.scalar_arguments.first() {
            Stride::new(*stride)?;
        }
        let is_nullable = arguments.arg_fields.iter().any(|field| field.is_nullable());
        Ok(Arc::new(Field::new(self.name(), utc_micros(), is_nullable)))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let null = ColumnarValue::Scalar(utc_scalar(None));
        let (stride, time, origin) = match arguments.args.as_slice() {
            [stride, time] => (stride, time, 0),
            [stride, time, ColumnarValue::Scalar(ScalarValue::TimestampMicrosecond(Some(origin), _))] => {
                (stride, time, *origin)
            }
            [_, _, ColumnarValue::Scalar(_)] => return Ok(null),
            _ => return exec_err!("the origin of 'date_bin' must be a constant"),
        };
        let stride = match stride {
            ColumnarValue::Scalar(ScalarValue::IntervalMonthDayNano(Some(stride))) => Stride::new(*stride)?,
            ColumnarValue::Scalar(_) => return Ok(null),
            ColumnarValue::Array(_) => return exec_err!("the stride of 'date_bin' must be a constant"),
        };
        Ok(match time {
            ColumnarValue::Scalar(ScalarValue::TimestampMicrosecond(Some(time), zone)) => ColumnarValue::Scalar(
                ScalarValue::TimestampMicrosecond(Some(stride.floor(*time, origin)), zone.clone()),
            ),
            ColumnarValue::Scalar(_) => null,
            ColumnarValue::Array(times) => {
                let times = times.as_primitive::<TimestampMicrosecondType>();
                let floors = times.unary::<_, TimestampMicrosecondType>(|time| stride.floor(time, origin));
                ColumnarValue::Array(Arc::new(floors.with_timezone("UTC")))
            }
        })
    }
}

/// The time zone of a time that is not in UTC.
fn other_zone(data_type: &DataType) -> Option<&str> {
    let DataType::Timestamp(_, Some(zone)) = data_type else { return None };
    Some(zone.as_ref()).filter(|zone| !matches!(*zone, "UTC" | "+00:00" | "Z" | "Etc/UTC"))
}

/// How wide the bins are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stride {
    /// So many microseconds.
    Micros(i64),
    /// So many months.
    Months(i64),
}

impl Stride {
    /// Of an interval.
    ///
    /// # Errors
    /// Where it is not above zero, or mixes months with days.
    pub(crate) fn new(interval: IntervalMonthDayNano) -> Result<Self> {
        let (months, days, nanos) = (interval.months, interval.days, interval.nanoseconds);
        if months > 0 && days == 0 && nanos == 0 {
            return Ok(Self::Months(months.into()));
        }
        let micros = i64::from(days).checked_mul(DAY_MICROS).and_then(|micros| micros.checked_add(nanos / 1000));
        match micros {
            Some(micros) if months == 0 && micros > 0 && nanos % 1000 == 0 => Ok(Self::Micros(micros)),
            _ => plan_err!(
                "the stride of 'date_bin' must be above zero, in whole microseconds, and not mix months with days"
            ),
        }
    }

    /// The start of the bin that `time` falls into, the earliest instant where that lies before all instants.
    pub(crate) fn floor(self, time: i64, origin: i64) -> i64 {
        match self {
            Self::Micros(stride) => {
                let behind = (i128::from(time) - i128::from(origin)).rem_euclid(i128::from(stride));
                i64::try_from(i128::from(time) - behind).unwrap_or(i64::MIN)
            }
            Self::Months(stride) => floor_months(stride, time, origin),
        }
    }
}

/// Bins of months are counted from the month of the origin and start at its day and time of day.
fn floor_months(stride: i64, time: i64, origin: i64) -> i64 {
    let first = date_of(origin.div_euclid(DAY_MICROS));
    let time_of_day = origin.rem_euclid(DAY_MICROS);
    let start = |bin: i64| {
        let months = first.months() + bin * stride;
        // A month without that day starts its bin on its last day.
        let days = Date::last_day(months).min(first.day);
        let micros = i128::from(day_of(months, days)) * i128::from(DAY_MICROS) + i128::from(time_of_day);
        i64::try_from(micros).unwrap_or(i64::MIN)
    };
    let bin = (date_of(time.div_euclid(DAY_MICROS)).months() - first.months()).div_euclid(stride);
    let at = start(bin);
    if at > time { start(bin - 1) } else { at }
}
