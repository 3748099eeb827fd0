//! The SQL engine: plans and runs one read-only SELECT over the views.
//!
//! ```text
//!  text --parse--> one SELECT --plan over columns only--> MEASURE rewritten --kept by text--> parameters put in
//!       --states of one pin put in--> rows
//! ```
//!
//! Guarantee: what runs is one SELECT over views of the pipeline, names, rejected records and series, and nothing else:
//! no statement that writes or sets, no file, no URL, no other catalogue or table function; within limits on text, work
//! of planning, time, memory and rows. A place among the SQL queries is held while one is planned and while it runs,
//! also by a thread that nobody waits for any more, until it comes to a pause: it cannot be interrupted.
//! Not here: requests, and pinning the views of one (`queries.rs`), which statements there are (`statements.rs`),
//! places (`places.rs`), `MEASURE()` (`measure.rs`), subqueries that refer to the query around them (`correlated.rs`),
//! tables and what they are read from (`tables.rs`, `rejected_table.rs`), running a plan (`execution.rs`), what errors
//! say (`sql_error.rs`), limits on parsing and planning (`views::check_nesting`, `complexity.rs`) and on what
//! expressions, windows and joins hold (`values.rs`, `buffered.rs`).

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use datafusion::common::TableReference;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::{AggregateUDF, LogicalPlan};
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use views::{CheckedArithmetic, DefinitionError, Pipeline};

use crate::execution::{Limits, run_plan};
use crate::names::{CATALOGUE, SCHEMA};
use crate::params::{self, SqlParams};
use crate::places::Place;
use crate::plan_cache::{PlanCache, PlanScope};
use crate::running::Running;
use crate::series::{self, Calls};
use crate::sql_error;
use crate::statements::Asked;
use crate::tables::{self, Inputs, Pinned};
use crate::values::{CountValues, Ledger};
use crate::{
    GatewayError, GatewaySettings, buffered, complexity, correlated, measure, names, nesting, patience, view_schema,
};

/// Scalar functions whose arguments say in a few digits how much memory they take.
const REFUSED_FUNCTIONS: [&str; 10] = [
    "generate_series",
    "range",
    "array_repeat",
    "list_repeat",
    "array_resize",
    "list_resize",
    "arrow_cast",
    "arrow_try_cast",
    "cast_to_type",
    "try_cast_to_type",
];

/// Of one batch, where each of its rows is as large as the largest one that is read: a join may make thousands of it.
const BATCH_BYTES: usize = 32 << 20;

/// Plans and runs SQL over the views that it knows.
pub(crate) struct SqlEngine {
    state: SessionState,
    shared: Shared,
    scope: PlanScope,
}

/// What the engines of one gateway share: limits on all of them together.
#[derive(Clone)]
struct Shared {
    runtime: Arc<RuntimeEnv>,
    values: Arc<Ledger>,
    plans: Arc<PlanCache>,
}

/// A statement that was understood.
pub(crate) struct Parsed {
    /// The tables that it reads.
    pub references: Vec<TableReference>,
    /// The table whose columns it asks for.
    pub about: Option<TableReference>,
    /// Whether its plan is the answer.
    pub is_explained: bool,
    query: Box<ast::Statement>,
    // Its series are computed while it is planned, from the instant of the query.
    has_series: bool,
}

