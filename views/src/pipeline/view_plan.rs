//! Planning a checked view: the engine's SQL planner and analyzer do the types, then the plan is taken apart into what
//! stands before the aggregate, the aggregates, and what stands after them.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, DataFusionError, TableReference};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::expr::{AggregateFunction, Sort};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{EmptyRelation, Expr, ExprSchemable, LogicalPlan, cast, ident, try_cast};
use datafusion::physical_expr::aggregate::LoweredAggregateBuilder;
use datafusion::sql::parser::Statement;
use datafusion::sql::planner::{ParserOptions, SqlToRel};
use datafusion::sql::sqlparser::ast::{CreateView, Statement as SqlStatement};

use super::findings::Findings;
use super::options::ViewOptions;
use super::statements::Located;
use super::tables::{PlanContext, Tables};
use super::view_shape::{Role, Shape, state_columns};
use super::view_syntax::{CheckedView, Item};
use crate::aggregate::{StoredAggregate, Verdict, order_keys_wanted, verdict};
use crate::fallible::{guard, guard_plan};
use crate::hash::Definition;
use crate::plan::{AggregatePart, ViewParts};
use crate::storable::{stored_type, utc_micros};
use crate::{AggregateClass, Dimension, Measure, ViewDefinition, column};
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
    ) -> Option<ViewDefinition> {
        let plan = match self.analyzed(view) {
            Ok(plan) => plan,
            Err(error) => {
                self.report(&error, findings);
                return None;
            }
        };
        let shape = Shape::of(&plan);
        let Some(shape) = shape.filter(|shape| shape.outputs.len() == checked.items.len()) else {
            let hint = "write SELECT keys, aggregates FROM source GROUP BY keys";
            findings.add(self.statement.line, &self.statement.head(), "the view is no plain GROUP BY", hint);
            return None;
        };
        let before = findings.len();
        let roles = self.roles(&shape, checked, findings);
        let parts = self.parts(&shape, &roles, checked, findings);
        if findings.len() > before {
            return None;
        }
        let definition = self.define(name, view, checked, options, parts);
        definition.map_err(|error| self.report(&error, findings)).ok()
    }

    fn analyzed(&self, view: &CreateView) -> Result<LogicalPlan, DataFusionError> {
        let context = PlanContext { state: self.state, tables: self.tables };
        let options = ParserOptions::from(&self.state.config_options().sql_parser);
        let planner = SqlToRel::new_with_options(&context, options);
        let query = Statement::Statement(Box::new(SqlStatement::Query(view.query.clone())));
        let plan = planner.statement_to_plan(query)?;
        guard_plan(self.state.analyzer().execute_and_check(plan, self.state.config_options(), |_, _| {})?)
    }

    /// An engine error as a problem, at the place that the engine names or at the view.
    fn report(&self, error: &DataFusionError, findings: &mut Findings) {
        let span = error.diagnostic().and_then(|diagnostic| diagnostic.span);
        let line = span.map(|span| usize::try_from(span.start.line).unwrap_or(0)).filter(|line| *line > 0);
        let message = first_line(error);
        // The engine names columns and functions in quotes.
        let named = message.split(['\'', '"']).nth(1).filter(|name| !name.is_empty());
        let column = named.map(|name| name.rsplit_once('.').map_or(name, |(_, column)| column));
        let line = line.or_else(|| column.map(|name| self.statement.line_of(name))).unwrap_or(self.statement.line);
        let head = self.statement.head();
        let hint = if message.contains("GROUP BY") {
            "add the column to GROUP BY, or use it inside an aggregate"
        } else {
            "check the types and arguments of this view"
        };
        findings.add(line, named.unwrap_or(&head), message.clone(), hint);
    }

    fn roles(&self, shape: &Shape, checked: &CheckedView, findings: &mut Findings) -> Vec<Role> {
        let mut roles = Vec::new();
        for (output, item) in shape.outputs.iter().zip(&checked.items) {
            match shape.role(output) {
                Ok(role) => roles.push(role),
                Err((message, hint)) => findings.add(item.line, &item.text, message, hint),
            }
        }
        for (index, key) in shape.aggregate.group_expr.iter().enumerate() {
            if !roles.iter().any(|role| matches!(role, Role::Key(used) if *used == index)) && findings.is_empty() {
                let hint = "add it to the SELECT list, so that its groups can be told apart";
                findings.add(self.statement.line_of("group"), &key.to_string(), "this group key has no column", hint);
            }
        }
        roles
    }

    fn parts(&self, shape: &Shape, roles: &[Role], checked: &CheckedView, findings: &mut Findings) -> Planned {
        let alias = TableReference::bare(checked.source_alias.as_str());
        let mut planned = Planned::default();
        for (role, item) in roles.iter().zip(&checked.items) {
            if let Role::Key(index) = role {
                let key = shape.aggregate.group_expr[*index].clone();
                match dimension(&key, shape.aggregate.input.schema(), item) {
                    Ok((dimension, key)) => {
                        planned.dimensions.push(dimension);
                        planned.keys.push(key);
                    }
                    Err(message) => {
                        let hint = "cast the group key to VARCHAR, a number, DATE or TIMESTAMP";
                        findings.add(item.line, &item.text, message, hint);
                    }
                }
            }
        }
        let columns = state_columns(shape, roles, checked);
        for (call, (column, item)) in shape.calls().zip(&columns) {
            match self.aggregate(call, shape, &alias, !checked.statics.is_empty()) {
                Ok(mut part) => {
                    part.column.clone_from(column);
                    planned.aggregates.push(part);
                }
                Err((message, hint)) => findings.add(item.line, &item.text, message, hint),
            }
        }
        planned.source_alias = Some(alias);
        planned.input = Some(shape.aggregate.input.as_ref().clone());
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
    ) -> Result<AggregatePart, (String, String)> {
        let name = call.func.name().to_owned();
        let refused =
            |reason: &str, hint: &str| (format!("{name} cannot be stored and merged: {reason}"), hint.to_owned());
        let input = shape.aggregate.input.schema();
        let mut call = call.clone();
        let filter = call.params.filter.take().map(|filter| *filter);
        if order_keys_wanted(&name) {
            order_by_log(&mut call, source_alias, is_joined);
        }
        let expr = Expr::AggregateFunction(call.clone());
        let wrong = |error: DataFusionError| (first_line(&error), "check its arguments".to_owned());
        let props = ExecutionProps::new();
        let context = PhysicalPlanningContext::default();
        let lowered = LoweredAggregateBuilder::new(&expr, input, input.as_arrow(), &props, &context)
            .with_name(&name)
            .build()
            .map_err(wrong)?;
        let inner = Arc::unwrap_or_clone(lowered.aggregate);
        // Bad constant arguments come out only here.
        inner.create_accumulator().map_err(wrong)?;
        let class = match verdict(&call, inner.field().data_type()) {
            Verdict::Allowed(class) => class,
            Verdict::Refused { reason, hint } => return Err(refused(reason, hint)),
        };
        let mut arguments = call.params.args.clone();
        if !inner.order_bys().is_empty() {
            arguments.extend(call.params.order_by.iter().map(|sort| sort.expr.clone()));
        }
        let types = arguments.iter().map(|argument| argument.get_type(input).map(|known| known.to_string()));
        let types = types.collect::<Result<Vec<_>, _>>().map_err(wrong)?;
        let identity = format!("{expr} over {}", types.join(", "));
        let hint = match inner.field().data_type() {
            DataType::Decimal128(..) => "cast its argument to fewer digits, DECIMAL(25, s) at most, or to DOUBLE",
            _ => "cast its argument to a number, VARCHAR, DATE or TIMESTAMP",
        };
        let aggregate = StoredAggregate::new(inner, identity).map_err(|reason| refused(&reason, hint))?;
        Ok(AggregatePart { column: String::new(), arguments, filter, class, aggregate: Arc::new(aggregate) })
    }

    fn define(
        &self,
        name: ViewName,
        view: &CreateView,
        checked: &CheckedView,
        options: ViewOptions,
        planned: Planned,
    ) -> Result<ViewDefinition, DataFusionError> {
        let statics = checked.statics.iter().filter_map(|name| self.tables.statics(name));
        let definition = Definition {
            name: name.as_str(),
            canonical_sql: &self.statement.canonical_query(),
            source: &checked.source,
            bucket: options.bucket,
            statics: statics.map(|table| (table.name.as_str(), table.schema.as_ref(), &table.digest)).collect(),
        };
        let keys = planned.dimensions.iter().map(|key| Field::new(&key.name, key.data_type.clone(), true));
        let states =
            planned.aggregates.iter().map(|part| Field::new(&part.column, part.aggregate.stored().clone(), true));
        let mut defined = ViewDefinition {
            hash: definition.hash(),
            name,
            source: Arc::clone(&checked.source),
            sql: view.to_string(),
            states: Arc::new(Schema::new(keys.chain(states).collect::<Vec<_>>())),
            answers: Arc::new(Schema::empty()),
            time_dimension: planned.dimensions.iter().position(|key| key.data_type == utc_micros()),
            dimensions: planned.dimensions,
            measures: planned.measures,
            bucket: options.bucket,
            max_state_bytes: options.max_state_bytes,
            parts: Arc::new(ViewParts {
                input: planned.input.unwrap_or_default(),
                source_alias: planned.source_alias.unwrap_or_else(|| TableReference::bare("")),
                keys: planned.keys,
                aggregates: planned.aggregates,
                posts: planned.posts,
            }),
            compiled: Arc::default(),
        };
        let schema = Arc::new(DFSchema::try_from(defined.states.as_ref().clone())?);
        let empty = LogicalPlan::EmptyRelation(EmptyRelation { produce_one_row: false, schema });
        let by: Vec<&str> = defined.dimensions.iter().map(|dimension| dimension.name.as_str()).collect();
        let finished = defined.finish_plan(empty, &by).map_err(|error| DataFusionError::Plan(error.to_string()))?;
        let answers = finished.schema().fields().iter();
        let answers = answers.map(|field| Field::new(field.name(), field.data_type().clone(), true));
        defined.answers = Arc::new(Schema::new(answers.collect::<Vec<_>>()));
        for (measure, field) in defined.measures.iter_mut().zip(&defined.answers.fields()[defined.dimensions.len()..]) {
            measure.data_type = field.data_type().clone();
        }
        Ok(defined)
    }
}

