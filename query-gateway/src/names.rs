//! The names that SQL knows views by: catalogue and schema in front of them, and the tables that list them.
//!
//! Guarantee: `information_schema` holds names and types of the pipeline's views, and nothing of the engine.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use datafusion::catalog::{MemorySchemaProvider, SchemaProvider};
use datafusion::common::{TableReference, plan_datafusion_err};
use datafusion::error::Result;
use datafusion::execution::SessionState;
use views::{Pipeline, PlannedView, sql_name};

use crate::fixed_table::FixedTable;

/// The one catalogue.
pub(crate) const CATALOGUE: &str = "twofold";
/// The schema of all views.
pub(crate) const SCHEMA: &str = "public";

const LISTING_SCHEMA: &str = "information_schema";
const TABLES: &str = "tables";
const COLUMNS: &str = "columns";

/// What a reference may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Named<'a> {
    /// A view, if there is one of this name.
    View(&'a str),
    /// A table that lists names.
    Listing,
    /// Nothing that SQL reads.
    Nothing,
}

/// What a reference may name: `hits`, `public.hits` and `twofold.public.hits` are one view.
pub(crate) fn named(reference: &TableReference) -> Named<'_> {
    let is_ours = reference.catalog().is_none_or(|catalogue| catalogue == CATALOGUE);
    match (is_ours, reference.schema(), reference.table()) {
        (true, None | Some(SCHEMA), view) => Named::View(view),
        (true, Some(LISTING_SCHEMA), TABLES | COLUMNS) => Named::Listing,
        _ => Named::Nothing,
    }
}

/// Makes the tables that list names known to the planner.
pub(crate) fn register(state: &SessionState, pipeline: &Pipeline) -> Result<()> {
    let mut views: Vec<&PlannedView> = pipeline.views.iter().collect();
    views.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    let listing = MemorySchemaProvider::new();
    listing.register_table(TABLES.to_owned(), FixedTable::new(tables(&views)?)?)?;
    listing.register_table(COLUMNS.to_owned(), FixedTable::new(columns(&views)?)?)?;
    let catalogue = state.catalog_list().catalog(CATALOGUE);
    let catalogue = catalogue.ok_or_else(|| plan_datafusion_err!("there is no catalogue {CATALOGUE}"))?;
    catalogue.register_schema(LISTING_SCHEMA, Arc::new(listing))?;
    Ok(())
}

fn tables(views: &[&PlannedView]) -> Result<RecordBatch> {
    let names = views.iter().map(|view| view.name.as_str());
    let columns: [(&str, ArrayRef); 4] = [
        ("table_catalog", same(CATALOGUE, views.len())),
        ("table_schema", same(SCHEMA, views.len())),
        ("table_name", Arc::new(StringArray::from_iter_values(names))),
        ("table_type", same("VIEW", views.len())),
    ];
    Ok(RecordBatch::try_from_iter(columns)?)
}

fn columns(views: &[&PlannedView]) -> Result<RecordBatch> {
    let (mut tables, mut names, mut places) = (Vec::new(), Vec::new(), Vec::new());
    let (mut nullable, mut types) = (Vec::new(), Vec::new());
    for view in views {
        for (place, field) in (1_i64..).zip(view.answers.fields()) {
            tables.push(view.name.as_str());
            names.push(field.name().as_str());
            places.push(place);
            nullable.push(if field.is_nullable() { "YES" } else { "NO" });
            types.push(sql_name(field.data_type()));
        }
    }
    let columns: [(&str, ArrayRef); 7] = [
        ("table_catalog", same(CATALOGUE, tables.len())),
        ("table_schema", same(SCHEMA, tables.len())),
        ("table_name", Arc::new(StringArray::from(tables))),
        ("column_name", Arc::new(StringArray::from(names))),
        ("ordinal_position", Arc::new(Int64Array::from(places))),
        ("is_nullable", Arc::new(StringArray::from(nullable))),
        ("data_type", Arc::new(StringArray::from(types))),
    ];
    Ok(RecordBatch::try_from_iter(columns)?)
}

fn same(value: &str, count: usize) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(std::iter::repeat_n(value, count)))
}
