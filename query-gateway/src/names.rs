//! The names that SQL knows views by: catalogue and schema in front of them, and the tables beside them.
//!
//! Guarantee: `information_schema` holds names and types of what SQL reads, and nothing of the engine. What is no view
//! is in another schema than views: no name of a view is ever taken.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::SchemaRef;
use datafusion::catalog::{MemorySchemaProvider, SchemaProvider};
use datafusion::common::{TableReference, plan_datafusion_err};
use datafusion::error::Result;
use datafusion::execution::SessionState;
use serving_layer::Version;
use views::{Pipeline, PlannedView, sql_name};

use crate::exactness_table::Reports;
use crate::fixed_table::FixedTable;
use crate::rejected_table::{self, RejectedRows};
use crate::run_batches::{runs_schema, tasks_schema};
use crate::runs_table::{RunTasks, Runs};
use crate::system_table::SystemTable;

/// The one catalogue.
pub(crate) const CATALOGUE: &str = "twofold";
/// The schema of all views.
pub(crate) const SCHEMA: &str = "public";

const LISTING_SCHEMA: &str = "information_schema";
const TABLES: &str = "tables";
const COLUMNS: &str = "columns";

const SYSTEM_SCHEMA: &str = "system";
const REJECTED: &str = "rejected";
const RUNS: &str = "runs";
const RUN_TASKS: &str = "run_tasks";
const EXACTNESS: &str = "exactness";

/// What a reference may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Named<'a> {
    /// A view, if there is one of this name: as it is answered, or one batch version of it.
    View(&'a str, Option<Version>),
    /// A table that lists names.
    Listing,
    /// A table of the system: rejected records, runs, their tasks, or reports of exactness.
    System,
    /// Nothing that SQL reads.
    Nothing,
}

/// What a reference may name: `hits`, `public.hits` and `twofold.public.hits` are one view, `hits@12` a version of it.
pub(crate) fn named(reference: &TableReference) -> Named<'_> {
    let is_ours = reference.catalog().is_none_or(|catalogue| catalogue == CATALOGUE);
    match (is_ours, reference.schema(), reference.table()) {
        (true, None | Some(SCHEMA), name) => {
            let (view, version) = split_version(name);
            Named::View(view, version)
        }
        (true, Some(LISTING_SCHEMA), TABLES | COLUMNS) => Named::Listing,
        (true, Some(SYSTEM_SCHEMA), REJECTED | RUNS | RUN_TASKS | EXACTNESS) => Named::System,
        _ => Named::Nothing,
    }
}

/// The view and the batch version that a table `hits@12` is of; no view has such a name.
pub(crate) fn split_version(table: &str) -> (&str, Option<Version>) {
    let found = table.rsplit_once('@').and_then(|(view, number)| {
        let is_number = number.bytes().all(|letter| letter.is_ascii_digit());
        Some((view, Version(number.parse().ok().filter(|_| is_number)?)))
    });
    found.map_or((table, None), |(view, version)| (view, Some(version)))
}

/// Makes the tables beside the views known to the planner; those of the system only where they are to be there.
pub(crate) fn register(state: &SessionState, pipeline: &Pipeline, has_system: bool) -> Result<()> {
    let mut listed: Vec<Listed<'_>> = pipeline.views.iter().map(Listed::view).collect();
    listed.sort_unstable_by_key(|table| table.name);
    if has_system {
        let table = |name, columns| Listed { schema: SYSTEM_SCHEMA, name, kind: "SYSTEM VIEW", columns };
        let runs = [table(RUN_TASKS, tasks_schema()), table(RUNS, runs_schema())];
        let reports = table(EXACTNESS, serving_layer::exactness::schema());
        listed.extend([reports, table(REJECTED, rejected_table::schema())]);
        listed.extend(runs);
    }
    let listing = MemorySchemaProvider::new();
    listing.register_table(TABLES.to_owned(), FixedTable::new(tables(&listed)?)?)?;
    listing.register_table(COLUMNS.to_owned(), FixedTable::new(columns(&listed)?)?)?;
    let system = MemorySchemaProvider::new();
    if has_system {
        system.register_table(REJECTED.to_owned(), SystemTable::<RejectedRows>::columns_only())?;
        system.register_table(RUNS.to_owned(), SystemTable::<Runs>::columns_only())?;
        system.register_table(RUN_TASKS.to_owned(), SystemTable::<RunTasks>::columns_only())?;
        system.register_table(EXACTNESS.to_owned(), SystemTable::<Reports>::columns_only())?;
    }
    let catalogue = state.catalog_list().catalog(CATALOGUE);
    let catalogue = catalogue.ok_or_else(|| plan_datafusion_err!("there is no catalogue {CATALOGUE}"))?;
    catalogue.register_schema(LISTING_SCHEMA, Arc::new(listing))?;
    catalogue.register_schema(SYSTEM_SCHEMA, Arc::new(system))?;
    Ok(())
}

/// A table that is listed.
struct Listed<'a> {
    schema: &'static str,
    name: &'a str,
    kind: &'static str,
    columns: SchemaRef,
}

impl<'a> Listed<'a> {
    fn view(view: &'a PlannedView) -> Self {
        Self { schema: SCHEMA, name: view.name.as_str(), kind: "VIEW", columns: view.answers.clone() }
    }
}

fn tables(listed: &[Listed<'_>]) -> Result<RecordBatch> {
    let columns: [(&str, ArrayRef); 4] = [
        ("table_catalog", same(CATALOGUE, listed.len())),
        ("table_schema", texts(listed.iter().map(|table| table.schema))),
        ("table_name", texts(listed.iter().map(|table| table.name))),
        ("table_type", texts(listed.iter().map(|table| table.kind))),
    ];
    Ok(RecordBatch::try_from_iter(columns)?)
}

fn columns(listed: &[Listed<'_>]) -> Result<RecordBatch> {
    let (mut schemas, mut tables, mut names) = (Vec::new(), Vec::new(), Vec::new());
    let (mut places, mut nullable, mut types) = (Vec::new(), Vec::new(), Vec::new());
    for table in listed {
        for (place, field) in (1_i64..).zip(table.columns.fields()) {
            schemas.push(table.schema);
            tables.push(table.name);
            names.push(field.name().as_str());
            places.push(place);
            nullable.push(if field.is_nullable() { "YES" } else { "NO" });
            types.push(sql_name(field.data_type()));
        }
    }
    let columns: [(&str, ArrayRef); 7] = [
        ("table_catalog", same(CATALOGUE, places.len())),
        ("table_schema", texts(schemas)),
        ("table_name", texts(tables)),
        ("column_name", Arc::new(StringArray::from(names))),
        ("ordinal_position", Arc::new(Int64Array::from(places))),
        ("is_nullable", Arc::new(StringArray::from(nullable))),
        ("data_type", Arc::new(StringArray::from(types))),
    ];
    Ok(RecordBatch::try_from_iter(columns)?)
}

fn same(value: &str, count: usize) -> ArrayRef {
    texts(std::iter::repeat_n(value, count))
}

fn texts<'a>(values: impl IntoIterator<Item = &'a str>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}
