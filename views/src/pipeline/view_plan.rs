//! Planning a checked view: the plan that the engine makes of it (`view_analysis.rs`) is taken apart into what stands
//! before the aggregate, the aggregates, and what stands after them.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, DataFusionError, TableReference};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::expr::{AggregateFunction, Sort};
use datafusion::logical_expr::{EmptyRelation, Expr, ExprSchemable, LogicalPlan, cast, ident, try_cast};
use datafusion::sql::sqlparser::ast::CreateView;

use super::findings::Findings;
use super::options::ViewOptions;
use super::statements::Located;
use super::tables::Tables;
use super::view_analysis::{Unplanned, analyzed, first_line};
use super::view_shape::{Role, Shape, state_columns};
use super::view_syntax::{CheckedView, Item};
use crate::aggregate::{
    AggregateCall, AggregateClass, CallRecipe, Distinct, MergeFacts, Refusal, StoredAggregate, merge_facts,
};
use crate::definition::{Dimension, Measure, ViewDefinition};
use crate::fallible::guard;
use crate::float_key::float_key;
use crate::hash::Definition;
use crate::plan::{FinishedMeasure, ViewPlans};
use crate::plan_cache::PlanCache;
use crate::planned_view::PlannedView;
use crate::source::{SourceDefinition, column};
use crate::sql_name::sql_name;
use crate::storable::{stored_type, utc_micros};
use crate::time_step::TimeStep;
use crate::unnest::as_written;
use positions::ViewName;

/// What planning a view needs to know.
pub(super) struct Planner<'a> {
    pub(super) state: &'a SessionState,
    pub(super) tables: &'a Tables,
    pub(super) statement: &'a Located,
}

