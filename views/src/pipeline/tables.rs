//! The tables that views can name.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::datasource::MemTable;
use datafusion::sql::parser::CreateExternalTable;

use super::findings::Findings;
use super::statements::Located;
use crate::source::SourceDefinition;

/// What the file has defined so far.
#[derive(Debug, Default)]
pub(super) struct Tables {
    /// Event streams.
    pub(super) streams: Vec<Arc<SourceDefinition>>,
    /// Static tables.
    pub(super) statics: Vec<StaticTable>,
    /// Every name that is taken, in lower case.
    pub(super) names: BTreeSet<String>,
    /// Tables that are defined but wrong: what uses them is not reported again.
    pub(super) broken: BTreeSet<String>,
}

/// A small table whose content is part of the definition.
#[derive(Debug)]
pub(super) struct StaticTable {
    pub(super) name: String,
    pub(super) schema: SchemaRef,
    pub(super) rows: Arc<MemTable>,
    /// The same rows.
    pub(super) batches: Vec<RecordBatch>,
    /// Of the file's bytes.
    pub(super) digest: [u8; 32],
    /// Whether the file says that a key may stand in several rows: an event then counts once for each of them.
    pub(super) has_several_rows: bool,
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
