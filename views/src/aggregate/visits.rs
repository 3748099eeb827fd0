//! `visits(user, time, gap)`: into how many visits the events of a group fall; `bounces`, how many of these are one
//! event alone; `bounce_rate`, the part of these.
//!
//! A visit is a stretch of events of one user in which no two that follow each other are further apart than the gap.
//! Events without a user or a time are left out. Two events of one user at one instant are one visit, and no bounce.
//! Not here: users and their visits (`visitors.rs`, `visit_list.rs`).
//! Why up to and including the gap: `time - lag(time) > gap` begins a visit in the SQL that is written for this
//! everywhere, and windows of sessions in Flink and Kafka Streams are joined at the gap, too.
//! Why a written gap: states of unequal gaps have no merge.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, IntervalUnit, TimeUnit};
use datafusion::common::{Result, ScalarValue, internal_err, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, Signature, Volatility};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Literal;

use super::one_group::OneGroup;
use super::ordered::is_ordered;
use super::visitors::{Question, VisitorGroups, states};
use crate::date_bin::Stride;
use crate::sql_name::sql_name;

/// `visits`.
pub(super) fn visits() -> AggregateUDF {
    function(Question::Visits)
}

/// `bounces`.
pub(super) fn bounces() -> AggregateUDF {
    function(Question::Bounces)
}

/// `bounce_rate`.
pub(super) fn bounce_rate() -> AggregateUDF {
    function(Question::BounceRate)
}

fn function(question: Question) -> AggregateUDF {
    AggregateUDF::from(Visits { question, signature: Signature::user_defined(Volatility::Immutable) })
}

/// The functions under their SQL names.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Visits {
    question: Question,
    signature: Signature,
}

impl AggregateUDFImpl for Visits {
    fn name(&self) -> &str {
        match self.question {
            Question::Visits => "visits",
            Question::Bounces => "bounces",
            Question::BounceRate => "bounce_rate",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let name = self.name();
        let [user, DataType::Timestamp(_, zone), DataType::Interval(_)] = arguments else {
            return plan_err!(
                "'{name}' takes a user, a TIMESTAMP and an INTERVAL: {name}(user, time, INTERVAL '30 minutes')"
            );
        };
        if !is_ordered(user) {
            return plan_err!("'{name}' does not take {}: its values have no order", sql_name(user));
        }
        let time = DataType::Timestamp(TimeUnit::Microsecond, zone.clone());
        Ok(vec![user.clone(), time, DataType::Interval(IntervalUnit::MonthDayNano)])
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(match self.question {
            Question::Visits | Question::Bounces => DataType::Int64,
            Question::BounceRate => DataType::Float64,
        })
    }

    fn state_fields(&self, arguments: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let field = |(part, data_type): (&str, DataType)| -> FieldRef {
            Arc::new(Field::new(format_state_name(arguments.name, part), data_type, true))
        };
        Ok(states(user_type(arguments.input_fields)?).map(field).to_vec())
    }

    fn accumulator(&self, arguments: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let neutral = states(user_type(arguments.expr_fields)?).map(|(_, data_type)| ScalarValue::try_from(data_type));
        let neutral = neutral.into_iter().collect::<Result<Vec<_>>>()?;
        Ok(Box::new(OneGroup::new(self.create_groups_accumulator(arguments)?, neutral)))
    }

    fn groups_accumulator_supported(&self, _arguments: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, arguments: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        let name = self.name();
        if arguments.is_distinct {
            return plan_err!("{name} cannot be made of distinct values: an event that occurs twice is two events");
        }
        let Some(gap_micros) = gap_micros(arguments.exprs) else {
            return plan_err!(
                "the gap of {name} is a written INTERVAL above zero, of days or less: INTERVAL '30 minutes'"
            );
        };
        Ok(Box::new(VisitorGroups::new(self.question, gap_micros, user_type(arguments.expr_fields)?)?))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        match self.question {
            Question::Visits | Question::Bounces => Ok(ScalarValue::Int64(Some(0))),
            Question::BounceRate => ScalarValue::try_from(data_type),
        }
    }
}

fn user_type(fields: &[FieldRef]) -> Result<&DataType> {
    match fields.first() {
        Some(user) => Ok(user.data_type()),
        None => internal_err!("visits are counted of a user"),
    }
}

/// The longest pause within a visit; none where it is not written, or no length of time.
fn gap_micros(arguments: &[Arc<dyn PhysicalExpr>]) -> Option<u64> {
    let literal = arguments.get(2).and_then(|argument| argument.downcast_ref::<Literal>())?;
    let ScalarValue::IntervalMonthDayNano(Some(gap)) = literal.value() else { return None };
    match Stride::new(*gap) {
        Ok(Stride::Micros(micros)) => Some(micros.unsigned_abs()),
        _ => None,
    }
}