impl Planner<'_> {
    /// Plans a view; `None` if anything is wrong with it.
    pub(super) fn plan_view(
        &self,
        name: ViewName,
        view: &CreateView,
        checked: &CheckedView,
        options: ViewOptions,
        findings: &mut Findings,
    ) -> Option<PlannedView> {
        let plan = match analyzed(self.state, checked) {
            Ok(plan) => plan,
            Err(Unplanned::Engine(error)) => {
                self.report(&error, findings);
                return None;
            }
            Err(Unplanned::NoArray(found)) => {
                let unnested = checked.unnested.as_ref()?;
                let hint =
                    "name an ARRAY of the event, or make one: string_to_array(x, ',') of text, map_keys(x) of a MAP";
                let message = format!("UNNEST takes an ARRAY of the event, and this is {found}");
                findings.add(unnested.line, &unnested.text, message, hint);
                return None;
            }
        };
        let shape = Shape::of(&plan);
        let Some(shape) = shape.filter(|shape| shape.outputs.len() == checked.items.len()) else {
            let hint = "write SELECT keys, aggregates FROM source GROUP BY keys";
            findings.add(self.statement.line, &self.statement.head(), "the view is not a plain GROUP BY", hint);
            return None;
        };
        let before = findings.len();
        let roles = self.roles(&shape, checked, findings);
        let planned = self.planned(&shape, &roles, checked, findings);
        if findings.len() > before {
            return None;
        }
        let defined = self.define(name, view, checked, options, planned);
        defined.map_err(|error| self.report(&error, findings)).ok()
    }

    /// An engine error as a finding, at the place that the engine names or at the view.
    fn report(&self, error: &DataFusionError, findings: &mut Findings) {
        let span = error.diagnostic().and_then(|diagnostic| diagnostic.span);
        let line = span.map(|span| usize::try_from(span.start.line).unwrap_or(0)).filter(|line| *line > 0);
        let message = first_line(error);
        let (reason, way_out) = match message.split_once("; write ") {
            Some((reason, way_out)) => (reason, Some(format!("write {way_out}"))),
            None => (message.as_str(), None),
        };
        // The engine names columns and functions in quotes.
        let named = reason.split(['\'', '"']).nth(1).filter(|name| !name.is_empty());
        let column = named.map(|name| name.rsplit_once('.').map_or(name, |(_, column)| column));
        let line = line.or_else(|| column.map(|name| self.statement.line_of(name))).unwrap_or(self.statement.line);
        let head = self.statement.head();
        let hint = way_out.unwrap_or_else(|| {
            let hint = if reason.contains("GROUP BY") {
                "add the column to GROUP BY, or use it inside an aggregate"
            } else if reason.contains("not found in struct") {
                "name a field that the column declares, in its very letters"
            } else {
                "check the types and arguments of this view"
            };
            hint.to_owned()
        });
        findings.add(line, named.unwrap_or(&head), reason, hint);
    }

    fn roles(&self, shape: &Shape, checked: &CheckedView, findings: &mut Findings) -> Vec<Role> {
        let mut roles: Vec<Role> = Vec::new();
        for (output, item) in shape.outputs.iter().zip(&checked.items) {
            let is_used = |key: usize| roles.iter().any(|role| matches!(role, Role::Key(used) if *used == key));
            match shape.role(output) {
                Ok(Role::Key(key)) if is_used(key) => {
                    let hint = "select each group key once, and give it a second name when you ask";
                    findings.add(item.line, &item.text, "this group key has a column already", hint);
                }
                Ok(role) => roles.push(role),
                Err((message, hint)) => findings.add(item.line, &item.text, message, hint),
            }
        }
        for (index, key) in shape.aggregate.group_expr.iter().enumerate() {
            if !roles.iter().any(|role| matches!(role, Role::Key(used) if *used == index)) && findings.is_empty() {
                let hint = "add it to the SELECT list, so that its groups can be told apart";
                let key = as_written(&key.to_string());
                findings.add(self.statement.line_of("group"), &key, "this group key has no column", hint);
            }
        }
        roles
    }

    fn planned(&self, shape: &Shape, roles: &[Role], checked: &CheckedView, findings: &mut Findings) -> Planned {
        let alias = TableReference::bare(checked.source_alias.as_str());
        let mut planned = Planned::new(shape.aggregate.input.as_ref().clone(), alias.clone());
        for (role, item) in roles.iter().zip(&checked.items) {
            if let Role::Key(index) = role {
                let key = shape.aggregate.group_expr[*index].clone();
                match dimension(&key, shape.aggregate.input.schema(), item) {
                    Ok((dimension, key)) => {
                        planned.keys.push((dimension.name.clone(), key));
                        planned.dimensions.push(dimension);
                    }
                    Err((message, hint)) => findings.add(item.line, &item.text, message, hint),
                }
            }
        }
        let columns = state_columns(shape, roles, checked);
        for (call, (column, item)) in shape.calls().zip(&columns) {
            match self.aggregate(call, shape, &alias, checked.is_joined()) {
                Ok(call) => planned.aggregates.push(AggregateCall { column: column.clone(), ..call }),
                Err((message, hint)) => findings.add(item.line, &item.text, message, hint),
            }
        }
        if planned.aggregates.len() == columns.len() {
            planned.measures(shape, roles, checked);
        }
        if planned.measures.is_empty() && findings.is_empty() {
            let hint = "add an aggregate, for example `count(*) AS events`";
            findings.add(self.statement.line, &self.statement.head(), "the view has no measure", hint);
        }
        planned
    }

    /// Plans one aggregate call as the engine would, and wraps it.
    fn aggregate(
        &self,
        call: &AggregateFunction,
        shape: &Shape,
        source_alias: &TableReference,
        is_joined: bool,
    ) -> Result<AggregateCall, (String, String)> {
        let name = call.func.name().to_owned();
        let refused =
            |reason: &str, hint: &str| (format!("{name} cannot be stored and merged: {reason}"), hint.to_owned());
        let facts = merge_facts(&name);
        let input = shape.aggregate.input.schema();
        let mut call = call.clone();
        let filter = call.params.filter.take().map(|filter| *filter);
        if let Ok(MergeFacts { distinct: Distinct::Refused(Refusal { reason, hint }), .. }) = facts
            && call.params.distinct
        {
            return Err((format!("{name} cannot be made of distinct values: {reason}"), (*hint).to_owned()));
        }
        if let Some(lenient) = facts.ok().and_then(|facts| facts.lenient) {
            call.func = Arc::new(lenient());
        }
        if facts.is_ok_and(|facts| facts.follows_log) {
            order_by_log(&mut call, source_alias, is_joined);
        }
        let expr = Expr::AggregateFunction(call.clone());
        let wrong = |error: DataFusionError| (first_line(&error), "check its arguments".to_owned());
        let recipe = CallRecipe { call: expr.clone(), input: Arc::clone(input), name: name.clone() };
        let inner = recipe.plan().map_err(wrong)?;
        // Bad constant arguments come out only here.
        inner.create_accumulator().map_err(wrong)?;
        let facts = facts.map_err(|Refusal { reason, hint }| refused(reason, hint))?;
        let class = facts.class_of_call(&inner);
        let is_additive = facts.is_additive && !call.params.distinct;
        let mut arguments = call.params.args.clone();
        if !inner.order_bys().is_empty() {
            arguments.extend(call.params.order_by.iter().map(|sort| sort.expr.clone()));
        }
        let types = arguments.iter().map(|argument| argument.get_type(input).map(|known| known.to_string()));
        let types = types.collect::<Result<Vec<_>, _>>().map_err(wrong)?;
        let identity = format!("{expr} over {}", types.join(", "));
        let hint = match inner.field().data_type() {
            DataType::Decimal256(..) => "cast its argument to DECIMAL(38, s) at most, or to DOUBLE",
            _ => "cast its argument to a number, VARCHAR, DATE or TIMESTAMP",
        };
        let aggregate = StoredAggregate::new(recipe, inner, identity).map_err(|reason| refused(&reason, hint))?.into();
        Ok(AggregateCall { column: String::new(), arguments, filter, class, is_additive, aggregate })
    }

    fn define(
        &self,
        name: ViewName,
        view: &CreateView,
        checked: &CheckedView,
        options: ViewOptions,
        mut planned: Planned,
    ) -> Result<PlannedView, DataFusionError> {
        let statics = checked.statics.iter().filter_map(|name| self.tables.statics(name));
        let definition = Definition {
            name: name.as_str(),
            canonical_sql: &self.statement.canonical_query(),
            source: &checked.source,
            bucket: options.bucket,
            statics: statics.map(|table| (table.name.as_str(), table.schema.as_ref(), &table.digest)).collect(),
        };
        let plans = planned.plans(&name, &checked.source, options.max_state_bytes);
        let by: Vec<&str> = planned.dimensions.iter().map(|dimension| dimension.name.as_str()).collect();
        let answers = answers(&plans, &by)?;
        for (measure, field) in planned.measures.iter_mut().zip(&answers.fields()[by.len()..]) {
            measure.data_type = field.data_type().clone();
        }
        let definition = ViewDefinition {
            hash: definition.hash(),
            static_tables: definition.static_texts(),
            name,
            source: Arc::clone(&checked.source),
            sql: view.to_string(),
            states: Arc::clone(&plans.states),
            answers,
            time_dimension: planned.dimensions.iter().position(|key| key.data_type == utc_micros()),
            dimensions: planned.dimensions,
            measures: planned.measures,
            bucket: options.bucket,
            max_state_bytes: options.max_state_bytes,
        };
        Ok(PlannedView { definition: Arc::new(definition), plans: Arc::new(plans), line: self.statement.line })
    }
}

