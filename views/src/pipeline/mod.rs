//! Reading a pipeline file: text to sources, static tables and views, or everything that is wrong in it at once.
//!
//! ```text
//!  text --statements.rs--> statements --source.rs, static_table.rs--> tables
//!                                     --view_syntax.rs, view_from.rs, view_unnest.rs, view_names.rs--> checked SELECT
//!                                     --view_plan.rs, view_analysis.rs, view_shape.rs--> planned view
//! ```
//!
//! Guarantee: pure and total: any text gives a [`Pipeline`] or a [`PipelineError`], never a panic.
//! Why so: DataFusion's own planner refuses materialized views and renames options, so only the inner SELECT is planned
//! by it; everything else is read from the syntax tree.

pub(crate) mod changes;
mod columns;
mod default_value;
pub(crate) mod difference;
mod doubts;
mod findings;
mod options;
mod path;
mod source;
mod source_difference;
mod splice;
mod statements;
mod static_table;
mod tables;
mod view_analysis;
mod view_from;
mod view_names;
mod view_plan;
mod view_rewrite;
mod view_shape;
mod view_syntax;
mod view_unnest;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::catalog::TableProvider;
use datafusion::common::{DataFusionError, TableReference};
use datafusion::execution::session_state::SessionState;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::Statement as SqlStatement;

use crate::error::{Finding, PipelineError};
use crate::planned_view::PlannedView;
use crate::source::SourceDefinition;
use crate::stream::Placeholder;
use findings::Findings;
pub use path::path_of_key;
use positions::{SourceName, ViewName};
use statements::{Located, read_statements};
pub use static_table::MAX_STATIC_BYTES;
use tables::Tables;

/// A whole pipeline file.
#[derive(Clone, Debug, Default)]
pub struct Pipeline {
    /// In the order of the file.
    pub sources: Vec<Arc<SourceDefinition>>,
    /// In the order of the file.
    pub views: Vec<PlannedView>,
    /// What is not wrong, but hardly meant, in the order of the lines.
    pub doubts: Vec<Finding>,
    /// Those of the doubts that no set of definitions may have which was never registered: older ones may, and answer.
    pub refusals: Vec<Finding>,
    /// The file itself: [`Pipeline::read`] makes the same of it again.
    pub text: Arc<str>,
    /// The bytes of the static files that it names, by their location.
    pub static_files: BTreeMap<String, Bytes>,
}

impl Pipeline {
    /// Reads a pipeline file. `static_files` holds the bytes of each of [`Pipeline::static_files`] that exists.
    ///
    /// # Errors
    /// Everything that is wrong in the file, in the order of its lines.
    pub fn read(sql: &str, static_files: &BTreeMap<String, Bytes>) -> Result<Pipeline, PipelineError> {
        let mut findings = Findings::default();
        let statements = read_statements(sql, &mut findings);
        let mut reader = Reader { state: crate::session_state(), tables: Tables::default(), views: Vec::new() };
        for statement in &statements {
            reader.read_table(statement, static_files, &mut findings);
        }
        for statement in &statements {
            reader.read_view(statement, &mut findings);
        }
        if statements.is_empty() && findings.is_empty() {
            findings.add(1, "", "the file defines nothing", "start with CREATE UNBOUNDED EXTERNAL TABLE ...");
        }
        findings.finish()?;
        let named = Self::static_files(sql)?;
        let is_named = |(location, _): &(&String, &Bytes)| named.contains(location);
        let static_files = static_files.iter().filter(is_named).map(|(name, bytes)| (name.clone(), bytes.clone()));
        let (doubts, refusals) = doubts::doubts(&statements, &reader.tables);
        Ok(Pipeline {
            doubts,
            refusals,
            sources: reader.tables.streams,
            views: reader.views,
            text: sql.into(),
            static_files: static_files.collect(),
        })
    }

    /// The relative locations of static files that a pipeline file names, in its order, without reading them.
    ///
    /// # Errors
    /// What cannot be parsed, and locations outside of the pipeline file's folder.
    pub fn static_files(sql: &str) -> Result<Vec<String>, PipelineError> {
        let mut findings = Findings::default();
        let mut locations = Vec::new();
        for statement in read_statements(sql, &mut findings) {
            if let Statement::CreateExternalTable(table) = &statement.parsed
                && !table.unbounded
                && let Some(location) = static_table::checked_location(table, &statement, &mut findings)
                && !locations.contains(&location)
            {
                locations.push(location);
            }
        }
        findings.finish()?;
        Ok(locations)
    }

