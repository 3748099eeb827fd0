//! `min_by(x, k)` and `max_by(x, k)`: the value that stands beside the least or the greatest key.
//!
//! State: `value` and `key` (of the types of the arguments), both NULL for a group without keys.
//! Guarantee: a function of the set of rows. Of equal keys the least value stays, NULL only where there is no other; a
//! row without a key is none. The order is that of `ordered.rs`.
//! Why so: keys are often equal (times to the second), and the row that came first is another one after another cut.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue, exec_err, internal_err, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility,
};

use super::extremes::Extreme;
use super::one_group::OneGroup;
use super::ordered::{Direction, Ordered, RowBytes, is_ordered};
use super::sketch::is_wanted;
use crate::sql_name::sql_name;

/// `min_by`, also called `arg_min`.
pub(super) fn min_by() -> AggregateUDF {
    function(Extreme::Least, "arg_min")
}

/// `max_by`, also called `arg_max`.
pub(super) fn max_by() -> AggregateUDF {
    function(Extreme::Greatest, "arg_max")
}

fn function(extreme: Extreme, alias: &str) -> AggregateUDF {
    let signature = Signature::user_defined(Volatility::Immutable);
    AggregateUDF::from(ExtremeBy { extreme, aliases: [alias.to_owned()], signature })
}

/// The function under its SQL names.
#[derive(Debug, PartialEq, Eq, Hash)]
struct ExtremeBy {
    extreme: Extreme,
    aliases: [String; 1],
    signature: Signature,
}

/// The types of value and key.
fn types(fields: &[FieldRef]) -> Result<[&DataType; 2]> {
    match fields {
        [value, key] => Ok([value.data_type(), key.data_type()]),
        _ => internal_err!("a value by its key has {} arguments", fields.len()),
    }
}

impl AggregateUDFImpl for ExtremeBy {
    fn name(&self) -> &str {
        match self.extreme {
            Extreme::Least => "min_by",
            Extreme::Greatest => "max_by",
        }
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let name = self.name();
        let [_, _] = arguments else {
            return plan_err!("'{name}' takes a value and a key, not {} arguments", arguments.len());
        };
        match arguments.iter().find(|argument| !is_ordered(argument)) {
            None => Ok(arguments.to_vec()),
            Some(other) => plan_err!("'{name}' does not take {}: its values have no order", sql_name(other)),
        }
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments.first() {
            Some(value) => Ok(value.clone()),
            None => plan_err!("'{}' takes a value and a key", self.name()),
        }
    }

    fn state_fields(&self, arguments: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let [value, key] = types(arguments.input_fields)?;
        let field = |(part, data_type): (&str, &DataType)| -> FieldRef {
            Arc::new(Field::new(format_state_name(arguments.name, part), data_type.clone(), true))
        };
        Ok([("value", value), ("key", key)].map(field).to_vec())
    }

    fn accumulator(&self, arguments: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let neutral = types(arguments.expr_fields)?.map(ScalarValue::try_from);
        let neutral = neutral.into_iter().collect::<Result<Vec<_>>>()?;
        Ok(Box::new(OneGroup::new(self.create_groups_accumulator(arguments)?, neutral)))
    }

    fn groups_accumulator_supported(&self, _arguments: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, arguments: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        let [value, key] = types(arguments.expr_fields)?;
        Ok(Box::new(ExtremesBy::new(self.extreme, value, key)?))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

struct ExtremesBy {
    /// The key, so that the one to keep comes first, then the value.
    ordered: Arc<Ordered>,
    /// Per group the first of its rows.
    kept: Vec<Option<RowBytes>>,
    size_bytes: usize,
}

impl ExtremesBy {
    fn new(extreme: Extreme, value: &DataType, key: &DataType) -> Result<Self> {
        let direction = match extreme {
            Extreme::Least => Direction::Ascending,
            Extreme::Greatest => Direction::Descending,
        };
        let ordered = Ordered::new(&[(key, direction), (value, Direction::Ascending)])?;
        Ok(Self::of(Arc::new(ordered)))
    }

    fn of(ordered: Arc<Ordered>) -> Self {
        Self { ordered, kept: Vec::new(), size_bytes: 0 }
    }

    /// The values of groups, and their keys.
    fn take(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let kept = emit_to.take_needed(&mut self.kept);
        self.size_bytes -= kept.iter().flatten().map(|row| row.len()).sum::<usize>();
        let mut columns = self.ordered.columns(kept.iter().map(Option::as_deref))?;
        columns.reverse();
        Ok(columns)
    }
}

impl GroupsAccumulator for ExtremesBy {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        let [value, key] = values else {
            return exec_err!("a value by its key is made of two columns, not of {}", values.len());
        };
        self.kept.resize(total_num_groups, None);
        let rows = self.ordered.rows(&[Arc::clone(key), Arc::clone(value)])?;
        for (row, &group) in group_indices.iter().enumerate() {
            if !is_wanted(key, opt_filter, row) {
                continue;
            }
            let (found, kept) = (rows.row(row).data(), &mut self.kept[group]);
            if kept.as_deref().is_none_or(|kept| found < kept) {
                self.size_bytes = self.size_bytes + found.len() - kept.as_deref().map_or(0, <[u8]>::len);
                *kept = Some(found.into());
            }
        }
        Ok(())
    }

    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        self.update_batch(values, group_indices, None, total_num_groups)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        self.take(emit_to)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        Ok(self.take(emit_to)?.swap_remove(0))
    }

    fn convert_to_state(&self, values: &[ArrayRef], opt_filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let mut one_each = Self::of(Arc::clone(&self.ordered));
        let rows: Vec<usize> = (0..values[0].len()).collect();
        one_each.update_batch(values, &rows, opt_filter, rows.len())?;
        one_each.state(EmitTo::All)
    }

    fn size(&self) -> usize {
        self.size_bytes + self.kept.capacity() * size_of::<Option<RowBytes>>() + self.ordered.size_bytes()
    }
}