impl SqlEngine {
    /// Over all views of a pipeline, and the rejected records of its sources.
    pub(crate) fn new(pipeline: &Pipeline, settings: &GatewaySettings) -> Result<Self, GatewayError> {
        let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(settings.sql_memory_bytes));
        let values = Ledger::new(&pool, settings.sql_text_bytes);
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(pool)
            .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled))
            .build_arc()
            .map_err(DefinitionError::from)?;
        let plans = Arc::new(PlanCache::new(settings.sql_plan_bytes));
        Self::over(pipeline, true, settings, Shared { runtime, values, plans })
    }

    /// An engine that knows of nothing but these views and, perhaps, of rejected records: whatever else there is has no
    /// name in it. Memory and plans count towards the limits of this one.
    pub(crate) fn narrowed(
        &self,
        pipeline: &Pipeline,
        has_rejected: bool,
        settings: &GatewaySettings,
    ) -> Result<Self, GatewayError> {
        Self::over(pipeline, has_rejected, settings, self.shared.clone())
    }

    fn over(
        pipeline: &Pipeline,
        has_rejected: bool,
        settings: &GatewaySettings,
        shared: Shared,
    ) -> Result<Self, GatewayError> {
        let base = views::session_state();
        let mut config = base.config().clone().with_information_schema(false);
        let options = config.options_mut();
        options.execution.target_partitions = settings.sql_partitions.max(1);
        options.execution.enable_recursive_ctes = false;
        // It makes room for all rows of a LIMIT at once, before there is one, and without asking for memory.
        options.optimizer.enable_topk_aggregation = false;
        // It fails over groups by IS NOT TRUE and its like, which the engine calls nullable in one place alone.
        options.execution.skip_physical_aggregate_schema_check = true;
        options.catalog.default_catalog = CATALOGUE.to_owned();
        options.catalog.default_schema = SCHEMA.to_owned();
        let config = config.with_create_default_catalog_and_schema(true);
        let mut builder = SessionStateBuilder::new_from_existing(base)
            .with_config(config)
            .with_runtime_env(shared.runtime.clone())
            .with_analyzer_rule(Arc::new(CheckedArithmetic))
            .with_analyzer_rule(Arc::new(CountValues(shared.values.clone())));
        if let Some(functions) = builder.scalar_functions() {
            functions.retain(|function| !REFUSED_FUNCTIONS.contains(&function.name()));
        }
        // The later one of a name wins.
        builder.aggregate_functions().get_or_insert_default().extend(aggregates());
        let state = builder.with_table_functions(series::functions(settings.max_rows)).build();
        view_schema::register(&state, pipeline).map_err(DefinitionError::from)?;
        names::register(&state, pipeline, has_rejected).map_err(DefinitionError::from)?;
        let scope = shared.plans.new_scope();
        Ok(Self { state, shared, scope })
    }

    /// The memory of all SQL queries together.
    pub(crate) fn memory(&self) -> &Arc<dyn MemoryPool> {
        &self.shared.runtime.memory_pool
    }

    /// Reads the text: one SELECT, or what stands for one.
    ///
    /// # Errors
    /// A text that is too long or nests too deep, before it has a place; what cannot be read.
    pub(crate) async fn parse(
        &self,
        sql: &str,
        place: impl Future<Output = Result<Place, GatewayError>>,
        settings: &GatewaySettings,
    ) -> Result<(Place, Parsed), GatewayError> {
        if sql.len() > settings.sql_text_bytes {
            let reason = format!("the SQL text has {} bytes, the limit is {}", sql.len(), settings.sql_text_bytes);
            return Err(GatewayError::TooLarge { reason, hint: "send a shorter query".to_owned() });
        }
        nesting::check_text(sql)?;
        let (place, sql) = (place.await?, sql.to_owned());
        self.on_thread(place, settings, move |state, _| read_text(state, &sql)).await
    }

    /// The plan over columns only, with `MEASURE` rewritten and its parameters put in; that of a text that was asked
    /// before where it is still kept.
    pub(crate) async fn plan(
        &self,
        sql: &str,
        parsed: Parsed,
        params: &SqlParams,
        (place, settings): (Place, &GatewaySettings),
    ) -> Result<(Place, LogicalPlan), GatewayError> {
        let (place, plan) = match self.shared.plans.get(self.scope, sql) {
            Some(plan) => (place, plan),
            None => {
                let has_series = parsed.has_series;
                let work = move |state: &SessionState, runtime: &Handle| {
                    rewrite(plan_columns(state, runtime, parsed.query)?, state)
                };
                let (place, plan) = self.on_thread(place, settings, work).await?;
                let plan = Arc::new(plan);
                if !has_series {
                    self.shared.plans.put(self.scope, sql, &plan).map_err(|error| self.refuse(error))?;
                }
                (place, plan)
            }
        };
        let plan = self.put_in_params(Arc::unwrap_or_clone(plan), params, settings)?;
        Ok((place, plan))
    }

    /// The plan of a query as rows, before anything is rewritten: one line each.
    pub(crate) async fn explain(
        &self,
        parsed: Parsed,
        (place, settings): (Place, &GatewaySettings),
    ) -> Result<RecordBatch, GatewayError> {
        let work = move |state: &SessionState, runtime: &Handle| {
            let plan = plan_columns(state, runtime, parsed.query)?;
            let lines = plan.display_indent().to_string();
            // What cannot be run is told, also to who only wants to see how.
            rewrite(plan, state)?;
            Ok(lines)
        };
        let (_place, lines) = self.on_thread(place, settings, work).await?;
        let lines: ArrayRef = Arc::new(StringArray::from(lines.lines().collect::<Vec<_>>()));
        Ok(RecordBatch::try_from_iter([("plan", lines)])?)
    }

    fn put_in_params(
        &self,
        plan: LogicalPlan,
        params: &SqlParams,
        settings: &GatewaySettings,
    ) -> Result<LogicalPlan, GatewayError> {
        if params.text_bytes() > settings.sql_text_bytes {
            let reason = format!("the parameters have more than {} bytes", settings.sql_text_bytes);
            return Err(GatewayError::TooLarge { reason, hint: "send shorter ones".to_owned() });
        }
        let placeholders = params::placeholders(&plan).map_err(|error| self.refuse(error))?;
        let Some(values) = params::constants(&placeholders, params)? else { return Ok(plan) };
        let plan = plan.with_param_values(values).map_err(|error| self.refuse(error))?;
        complexity::check_plan(&plan)?;
        Ok(plan)
    }

    /// Runs a plan over what its tables are read from.
    pub(crate) async fn run(
        &self,
        plan: LogicalPlan,
        inputs: Inputs,
        (place, settings): (Place, &GatewaySettings),
    ) -> Result<RecordBatch, GatewayError> {
        let mut state = self.state.clone();
        if inputs.pinned.values().any(|states| states.follows_merging) {
            // Where several threads take turns, the order in which states are merged is theirs.
            state.config_mut().options_mut().execution.target_partitions = 1;
        }
        let largest_row = inputs.pinned.values().map(Pinned::largest_row).max().unwrap_or_default();
        let batch_size = (BATCH_BYTES / largest_row.max(1)).clamp(1, state.config().batch_size());
        *state.config_mut() = state.config().clone().with_batch_size(batch_size);
        let given_up = CancellationToken::new();
        let _waiting = given_up.clone().drop_guard();
        state.config_mut().set_extension(Arc::new(given_up.clone()));
        let (context, limits) = (state.task_ctx(), Limits::new(settings, state.config().target_partitions()));
        let limit = settings.sql_time_limit;
        let work = move |runtime: &Handle| {
            // Until the thread is done with it, whoever waits.
            let (_place, _running) = (place, Running::here(&given_up));
            let plan = tables::put_in(plan, &inputs).map_err(|error| sql_error::refuse(error, &state))?;
            state.mark_start_execution();
            // Scans may read: that ends with the query, also if nobody waits for it any more.
            let plan = runtime.block_on(patience::within(limit, state.create_physical_plan(&plan)));
            let plan = plan.ok_or(GatewayError::TimedOut { limit })?.and_then(buffered::count_buffered);
            let plan = plan.map_err(|error| sql_error::refuse(error, &state))?;
            let rows = run_plan(plan, context, limits, &given_up, |error| sql_error::refuse(error, &state))?;
            rows.ok_or(GatewayError::TimedOut { limit })
        };
        let rows = patience::within(limit, on_thread(work)).await;
        self.shared.values.sweep();
        rows.ok_or(GatewayError::TimedOut { limit })?
    }

    /// Plans within the time limit. The place goes to the thread, and comes back with what it found.
    async fn on_thread<T: Send + 'static>(
        &self,
        place: Place,
        settings: &GatewaySettings,
        work: impl FnOnce(&SessionState, &Handle) -> Result<T, GatewayError> + Send + 'static,
    ) -> Result<(Place, T), GatewayError> {
        let mut state = self.state.clone();
        let limit = settings.sql_time_limit;
        let on_thread = on_thread(move |runtime| {
            // Series count from the instant of this query.
            state.mark_start_execution();
            Ok((place, work(&state, runtime)?))
        });
        patience::within(limit, on_thread).await.ok_or(GatewayError::TimedOut { limit })?
    }

    fn refuse(&self, error: DataFusionError) -> GatewayError {
        sql_error::refuse(error, &self.state)
    }
}