/// What a view is planned into.
struct Planned {
    input: LogicalPlan,
    source_alias: TableReference,
    dimensions: Vec<Dimension>,
    keys: Vec<(String, Expr)>,
    aggregates: Vec<AggregateCall>,
    measures: Vec<Measure>,
    finished: Vec<FinishedMeasure>,
}

impl Planned {
    fn new(input: LogicalPlan, source_alias: TableReference) -> Self {
        let (dimensions, keys, aggregates) = (Vec::new(), Vec::new(), Vec::new());
        Self { input, source_alias, dimensions, keys, aggregates, measures: Vec::new(), finished: Vec::new() }
    }

    fn measures(&mut self, shape: &Shape, roles: &[Role], checked: &CheckedView) {
        for (role, item) in roles.iter().zip(&checked.items) {
            let Role::Measure(expr) = role else { continue };
            let used: Vec<&AggregateCall> =
                shape.aggregates_of(expr).into_iter().map(|place| &self.aggregates[place]).collect();
            let class = used.iter().fold(AggregateClass::Exact, |class, call| class.weaker(call.class));
            let is_additive = matches!(expr, Expr::Column(_)) && used.iter().all(|call| call.is_additive);
            let returns = expr.get_type(&shape.aggregate.schema).unwrap_or(DataType::Null);
            let data_type = stored_type(&returns).unwrap_or_else(|_| returns.clone());
            // What stands after the aggregate must not fail either.
            let stored = if data_type == returns { expr.clone() } else { try_cast(expr.clone(), data_type.clone()) };
            let (name, text) = (item.name.clone(), item.text.clone());
            let expression = self.over_states(stored, shape);
            self.finished.push(FinishedMeasure { name: name.clone(), text: text.clone(), expression });
            self.measures.push(Measure { name, data_type, class, expression: text, is_additive });
        }
    }

