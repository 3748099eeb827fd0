//! `mode(x)`: the most frequent value; `approx_top_k(x, k[, capacity])`: the `k` most frequent ones with their counts.
//!
//! Of equally frequent values the least comes first; `mode() WITHIN GROUP (ORDER BY x DESC)` takes the greatest. NULL
//! is left out, NaN is a value. `approx_top_k` gives a list of `value`, `count` and `error`, the most frequent first: a
//! value occurs at least `count` and at most `count + error` times.
//! Not here: the counts, and their bound (`counted.rs`).
//! Why no DISTINCT: each of the values would occur once.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue, internal_err, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, Signature, Volatility};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Literal;

use super::counted::{CountedGroups, Question, states, top_of};
use super::one_group::OneGroup;
use super::ordered::{Direction, is_ordered};
use crate::sql_name::sql_name;

/// The capacity of a call that names none; `k` where that is more.
const CAPACITY: usize = 1_000;
/// The largest capacity, and so the largest `k`.
const MAX_CAPACITY: usize = 10_000;

/// How far a count of a call that names no capacity may be off, as a share of all values.
pub(super) const BOUND: f64 = bound_of(CAPACITY);

/// `mode`.
pub(super) fn mode() -> AggregateUDF {
    function(Kind::Mode)
}

/// `approx_top_k`.
pub(super) fn approx_top_k() -> AggregateUDF {
    function(Kind::Top)
}

/// How far a count of a call of `approx_top_k` with these arguments may be off, as a share of all values.
pub(super) fn bound(arguments: &[Arc<dyn PhysicalExpr>]) -> f64 {
    sizes(arguments).map_or(BOUND, |(_, capacity)| bound_of(capacity))
}

const fn bound_of(capacity: usize) -> f64 {
    1.0 / (capacity as f64 + 1.0)
}

fn function(kind: Kind) -> AggregateUDF {
    AggregateUDF::from(Frequent { kind, signature: Signature::user_defined(Volatility::Immutable) })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Mode,
    Top,
}

/// The functions under their SQL names.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Frequent {
    kind: Kind,
    signature: Signature,
}

impl Frequent {
    fn question(&self, arguments: &AccumulatorArgs) -> Result<Question> {
        if arguments.is_distinct {
            return plan_err!("{} cannot be made of distinct values: each of them occurs once", self.name());
        }
        match self.kind {
            Kind::Mode => {
                let is_descending = arguments.order_bys.first().is_some_and(|order| order.options.descending);
                Ok(Question::Mode(if is_descending { Direction::Descending } else { Direction::Ascending }))
            }
            Kind::Top => sizes(arguments.exprs).map(|(k, capacity)| Question::Top { k, capacity }),
        }
    }
}

impl AggregateUDFImpl for Frequent {
    fn name(&self) -> &str {
        match self.kind {
            Kind::Mode => "mode",
            Kind::Top => "approx_top_k",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let (name, count) = (self.name(), arguments.len());
        let value = match (self.kind, arguments) {
            (Kind::Mode, [value]) => value,
            (Kind::Mode, _) => return plan_err!("'{name}' takes one value, not {count} arguments"),
            (Kind::Top, [value, k]) if k.is_integer() => value,
            (Kind::Top, [value, k, capacity]) if k.is_integer() && capacity.is_integer() => value,
            (Kind::Top, _) => {
                return plan_err!(
                    "'{name}' takes a value, how many are asked for, and perhaps a capacity: whole numbers"
                );
            }
        };
        if !is_ordered(value) {
            return plan_err!("'{name}' does not take {}: its values have no order", sql_name(value));
        }
        let numbers = std::iter::repeat_n(DataType::Int64, count - 1);
        Ok(std::iter::once(value.clone()).chain(numbers).collect())
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match (self.kind, arguments.first()) {
            (_, None) => plan_err!("'{}' takes a value", self.name()),
            (Kind::Mode, Some(value)) => Ok(value.clone()),
            (Kind::Top, Some(value)) => Ok(top_of(value)),
        }
    }

    fn state_fields(&self, arguments: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let field = |(part, data_type): (&str, DataType)| -> FieldRef {
            Arc::new(Field::new(format_state_name(arguments.name, part), data_type, true))
        };
        Ok(states(value_type(arguments.input_fields)?).map(field).to_vec())
    }

    fn accumulator(&self, arguments: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let neutral = states(value_type(arguments.expr_fields)?).map(|(_, data_type)| ScalarValue::try_from(data_type));
        let neutral = neutral.into_iter().collect::<Result<Vec<_>>>()?;
        Ok(Box::new(OneGroup::new(self.create_groups_accumulator(arguments)?, neutral)))
    }

    fn groups_accumulator_supported(&self, _arguments: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, arguments: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        let question = self.question(&arguments)?;
        Ok(Box::new(CountedGroups::new(question, value_type(arguments.expr_fields)?)?))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn supports_within_group_clause(&self) -> bool {
        self.kind == Kind::Mode
    }
}

fn value_type(fields: &[FieldRef]) -> Result<&DataType> {
    match fields.first() {
        Some(value) => Ok(value.data_type()),
        None => internal_err!("values are counted of at least one argument"),
    }
}

/// How many values a call of `approx_top_k` asks for, and how many it holds.
fn sizes(arguments: &[Arc<dyn PhysicalExpr>]) -> Result<(usize, usize)> {
    let written = |place: usize, least: usize| {
        let literal = arguments.get(place).and_then(|argument| argument.downcast_ref::<Literal>());
        let Some(ScalarValue::Int64(Some(number))) = literal.map(Literal::value) else { return None };
        usize::try_from(*number).ok().filter(|number| (least..=MAX_CAPACITY).contains(number))
    };
    let Some(k) = written(1, 1) else {
        return plan_err!("approx_top_k asks for a written number of values, from 1 to {MAX_CAPACITY}");
    };
    match arguments.len() {
        2 => Ok((k, CAPACITY.max(k))),
        _ => match written(2, k) {
            Some(capacity) => Ok((k, capacity)),
            None => {
                plan_err!("the capacity of approx_top_k is a written number, from its {k} values to {MAX_CAPACITY}")
            }
        },
    }
}
