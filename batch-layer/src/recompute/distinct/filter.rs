//! The set of copies as a filter in a plan.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray};
use arrow::datatypes::{DataType, Int32Type, Int64Type};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use records::decode::column as master_column;
use views::column;

use super::place::Place;
use super::search::Copies;
use crate::master_columns::field;

/// True for the rows that count: those that are not left out as copies.
pub(crate) fn keep_first(copies: &Arc<Copies>) -> Expr {
    let signature = Signature::exact(vec![DataType::Int32, DataType::Int64, DataType::Int32], Volatility::Immutable);
    let function = ScalarUDF::new_from_impl(KeepFirst { copies: Arc::clone(copies), signature });
    function.call(vec![field(column::PARTITION), field(column::OFFSET), field(master_column::ITEM)])
}

/// `is_first_copy(_partition, _offset, _item)` for one set of copies.
#[derive(Clone, Debug)]
struct KeepFirst {
    copies: Arc<Copies>,
    signature: Signature,
}

impl PartialEq for KeepFirst {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.copies, &other.copies)
    }
}

impl Eq for KeepFirst {}

impl Hash for KeepFirst {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.copies).hash(state);
    }
}

impl ScalarUDFImpl for KeepFirst {
    fn name(&self) -> &str {
        "is_first_copy"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let partitions = arrays[0].as_primitive::<Int32Type>();
        let offsets = arrays[1].as_primitive::<Int64Type>();
        let items = arrays[2].as_primitive::<Int32Type>();
        let mut reader = self.copies.places.reader();
        let places = partitions.values().iter().zip(offsets.values()).zip(items.values());
        let verdicts = places.map(|((partition, offset), item)| {
            let place = Place::new(*partition, *offset, *item);
            let place = place.map_err(|error| DataFusionError::External(error.into()))?;
            Ok(!reader.contains(place))
        });
        let verdicts = verdicts.collect::<Result<Vec<bool>>>()?;
        Ok(ColumnarValue::Array(Arc::new(BooleanArray::from(verdicts))))
    }
}