    /// An expression over the aggregate's output as one over finished aggregates by the names of their state columns.
    fn over_states(&self, expr: Expr, shape: &Shape) -> Expr {
        let keys = shape.aggregate.group_expr.len();
        let named = expr.clone().transform(|expr| {
            let Expr::Column(column) = &expr else { return Ok(Transformed::no(expr)) };
            let place = shape.place(column).and_then(|place| place.checked_sub(keys));
            Ok(match place.and_then(|place| self.aggregates.get(place)) {
                Some(call) => Transformed::yes(ident(&call.column)),
                None => Transformed::no(expr),
            })
        });
        named.map_or(expr, |named| named.data)
    }

    /// The plans, without what only the definition needs.
    fn plans(&mut self, view: &ViewName, source: &Arc<SourceDefinition>, max_state_bytes: usize) -> ViewPlans {
        let keys = self.dimensions.iter().map(|key| Field::new(&key.name, key.data_type.clone(), true));
        let states = self.aggregates.iter().map(|call| Field::new(&call.column, call.aggregate.stored().clone(), true));
        ViewPlans {
            view: view.clone(),
            source: Arc::clone(source),
            states: Arc::new(Schema::new(keys.chain(states).collect::<Vec<_>>())),
            input: std::mem::take(&mut self.input),
            source_alias: self.source_alias.clone(),
            keys: std::mem::take(&mut self.keys),
            aggregates: std::mem::take(&mut self.aggregates),
            measures: std::mem::take(&mut self.finished),
            max_state_bytes,
            compiled: PlanCache::default(),
        }
    }
}

/// What an answer by all dimensions looks like.
fn answers(plans: &ViewPlans, by: &[&str]) -> Result<SchemaRef, DataFusionError> {
    let schema = Arc::new(DFSchema::try_from(plans.states.as_ref().clone())?);
    let empty = LogicalPlan::EmptyRelation(EmptyRelation { produce_one_row: false, schema });
    let finished = plans.finish_plan(empty, by).map_err(|error| DataFusionError::Plan(error.to_string()))?;
    let fields = finished.schema().fields().iter();
    let fields = fields.map(|field| Field::new(field.name(), field.data_type().clone(), true));
    Ok(Arc::new(Schema::new(fields.collect::<Vec<_>>())))
}

/// A group key as a column that can be stored, compared and shown.
fn dimension(key: &Expr, input: &DFSchema, item: &Item) -> Result<(Dimension, Expr), (String, &'static str)> {
    let castable = |message: String| (message, "cast the group key to VARCHAR, a number, DATE or TIMESTAMP");
    let wrong = |error: DataFusionError| castable(first_line(&error));
    let given = key.get_type(input).map_err(wrong)?;
    let data_type = match &given {
        // Finer than what events have: nothing is lost.
        DataType::Timestamp(_, _) => utc_micros(),
        other => stored_type(other).map_err(castable)?,
    };
    if data_type.is_nested()
        || data_type == DataType::Binary
        || matches!(given, DataType::Time32(_) | DataType::Time64(_) | DataType::Duration(_))
    {
        let message = format!("a group key of type {} cannot be asked for", sql_name(&given));
        return Err(match given {
            DataType::Struct(_) => (message, "group by its fields, as in `x.field`"),
            DataType::List(_) => (message, "take one item of it, as in `x[1]`, or its items with UNNEST"),
            _ => castable(message),
        });
    }
    let step = if given == utc_micros() { TimeStep::of(key) } else { None };
    let key = if data_type == given { Ok(key.clone()) } else { guard(cast(key.clone(), data_type.clone()), input) };
    let key = key.map_err(wrong)?;
    // Under a name of its own: that of the function leaves casts out, and would be taken.
    let name = format!("float_key {}", item.name);
    let key = if data_type.is_floating() { float_key(key.unalias()).alias(name) } else { key };
    Ok((Dimension { name: item.name.clone(), data_type, step }, key))
}

/// Makes an order-sensitive aggregate a function of the log: its place there is the last sort key.
fn order_by_log(call: &mut AggregateFunction, source_alias: &TableReference, is_joined: bool) {
    let ascending = |expr: Expr| Sort::new(expr, true, false);
    let value = call.params.args.first().cloned();
    // DISTINCT admits no other sort key than the value, and needs none.
    if call.params.distinct {
        if call.params.order_by.is_empty() {
            call.params.order_by.extend(value.map(ascending));
        }
        return;
    }
    for key in [column::PARTITION, column::OFFSET] {
        call.params.order_by.push(ascending(Expr::Column(Column::new(Some(source_alias.clone()), key))));
    }
    // A join or an array may give one event several rows: only their values tell them apart.
    if is_joined {
        call.params.order_by.extend(value.map(ascending));
    }
}
