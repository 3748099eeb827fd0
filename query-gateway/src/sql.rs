//! The SQL engine: plans and runs one read-only SELECT over the views.
//!
//! ```text
//!  text --parse--> one SELECT --plan over columns only--> MEASURE rewritten --states of one pin put in--> rows
//! ```
//!
//! Guarantee: what runs is one SELECT over views of the pipeline and nothing else: no statement that writes or sets, no
//! table function, no file, no URL, no catalogue; within limits on text, work of planning, time, memory and rows. A
//! place among the running SQL queries is held while one is planned and while it runs, never while it waits.
//! Not here: requests, and pinning the views of one (`queries.rs`), `MEASURE()` (`measure.rs`), tables and their states
//! (`tables.rs`), limits on planning (`complexity.rs`) and on what expressions and windows hold (`values.rs`,
//! `buffered.rs`).

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use datafusion::common::TableReference;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::DataFusionError;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryPool};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::execution::{SessionState, TaskContext};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast;
use futures::StreamExt;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use views::{DefinitionError, Pipeline};

use crate::measure;
use crate::tables::{self, Pinned};
use crate::values::{CountValues, Ledger};
use crate::{GatewayError, GatewaySettings, buffered, complexity, patience};

/// Scalar functions whose arguments say in a few digits how much memory they take.
const REFUSED_FUNCTIONS: [&str; 16] = [
    "repeat",
    "lpad",
    "rpad",
    "generate_series",
    "range",
    "gen_series",
    "array_repeat",
    "list_repeat",
    "array_resize",
    "list_resize",
    "make_array_n",
    "space",
    "arrow_cast",
    "arrow_try_cast",
    "cast_to_type",
    "try_cast_to_type",
];

/// Plans and runs SQL.
pub(crate) struct SqlEngine {
    state: SessionState,
    values: Arc<Ledger>,
    // A place stays with a planning thread that nobody waits for any more: it cannot be interrupted.
    permits: Arc<Semaphore>,
}

impl SqlEngine {
    pub(crate) fn new(pipeline: &Pipeline, settings: &GatewaySettings) -> Result<Self, GatewayError> {
        let base = views::session_state();
        let mut config = base.config().clone().with_information_schema(false);
        let options = config.options_mut();
        options.execution.target_partitions = settings.sql_partitions.max(1);
        options.execution.enable_recursive_ctes = false;
        let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(settings.sql_memory_bytes));
        let values = Ledger::new(&pool, settings.sql_text_bytes);
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(pool)
            .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled))
            .build_arc()
            .map_err(DefinitionError::from)?;
        let mut builder = SessionStateBuilder::new_from_existing(base)
            .with_config(config)
            .with_runtime_env(runtime)
            .with_analyzer_rule(Arc::new(CountValues(values.clone())));
        if let Some(functions) = builder.scalar_functions() {
            functions.retain(|function| !REFUSED_FUNCTIONS.contains(&function.name()));
        }
        builder.aggregate_functions().get_or_insert_default().push(Arc::new(measure::function()));
        let state = builder.with_table_functions(Default::default()).build();
        tables::register(&state, pipeline).map_err(DefinitionError::from)?;
        Ok(Self { state, values, permits: Arc::new(Semaphore::new(settings.max_sql_queries)) })
    }

    /// Reads the text: one SELECT, and the views that it names.
    pub(crate) fn parse(
        &self,
        sql: &str,
        settings: &GatewaySettings,
    ) -> Result<(Statement, Vec<TableReference>), GatewayError> {
        if sql.len() > settings.sql_text_bytes {
            let reason = format!("the SQL text has {} bytes, the limit is {}", sql.len(), settings.sql_text_bytes);
            return Err(GatewayError::TooLarge { reason, hint: "send a shorter query".to_owned() });
        }
        complexity::check_text(sql)?;
        let dialect = self.state.config_options().sql_parser.dialect;
        let statement = self.state.sql_to_statement(sql, &dialect).map_err(refuse)?;
        let is_select = matches!(&statement, Statement::Statement(statement)
            if matches!(statement.as_ref(), ast::Statement::Query(query) if is_read_only(&query.body)));
        if !is_select {
            let hint = "send one SELECT; definitions and data change through the pipeline file and the collector";
            return Err(GatewayError::bad_with_hint("only SELECT is allowed", hint));
        }
        if let Statement::Statement(statement) = &statement {
            complexity::check_statement(statement)?;
        }
        let references = self.state.resolve_table_references(&statement).map_err(refuse)?;
        Ok((statement, references))
    }

    /// A place among the SQL queries that run.
    fn admit(&self, settings: &GatewaySettings) -> Result<OwnedSemaphorePermit, GatewayError> {
        let limit = settings.max_sql_queries;
        let (what, setting) = ("SQL queries are running", "gateway.max_sql_queries");
        let overloaded = |_| GatewayError::Overloaded { what, limit, setting };
        self.permits.clone().try_acquire_owned().map_err(overloaded)
    }

    /// The plan over columns only, with `MEASURE` rewritten.
    pub(crate) async fn plan(
        &self,
        statement: Statement,
        settings: &GatewaySettings,
    ) -> Result<LogicalPlan, GatewayError> {
        let (permit, state) = (self.admit(settings)?, self.state.clone());
        let plan = move |runtime: &Handle| {
            let _permit = permit;
            let plan = runtime.block_on(state.statement_to_plan(statement)).map_err(refuse)?;
            check_plan(&plan)?;
            complexity::check_plan(&plan)?;
            measure::check_sums(&plan)?;
            measure::rewrite(plan).map_err(refuse)
        };
        let limit = settings.sql_time_limit;
        patience::within(limit, on_thread(plan)).await.ok_or(GatewayError::TimedOut { limit })?
    }

    /// Runs a plan over the pinned states.
    pub(crate) async fn run(
        &self,
        plan: LogicalPlan,
        pinned: BTreeMap<String, Pinned>,
        settings: &GatewaySettings,
    ) -> Result<RecordBatch, GatewayError> {
        let (permit, mut state) = (self.admit(settings)?, self.state.clone());
        let context = state.task_ctx();
        let optimise = move |runtime: &Handle| {
            let plan = tables::put_in_states(plan, &pinned).map_err(refuse)?;
            state.mark_start_execution();
            let plan = runtime.block_on(state.create_physical_plan(&plan)).map_err(refuse)?;
            Ok((permit, buffered::count_buffered(plan).map_err(refuse)?))
        };
        let work = async {
            let (_permit, plan) = on_thread(optimise).await?;
            collect(plan, context, settings).await
        };
        let limit = settings.sql_time_limit;
        let rows = patience::within(limit, work).await.ok_or(GatewayError::TimedOut { limit });
        self.values.sweep();
        rows?
    }
}

