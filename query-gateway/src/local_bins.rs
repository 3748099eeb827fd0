//! Bins of a view's time rolled up to hours, days, weeks or months of a time zone: `bucket=day&tz=Europe/Berlin`.
//!
//! In: states, each of one bin of the view. Out: the same states, with the start of the local span that holds the bin
//! in the place of its own start; whoever merges them by it has the states of the spans.
//! Guarantee: no bin is counted to a span that does not hold the whole of it: where a span begins within a bin, the
//! question is refused, with the bins that would do.
//! Not here: where spans begin (`local_time.rs`).
//! Why so: states merge, so days of any zone come of a view by the hour, uniques and percentiles among them.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::TimestampMicrosecondType;
use positions::TimestampMicros;
use serde::Serialize;
use views::{TimeStep, ViewDefinition};

use crate::GatewayError;
use crate::json::instant;
use crate::local_time::{CalendarUnit, Zone};

const MINUTE_MICROS: i64 = 60_000_000;
/// Bins to propose, in minutes, the widest first.
const WIDTHS: [i64; 4] = [60, 30, 15, 1];
/// From summer to winter, in microseconds.
const HALF_A_YEAR: i64 = 182 * 24 * 60 * MINUTE_MICROS;

/// Local spans in the place of a dimension's bins.
#[derive(Clone, Debug)]
pub(crate) struct LocalBins {
    view: String,
    name: String,
    /// The time dimension.
    dimension: usize,
    step: TimeStep,
    unit: CalendarUnit,
    zone: Zone,
}

/// What an answer says of the spans that a dimension shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LocalBinsNote {
    /// The dimension whose values are starts of spans, as instants.
    pub dimension: String,
    /// The length of a span: `hour`, `day`, `week`, `month`, `quarter` or `year`.
    pub unit: &'static str,
    /// The time zone that they are counted in.
    pub tz: String,
}

impl LocalBins {
    /// Of a time dimension, in an answer by these dimensions.
    ///
    /// # Errors
    /// [`GatewayError::BadRequest`] where the dimension is not time in bins, or not in the answer.
    pub(crate) fn new(
        view: &ViewDefinition,
        dimension: usize,
        by: &[String],
        (unit, zone): (CalendarUnit, Zone),
    ) -> Result<Self, GatewayError> {
        let of = &view.dimensions[dimension];
        let Some(step) = of.step else {
            let reason = format!("`bucket` needs time in bins, and `{}` is none that can be told", of.name);
            return Err(GatewayError::bad_with_hint(reason, "group the view by date_bin or date_trunc of the time"));
        };
        if !by.contains(&of.name) {
            let reason = format!("`bucket` needs `{}` in the answer", of.name);
            return Err(GatewayError::bad_with_hint(reason, format!("add `{}` to `by`", of.name)));
        }
        Ok(Self { view: view.name.to_string(), name: of.name.clone(), dimension, step, unit, zone })
    }

    /// Which dimension they stand in.
    pub(crate) fn dimension(&self) -> usize {
        self.dimension
    }

    /// For the answer.
    pub(crate) fn note(&self) -> LocalBinsNote {
        LocalBinsNote { dimension: self.name.clone(), unit: self.unit.as_str(), tz: self.zone.name().to_owned() }
    }

    /// As parameters of a request.
    pub(crate) fn written(&self) -> String {
        format!("{}&tz={}", self.unit.as_str(), self.zone.name())
    }

    /// The states with the starts of spans; null stays null. Cost: a look-up for each row.
    ///
    /// # Errors
    /// [`GatewayError::BadRequest`] where a span begins within a bin, or a time is beyond all calendars.
    pub(crate) fn apply(&self, states: Vec<RecordBatch>) -> Result<Vec<RecordBatch>, GatewayError> {
        let mut known: HashMap<i64, i64> = HashMap::new();
        let mut start_of = |bin: i64| -> Result<i64, GatewayError> {
            if let Some(start) = known.get(&bin) {
                return Ok(*start);
            }
            let (start, _) = self.span(bin)?;
            known.insert(bin, start);
            Ok(start)
        };
        let apply = |rows: RecordBatch| -> Result<RecordBatch, GatewayError> {
            let bins = rows.column(self.dimension).as_primitive::<TimestampMicrosecondType>().iter();
            let starts = bins.map(|bin| bin.map(&mut start_of).transpose());
            let starts: TimestampMicrosecondArray = starts.collect::<Result<_, GatewayError>>()?;
            let mut columns: Vec<ArrayRef> = rows.columns().to_vec();
            columns[self.dimension] = Arc::new(starts.with_timezone("UTC"));
            Ok(RecordBatch::try_new(rows.schema(), columns)?)
        };
        states.into_iter().map(apply).collect()
    }

    /// The starts of all spans that have a part in `[from, to)`; none where there are more than so many.
    ///
    /// # Errors
    /// As [`Self::apply`].
    pub(crate) fn starts_between(&self, from: i64, to: i64, most: usize) -> Result<Option<Vec<i64>>, GatewayError> {
        let (mut starts, mut at) = (Vec::new(), from);
        while at < to {
            let (start, end) = self.span(at)?;
            starts.push(start);
            if starts.len() > most {
                return Ok(None);
            }
            at = end;
        }
        Ok(Some(starts))
    }

    /// The span that holds an instant, if bins begin where it does and where it ends. Those of half a year later must,
    /// too: a question shall not be answered in winter and refused in summer.
    fn span(&self, at: i64) -> Result<(i64, i64), GatewayError> {
        let beyond = || {
            let reason = format!("`{}` has times that no calendar reaches", self.name);
            GatewayError::bad_with_hint(reason, "leave them out with `from` and `to`")
        };
        let span = self.zone.span(self.unit, at).ok_or_else(beyond)?;
        let later = at.checked_add(HALF_A_YEAR).and_then(|later| self.zone.span(self.unit, later));
        for (from, to) in [Some(span), later].into_iter().flatten() {
            for border in [from, to] {
                if self.step.floor(TimestampMicros(border)).0 != border {
                    return Err(self.unfit(border));
                }
            }
        }
        Ok(span)
    }

    fn unfit(&self, border: i64) -> GatewayError {
        let (unit, zone) = (self.unit.as_str(), self.zone.name());
        let at = instant(TimestampMicros(border)).unwrap_or_default();
        let article = if self.unit == CalendarUnit::Hour { "an" } else { "a" };
        let reason = format!(
            "{article} {unit} of {zone} begins at {at}, within a bin of `{}`: view {} cannot be rolled up to it",
            self.name, self.view
        );
        let width = WIDTHS.iter().find(|minutes| border.rem_euclid(**minutes * MINUTE_MICROS) == 0);
        let hint = match width {
            Some(minutes) => {
                format!(
                    "ask a view that is grouped by date_bin(INTERVAL '{minutes} minutes', ...), or with another `tz`"
                )
            }
            None => "leave times of former offsets out with `from`".to_owned(),
        };
        GatewayError::bad_with_hint(reason, hint)
    }
}