fn read_text(state: &SessionState, sql: &str) -> Result<Parsed, GatewayError> {
    let asked = Asked::read(statement(state, sql)?)?;
    let (is_explained, instead) = (matches!(asked, Asked::Plan(_)), asked.instead());
    let (mut query, about) = match (asked, instead) {
        (Asked::Rows(query) | Asked::Plan(query), _) => (query, None),
        (asked, instead) => {
            let about = if let Asked::Columns(table) = asked { Some(table) } else { None };
            match Asked::read(statement(state, &instead.unwrap_or_default())?)? {
                Asked::Rows(query) => (query, about),
                _ => return Err(GatewayError::bad("only SELECT is allowed")),
            }
        }
    };
    complexity::check_statement(&query)?;
    views::mend(query.as_mut());
    check_readings(&query)?;
    views::name_rows(query.as_mut());
    measure::name_order(&mut query);
    let calls = Calls::of(&query)?;
    let wrapped = Statement::Statement(query.clone());
    let references = state.resolve_table_references(&wrapped).map_err(|error| sql_error::refuse(error, state));
    let mut references = references?;
    references.retain(|reference| !calls.are_all_of(reference));
    Ok(Parsed { references, about, is_explained, query, has_series: !calls.functions.is_empty() })
}

fn statement(state: &SessionState, sql: &str) -> Result<Statement, GatewayError> {
    let dialect = state.config_options().sql_parser.dialect;
    state.sql_to_statement(sql, &dialect).map_err(|error| sql_error::refuse(error, state))
}

