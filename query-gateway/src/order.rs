//! The order of an answer's rows, and one page of it.
//!
//! In: the groups of an answer, sort keys, and perhaps the key of the last row of the page before. Out: the rows of the
//! page in order, how many groups there are, and the key to go on from where rows are left.
//! Guarantee: pages that follow each other show each group once, and none is left out, as long as the answer stays the
//! same. A group that comes or moves between two pages shows where its key stands behind the last row shown, whatever
//! came before it: pages are parted by keys, never by counts.
//! Not here: cursors as clients see them (`cursor.rs`).
//! Why so: Arrow's row format makes of all sort keys one text of bytes in the order of the answer, so a key says where
//! to go on without a word about its types.

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::{SortOptions, take_record_batch};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};

/// One sort key of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OrderKey {
    /// The column of the answer.
    pub column: String,
    /// Largest first.
    pub is_descending: bool,
}

/// Which rows of an answer are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Sort keys; ties are broken by the dimensions.
    pub order: Vec<OrderKey>,
    /// At most this many rows.
    pub limit: usize,
    /// Only rows behind the one with this key.
    pub after: Option<Vec<u8>>,
}

/// Some rows of an answer, and what is told of the others.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    /// The rows, in order.
    pub rows: RecordBatch,
    /// How many groups the whole answer has.
    pub groups: usize,
    /// The key of the last row, where more rows follow.
    pub last: Option<Vec<u8>>,
}

/// The rows that are wanted of an answer whose groups differ in the dimensions `by`. Nulls come last. Cost: encodes the
/// sort keys of all groups, sorts those of the page.
pub(crate) fn page(rows: &RecordBatch, by: &[String], wanted: &Wanted) -> Result<Page, ArrowError> {
    let (fields, columns) = sort_keys(rows, by, &wanted.order);
    let groups = rows.num_rows();
    if columns.is_empty() {
        // One total, or none.
        return Ok(Page { rows: rows.clone(), groups, last: None });
    }
    let keys = RowConverter::new(fields)?.convert_columns(&columns)?;
    let key = |place: u32| keys.row(place as usize).data();
    let is_wanted = |place: &u32| wanted.after.as_ref().is_none_or(|after| key(*place) > after.as_slice());
    let mut places: Vec<u32> = (0..u32::try_from(groups).unwrap_or(u32::MAX)).filter(is_wanted).collect();
    let is_truncated = places.len() > wanted.limit;
    if is_truncated {
        places.select_nth_unstable_by(wanted.limit, |one, other| key(*one).cmp(key(*other)));
        places.truncate(wanted.limit);
    }
    places.sort_unstable_by(|one, other| key(*one).cmp(key(*other)));
    let last = places.last().filter(|_| is_truncated).map(|last| key(*last).to_vec());
    Ok(Page { rows: take_record_batch(rows, &UInt32Array::from(places))?, groups, last })
}

fn sort_keys(rows: &RecordBatch, by: &[String], order: &[OrderKey]) -> (Vec<SortField>, Vec<ArrayRef>) {
    let asked = order.iter().map(|key| (key.column.as_str(), key.is_descending));
    let ties = by.iter().map(|dimension| (dimension.as_str(), false));
    let keys = asked.chain(ties).filter_map(|(name, descending)| {
        let column = rows.column_by_name(name)?.clone();
        let options = SortOptions { descending, nulls_first: false };
        Some((SortField::new_with_options(column.data_type().clone(), options), column))
    });
    keys.unzip()
}