/// Runs work of the engine that does not let others run in between.
async fn on_thread<T: Send + 'static>(
    work: impl FnOnce(&Handle) -> Result<T, GatewayError> + Send + 'static,
) -> Result<T, GatewayError> {
    let runtime = Handle::current();
    let done = patience::on_thread(move || work(&runtime)).await;
    let defect = |error| DefinitionError::Engine(DataFusionError::ExecutionJoin(Box::new(error)));
    done.map_err(defect)?
}

/// All rows of a plan, within the limits of an answer.
async fn collect(
    plan: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
    settings: &GatewaySettings,
) -> Result<RecordBatch, GatewayError> {
    let schema = plan.schema();
    let mut stream = execute_stream(plan, context).map_err(refuse)?;
    let (mut batches, mut rows, mut bytes) = (Vec::new(), 0, 0);
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(refuse)?;
        rows += batch.num_rows();
        bytes += batch.get_array_memory_size();
        if rows > settings.max_rows || bytes > settings.sql_result_bytes {
            let reason =
                format!("the answer has more than {} rows or {} bytes", settings.max_rows, settings.sql_result_bytes);
            return Err(GatewayError::TooLarge { reason, hint: "add LIMIT, or aggregate further".to_owned() });
        }
        batches.push(batch);
    }
    Ok(concat_batches(&schema, &batches)?)
}

/// Whether a query body only reads: `WITH x AS (...) INSERT ...` is a query too.
fn is_read_only(body: &ast::SetExpr) -> bool {
    match body {
        ast::SetExpr::Select(select) => select.into.is_none(),
        ast::SetExpr::Query(query) => is_read_only(&query.body),
        ast::SetExpr::SetOperation { left, right, .. } => is_read_only(left) && is_read_only(right),
        ast::SetExpr::Values(_) | ast::SetExpr::Table(_) => true,
        _ => false,
    }
}

/// A second look at what was planned, whatever the parser let through.
fn check_plan(plan: &LogicalPlan) -> Result<(), GatewayError> {
    let mut is_read_only = true;
    let visited = plan.apply_with_subqueries(|node| {
        is_read_only &= !matches!(
            node,
            LogicalPlan::Ddl(_)
                | LogicalPlan::Dml(_)
                | LogicalPlan::Copy(_)
                | LogicalPlan::Statement(_)
                | LogicalPlan::Explain(_)
                | LogicalPlan::Analyze(_)
                | LogicalPlan::DescribeTable(_)
                | LogicalPlan::Extension(_)
                | LogicalPlan::RecursiveQuery(_)
        );
        Ok(TreeNodeRecursion::Continue)
    });
    visited.map_err(refuse)?;
    if is_read_only { Ok(()) } else { Err(GatewayError::bad("only SELECT is allowed")) }
}

/// What the engine says, in its words but without its internals.
fn refuse(error: DataFusionError) -> GatewayError {
    match error.find_root() {
        DataFusionError::ResourcesExhausted(_) => GatewayError::TooLarge {
            reason: "the query needs more memory than it may use".to_owned(),
            hint: "filter on dimensions, or ask for fewer groups".to_owned(),
        },
        DataFusionError::Internal(_) | DataFusionError::IoError(_) => {
            GatewayError::Definition(DefinitionError::Engine(error))
        }
        root => GatewayError::bad(clean_message(&root.strip_backtrace())),
    }
}

fn clean_message(message: &str) -> String {
    const PREFIXES: [&str; 9] = [
        "Error during planning: ",
        "Schema error: ",
        "SQL error: ",
        "ParserError(",
        "TokenizerError(",
        "This feature is not implemented: ",
        "Execution error: ",
        "Arrow error: ",
        "External error: ",
    ];
    let mut text = message;
    while let Some(rest) = PREFIXES.iter().find_map(|prefix| text.strip_prefix(prefix)) {
        text = rest;
    }
    text.trim().trim_end_matches(')').trim_matches('"').to_owned()
}