/// What a view is planned into.
#[derive(Default)]
struct Planned {
    input: Option<LogicalPlan>,
    source_alias: Option<TableReference>,
    dimensions: Vec<Dimension>,
    keys: Vec<Expr>,
    aggregates: Vec<AggregatePart>,
    measures: Vec<Measure>,
    posts: Vec<Expr>,
}

impl Planned {
    fn measures(&mut self, shape: &Shape, roles: &[Role], checked: &CheckedView) {
        let keys = shape.aggregate.group_expr.len();
        for (role, item) in roles.iter().zip(&checked.items) {
            let Role::Measure(expr) = role else { continue };
            let used = shape.aggregates_of(expr);
            let class =
                used.iter().fold(AggregateClass::Exact, |class, place| class.weaker(self.aggregates[*place].class));
            let is_plain = matches!(expr, Expr::Column(_));
            let is_additive = is_plain && used.iter().all(|place| is_additive(&self.aggregates[*place]));
            let returns = expr.get_type(&shape.aggregate.schema).unwrap_or(DataType::Null);
            let plain = stored_type(&returns).unwrap_or_else(|_| returns.clone());
            // What stands after the aggregate must not fail either.
            let post = if plain == returns { expr.clone() } else { try_cast(expr.clone(), plain.clone()) };
            let named = post.clone().transform(|expr| {
                Ok(match expr {
                    Expr::Column(column) => {
                        let place = shape.place(&column).and_then(|place| place.checked_sub(keys));
                        let part = place.and_then(|place| self.aggregates.get(place));
                        match part {
                            Some(part) => Transformed::yes(ident(&part.column)),
                            None => Transformed::no(Expr::Column(column)),
                        }
                    }
                    other => Transformed::no(other),
                })
            });
            let post = named.map_or(post, |named| named.data);
            self.posts.push(post);
            self.measures.push(Measure {
                name: item.name.clone(),
                data_type: plain,
                class,
                expression: item.text.clone(),
                is_additive,
            });
        }
    }
}

