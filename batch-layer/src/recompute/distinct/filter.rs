//! The set of copies as a filter in a plan.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray};
use arrow::datatypes::{DataType, Int32Type, Int64Type};
use datafusion::common::exec_datafusion_err;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use records::decode::column as master_column;
use views::column;

use super::place::{Place, PlaceSet};
use super::search::Copies;
use crate::master_columns::field;

/// True for the rows that count: those that are not left out as copies.
pub(crate) fn keep_first(copies: &Arc<Copies>) -> Expr {
    function(Arc::clone(copies)).call(vec![field(column::PARTITION), field(column::OFFSET), field(master_column::ITEM)])
}

fn function(copies: Arc<Copies>) -> ScalarUDF {
    let signature = Signature::exact(vec![DataType::Int32, DataType::Int64, DataType::Int32], Volatility::Immutable);
    ScalarUDF::new_from_impl(KeepFirst { copies, signature })
}

/// The places that such a filter leaves out, for [`keep_first_of`] in another process; `None` of any other function.
/// Two bytes for each place, where few of its neighbours are left out; at most a bit for each offset beside one.
pub fn copies_of(function: &ScalarUDF) -> Option<Vec<u8>> {
    function.inner().downcast_ref::<KeepFirst>().map(|filter| filter.copies.places.to_bytes())
}

/// The filter that leaves these places out.
///
/// # Errors
/// If the bytes are none of [`copies_of`].
pub fn keep_first_of(bytes: &[u8]) -> Result<ScalarUDF> {
    let places = PlaceSet::from_bytes(bytes).ok_or_else(|| exec_datafusion_err!("a set of copies cannot be read"))?;
    Ok(function(Arc::new(Copies { places, ..Copies::default() })))
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