    /// Whether these may become the present definitions.
    ///
    /// # Errors
    /// What in the file would give answers that hardly anybody means: [`Self::refusals`].
    pub fn check_new(&self) -> Result<(), PipelineError> {
        if self.refusals.is_empty() { Ok(()) } else { Err(PipelineError(self.refusals.clone())) }
    }

    /// The view of a name.
    pub fn view(&self, name: &str) -> Option<&PlannedView> {
        self.views.iter().find(|view| view.name.as_str() == name)
    }

    /// The source of a name.
    pub fn source(&self, name: &str) -> Option<&Arc<SourceDefinition>> {
        self.sources.iter().find(|source| source.name.as_str() == name)
    }

    /// The views over a source, in the order of the file.
    pub fn views_of(&self, source: &SourceName) -> Vec<&PlannedView> {
        self.views.iter().filter(|view| view.source.name == *source).collect()
    }
}

struct Reader {
    state: SessionState,
    tables: Tables,
    views: Vec<PlannedView>,
}

impl Reader {
    fn read_table(&mut self, statement: &Located, files: &BTreeMap<String, Bytes>, findings: &mut Findings) {
        match &statement.parsed {
            Statement::CreateExternalTable(table) => {
                let Some(name) = self.new_name(&table.name, statement, findings) else { return };
                let before = findings.len();
                let provider = if table.unbounded {
                    let stream = source::read_source(&name, table, statement, findings).map(Arc::new);
                    let schema = stream.as_ref().map(|stream| Arc::clone(&stream.events));
                    self.tables.streams.extend(stream);
                    schema.map(|schema| Arc::new(Placeholder::of_events(schema)) as Arc<dyn TableProvider>)
                } else {
                    let table = static_table::read_static(&name, table, statement, files, findings);
                    let rows = table.as_ref().map(|table| Arc::clone(&table.rows) as Arc<dyn TableProvider>);
                    self.tables.statics.extend(table);
                    rows
                };
                if let Some(provider) = provider
                    && let Err(error) = self.register(&name, provider)
                {
                    findings.add(statement.line, &name, error.strip_backtrace(), "choose another name");
                }
                if findings.len() > before {
                    self.tables.broken.insert(name);
                }
            }
            Statement::Statement(sql) if matches!(sql.as_ref(), SqlStatement::CreateView(view) if view.materialized) => {
            }
            _ => findings.add(
                statement.line,
                &statement.head(),
                "this statement has no place in a pipeline file",
                "write CREATE UNBOUNDED EXTERNAL TABLE, CREATE EXTERNAL TABLE or CREATE MATERIALIZED VIEW",
            ),
        }
    }

    /// Makes a table known to the engine's SQL planner.
    fn register(&self, name: &str, table: Arc<dyn TableProvider>) -> Result<(), DataFusionError> {
        let reference = TableReference::bare(name);
        self.state.schema_for_ref(reference)?.register_table(name.to_owned(), table).map(|_| ())
    }

    fn read_view(&mut self, statement: &Located, findings: &mut Findings) {
        let Statement::Statement(sql) = &statement.parsed else { return };
        let SqlStatement::CreateView(view) = sql.as_ref() else { return };
        if !view.materialized {
            return;
        }
        let Some(name) = self.new_name(&view.name, statement, findings) else { return };
        let before = findings.len();
        let options = options::view_options(view, statement, findings);
        let Some(checked) = view_syntax::check_view(view, &self.tables, &self.state, statement, findings) else {
            return;
        };
        if let Some(line) = options.bucket_line.filter(|_| !checked.source.is_recomputed()) {
            let message =
                format!("source {} is mode 'kappa': nothing of it is recomputed by buckets", checked.source.name);
            findings.add(line, "bucket", message, "leave bucket out, or leave mode out of the source");
        }
        // Planning stops at its first error: it runs only where the syntax tree shows none.
        if findings.len() > before {
            return;
        }
        let planner = view_plan::Planner { state: &self.state, tables: &self.tables, statement };
        let planned = planner.plan_view(ViewName::new(&name), view, &checked, options, findings);
        self.views.extend(planned);
    }

    /// The name of a new table or view, if it is allowed and not taken.
    fn new_name(
        &mut self,
        name: &datafusion::sql::sqlparser::ast::ObjectName,
        statement: &Located,
        findings: &mut Findings,
    ) -> Option<String> {
        let name = columns::object_name(name, statement, findings)?;
        if !self.tables.names.insert(name.to_ascii_lowercase()) {
            let hint = "give every source, static table and view a name of its own";
            findings.add(statement.line_of(&name), &name, "this name is taken already", hint);
            return None;
        }
        Some(name)
    }
}