fn is_additive(part: &AggregatePart) -> bool {
    let inner = part.aggregate.inner();
    matches!(inner.fun().name(), "count" | "sum") && !inner.is_distinct()
}

/// A group key as a column that can be stored, compared and shown.
fn dimension(key: &Expr, input: &DFSchema, item: &Item) -> Result<(Dimension, Expr), String> {
    let given = key.get_type(input).map_err(|error| first_line(&error))?;
    let data_type = match &given {
        // Finer than what events have: nothing is lost.
        DataType::Timestamp(_, _) => utc_micros(),
        other => stored_type(other)?,
    };
    if data_type.is_nested()
        || data_type == DataType::Binary
        || matches!(given, DataType::Time32(_) | DataType::Time64(_) | DataType::Duration(_))
    {
        return Err(format!("a group key of type {given} cannot be asked for"));
    }
    let key = if data_type == given { Ok(key.clone()) } else { guard(cast(key.clone(), data_type.clone()), input) };
    let key = key.map_err(|error| first_line(&error))?;
    Ok((Dimension { name: item.name.clone(), data_type }, key))
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
    // A join may give one event several rows: only their values tell them apart.
    if is_joined {
        call.params.order_by.extend(value.map(ascending));
    }
}

/// What the engine says, without what it wraps around it and without lists of alternatives.
fn first_line(error: &DataFusionError) -> String {
    let text = error.strip_backtrace();
    let mut message = text.lines().next().unwrap_or_default();
    for opening in ["coercion failed with: ", "Error during planning: ", "Internal error: ", "Execution error: "] {
        message = message.rsplit_once(opening).filter(|(_, tail)| !tail.is_empty()).map_or(message, |(_, tail)| tail);
    }
    if text.contains("failed to match any signature") {
        let name = text.split('\'').nth(1).unwrap_or("this function");
        return format!("'{name}' does not take arguments of these types");
    }
    if let Some((_, column)) = text.split_once("While expanding wildcard, column ")
        && let Some(column) = column.split(' ').next()
    {
        return format!("{column} is neither in GROUP BY nor in an aggregate");
    }
    let end = [". No function matches", " This was likely caused", ", errors: "]
        .iter()
        .filter_map(|end| message.find(end))
        .min();
    message[..end.unwrap_or(message.len())].to_owned()
}
