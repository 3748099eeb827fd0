//! The tables that views can name, and how the engine's SQL planner finds them.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::{Result, TableReference, plan_err};
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::planner::{ContextProvider, ExprPlanner};
use datafusion::logical_expr::{AggregateUDF, HigherOrderUDF, ScalarUDF, TableSource, WindowUDF};
use datafusion::sql::parser::CreateExternalTable;

use super::findings::Findings;
use super::statements::Located;
use crate::SourceDefinition;

/// What the file has defined so far.
#[derive(Debug, Default)]
pub(super) struct Tables {
    /// Event streams.
    pub(super) streams: Vec<Arc<SourceDefinition>>,
    /// Static tables.
    pub(super) statics: Vec<StaticTable>,
    /// Every name that is taken, in lower case.
    pub(super) names: BTreeSet<String>,
    /// Tables that are defined but wrong: what uses them is not complained about again.
    pub(super) broken: BTreeSet<String>,
}

/// A small table whose content is part of the definition.
#[derive(Debug)]
pub(super) struct StaticTable {
    pub(super) name: String,
    pub(super) schema: SchemaRef,
    pub(super) rows: Arc<MemTable>,
    /// Of the file's bytes.
    pub(super) digest: [u8; 32],
}

impl Tables {
    pub(super) fn stream(&self, name: &str) -> Option<&Arc<SourceDefinition>> {
        self.streams.iter().find(|stream| stream.name.as_str() == name)
    }

    pub(super) fn statics(&self, name: &str) -> Option<&StaticTable> {
        self.statics.iter().find(|table| table.name == name)
    }

    /// The columns that SQL sees in a table.
    pub(super) fn schema(&self, name: &str) -> Option<&SchemaRef> {
        let stream = self.stream(name).map(|stream| &stream.events);
        stream.or_else(|| self.statics(name).map(|table| &table.schema))
    }

    pub(super) fn known(&self) -> impl Iterator<Item = &str> {
        let streams = self.streams.iter().map(|stream| stream.name.as_str());
        streams.chain(self.statics.iter().map(|table| table.name.as_str()))
    }
}

/// Clauses of CREATE EXTERNAL TABLE that mean nothing here.
pub(super) fn refuse_clauses(table: &CreateExternalTable, statement: &Located, findings: &mut Findings) {
    let clauses = [
        (table.if_not_exists, "IF NOT EXISTS"),
        (table.or_replace, "OR REPLACE"),
        (table.temporary, "TEMPORARY"),
        (!table.table_partition_cols.is_empty(), "PARTITIONED BY"),
        (!table.order_exprs.is_empty(), "WITH ORDER"),
        (!table.constraints.is_empty(), "PRIMARY KEY, UNIQUE, CHECK or FOREIGN KEY"),
    ];
    for (_, clause) in clauses.iter().filter(|(is_given, _)| *is_given) {
        findings.add(statement.line, clause, "this clause has no meaning in a pipeline file", "leave it out");
    }
}

/// Stands for an event stream in a plan, until the caller's input takes its place.
#[derive(Debug)]
pub(crate) struct StreamTable {
    schema: SchemaRef,
}

impl TableSource for StreamTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

/// The functions of the session and the tables of the file.
pub(super) struct PlanContext<'a> {
    pub(super) state: &'a SessionState,
    pub(super) tables: &'a Tables,
}

impl ContextProvider for PlanContext<'_> {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        let name = name.table();
        if let Some(stream) = self.tables.stream(name) {
            return Ok(Arc::new(StreamTable { schema: Arc::clone(&stream.events) }));
        }
        match self.tables.statics(name) {
            Some(table) => Ok(provider_as_source(Arc::clone(&table.rows) as _)),
            None => plan_err!("unknown table {name}"),
        }
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        self.state.expr_planners()
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.state.scalar_functions().get(name).cloned()
    }

    fn get_higher_order_meta(&self, name: &str) -> Option<Arc<HigherOrderUDF>> {
        self.state.higher_order_functions().get(name).cloned()
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.state.aggregate_functions().get(name).cloned()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.state.window_functions().get(name).cloned()
    }

    fn get_variable_type(&self, _variable_names: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        self.state.config_options()
    }

    fn udf_names(&self) -> Vec<String> {
        self.state.scalar_functions().keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        self.state.higher_order_functions().keys().cloned().collect()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.state.aggregate_functions().keys().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        self.state.window_functions().keys().cloned().collect()
    }
}