/// The aggregates of queries that views do not have.
fn aggregates() -> [Arc<AggregateUDF>; 1] {
    [Arc::new(measure::function())]
}

/// The plan over columns only, with all limits on plans.
fn plan_columns(
    state: &SessionState,
    runtime: &Handle,
    query: Box<ast::Statement>,
) -> Result<LogicalPlan, GatewayError> {
    let planned = runtime.block_on(state.statement_to_plan(Statement::Statement(query)));
    let plan = planned.map_err(|error| sql_error::refuse(error, state))?;
    check_plan(&plan, state)?;
    complexity::check_plan(&plan)?;
    measure::check_sums(&plan)?;
    Ok(plan)
}

/// The plan without what the engine cannot run as it stands.
fn rewrite(plan: LogicalPlan, state: &SessionState) -> Result<LogicalPlan, GatewayError> {
    let rewritten = measure::rewrite(plan).and_then(correlated::prepare);
    rewritten.map_err(|error| sql_error::refuse(error, state))
}

/// Runs work of the engine that does not let others run in between.
async fn on_thread<T: Send + 'static>(
    work: impl FnOnce(&Handle) -> Result<T, GatewayError> + Send + 'static,
) -> Result<T, GatewayError> {
    let runtime = Handle::current();
    patience::on_thread(move || work(&runtime)).await?
}

/// Refuses what the engine would read otherwise than it is written.
fn check_readings(statement: &ast::Statement) -> Result<(), GatewayError> {
    match views::misreadings(statement).into_iter().next() {
        Some(found) => Err(GatewayError::bad_with_hint(format!("`{}`: {}", found.text, found.message), found.hint)),
        None => Ok(()),
    }
}

/// A second look at what was planned, whatever the parser let through.
fn check_plan(plan: &LogicalPlan, state: &SessionState) -> Result<(), GatewayError> {
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
    visited.map_err(|error| sql_error::refuse(error, state))?;
    if is_read_only { Ok(()) } else { Err(GatewayError::bad("only SELECT is allowed")) }
}
