//! How much work it would be to plan a query, judged before each step that could blow up.
//!
//! ```text
//!  text --operators, depth (nesting.rs)--> parse --relations, WITH written out; grouping sets--> plan
//!       --nodes, expressions written out--> optimise
//! ```
//!
//! Guarantee: what passes is planned in time and memory that grow with the limits here, not with powers of the text.
//! Pure.
//! Why so: planning cannot be interrupted, and no memory limit sees it. A kilobyte of `WITH` clauses, each of which
//! names the one before it twice, doubles the plan at each of them.
//! Not here: the text before it is parsed (`nesting.rs`), the memory of what runs (`values.rs`, `buffered.rs`).

use std::collections::HashMap;
use std::ops::ControlFlow;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion, TreeNodeVisitor};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{BinaryExpr, Cast, Expr, LogicalPlan, Operator, TryCast};
use datafusion::sql::sqlparser::ast::{
    self, GroupByExpr, GroupByWithModifier, ObjectName, Query, Select, Statement, Visit, Visitor,
};

use crate::GatewayError;

/// Grouping sets of a SELECT, times its keys: each set holds all keys of the rows that are grouped together.
const MAX_GROUPED_KEYS: u64 = 512;
/// Views, subqueries and SELECTs of a query, `WITH` written out where it is used.
const MAX_RELATIONS: u64 = 128;
/// Nodes of a plan, those of its subqueries included.
const MAX_PLAN_NODES: usize = 4_096;
/// Nodes of one expression, the columns that it names written out down to the views.
const MAX_EXPRESSION_NODES: u64 = 16_384;
/// Functions whose second argument says how long a text becomes.
const LENGTH_FUNCTIONS: [&str; 3] = ["lpad", "rpad", "repeat"];
/// An aggregate whose fourth argument says how many numbers it makes room for, in each group.
const DIGEST: &str = "approx_percentile_cont_with_weight";
/// The largest such argument.
const MAX_LENGTH: i64 = 4_096;

/// Functions that the optimiser replaces by a CASE, in which arguments stand twice.
const WRITTEN_TWICE: [&str; 3] = ["coalesce", "nvl", "nvl2"];
/// The longest list of IN that the optimiser replaces by comparisons, in each of which the left side stands.
const MAX_WRITTEN_LIST: usize = 3;

/// Refuses a statement that reads too many relations once each `WITH` is written out.
pub(crate) fn check_statement(statement: &Statement) -> Result<(), GatewayError> {
    let mut relations = Relations::default();
    match statement.visit(&mut relations) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(TooMany::Relations) => {
            let reason =
                format!("the query reads more than {MAX_RELATIONS} views and subqueries, those of WITH at each use");
            Err(GatewayError::TooLarge { reason, hint: "name fewer of them, or ask in several queries".to_owned() })
        }
        ControlFlow::Break(TooMany::GroupedKeys) => {
            let reason = format!("a GROUP BY has more than {MAX_GROUPED_KEYS} keys, counted in each grouping set");
            let hint = "name the sets that you need with GROUPING SETS, or ask in several queries".to_owned();
            Err(GatewayError::TooLarge { reason, hint })
        }
    }
}

/// The query is beyond a limit: nothing more to look at.
enum TooMany {
    Relations,
    GroupedKeys,
}

/// Keys of a GROUP BY, once for each grouping set that it stands for; 0 where there is one set alone.
fn grouped_keys(group_by: &GroupByExpr) -> u64 {
    let (exprs, modifiers) = match group_by {
        GroupByExpr::All(modifiers) => (&[] as &[ast::Expr], modifiers),
        GroupByExpr::Expressions(exprs, modifiers) => (exprs.as_slice(), modifiers),
    };
    let (mut sets, mut keys) = (1u64, 0u64);
    for expr in exprs {
        let (of_expr, named): (u64, usize) = match expr {
            ast::Expr::Cube(parts) => (subsets(parts.len()), parts.iter().map(Vec::len).sum()),
            ast::Expr::Rollup(parts) => (count(parts.len()) + 1, parts.iter().map(Vec::len).sum()),
            ast::Expr::GroupingSets(parts) => (count(parts.len()), parts.iter().map(Vec::len).sum()),
            _ => (1, 1),
        };
        sets = sets.saturating_mul(of_expr);
        keys = keys.saturating_add(count(named));
    }
    for modifier in modifiers {
        sets = sets.saturating_mul(match modifier {
            GroupByWithModifier::Cube => subsets(exprs.len()),
            _ => count(exprs.len()) + 1,
        });
    }
    if sets > 1 { sets.saturating_mul(keys) } else { 0 }
}

/// How many sets can be made of so many parts.
fn subsets(parts: usize) -> u64 {
    u32::try_from(parts).ok().and_then(|parts| 1u64.checked_shl(parts)).unwrap_or(u64::MAX)
}

fn count(of: usize) -> u64 {
    u64::try_from(of).unwrap_or(u64::MAX)
}

/// Counts relations while a statement is walked from the outside in.
#[derive(Default)]
struct Relations {
    open: Vec<OpenQuery>,
}

/// A query whose relations are being counted.
struct OpenQuery {
    count: u64,
    /// Which of the queries inside stand in its WITH, by address, and their names.
    with: HashMap<*const Query, String>,
    /// What each name of its WITH stands for.
    names: HashMap<String, u64>,
}

impl Relations {
    fn add(&mut self, count: u64) -> ControlFlow<TooMany> {
        let Some(query) = self.open.last_mut() else { return ControlFlow::Continue(()) };
        query.count = query.count.saturating_add(count);
        if query.count > MAX_RELATIONS { ControlFlow::Break(TooMany::Relations) } else { ControlFlow::Continue(()) }
    }
}

impl Visitor for Relations {
    type Break = TooMany;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<TooMany> {
        let with = query.with.iter().flat_map(|with| &with.cte_tables);
        let with = with.map(|cte| (std::ptr::from_ref(cte.query.as_ref()), cte.alias.name.value.to_lowercase()));
        self.open.push(OpenQuery { count: 0, with: with.collect(), names: HashMap::new() });
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<TooMany> {
        let Some(done) = self.open.pop() else { return ControlFlow::Continue(()) };
        let outer = self.open.last_mut();
        match outer.and_then(|outer| Some((outer.with.remove(&std::ptr::from_ref(query))?, outer))) {
            Some((name, outer)) => {
                outer.names.insert(name, done.count);
                ControlFlow::Continue(())
            }
            None => self.add(done.count),
        }
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<TooMany> {
        if grouped_keys(&select.group_by) > MAX_GROUPED_KEYS {
            return ControlFlow::Break(TooMany::GroupedKeys);
        }
        self.add(1)
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<TooMany> {
        let name = relation.to_string().trim_matches('"').to_lowercase();
        let count = self.open.iter().rev().find_map(|query| query.names.get(&name)).copied();
        self.add(count.unwrap_or(1))
    }
}

/// Refuses a plan that would grow too large where columns are replaced by what they stand for.
pub(crate) fn check_plan(plan: &LogicalPlan) -> Result<(), GatewayError> {
    let mut nodes = 0;
    weigh(plan, &mut nodes).map(|_| ()).map_err(|error| match error {
        Refusal::PlanTooLarge => GatewayError::TooLarge {
            reason: format!("the query has more than {MAX_PLAN_NODES} steps (joins, filters, subqueries)"),
            hint: "split the query".to_owned(),
        },
        Refusal::ExpressionTooLarge => GatewayError::TooLarge {
            reason: format!(
                "an expression of the query has more than {MAX_EXPRESSION_NODES} nodes once all names are written out"
            ),
            hint: "nest fewer computed columns".to_owned(),
        },
        Refusal::Refused(reason) => GatewayError::bad(reason),
        Refusal::Engine(error) => GatewayError::Definition(views::DefinitionError::Engine(error)),
    })
}

enum Refusal {
    PlanTooLarge,
    ExpressionTooLarge,
    Refused(String),
    Engine(DataFusionError),
}

/// How many nodes each column of a plan has.
fn weigh(plan: &LogicalPlan, nodes: &mut usize) -> Result<Vec<u64>, Refusal> {
    *nodes += 1;
    if *nodes > MAX_PLAN_NODES {
        return Err(Refusal::PlanTooLarge);
    }
    let mut inputs = Vec::new();
    for input in plan.inputs() {
        inputs.push((input.schema().as_ref(), weigh(input, nodes)?));
    }
    let mut weights = Vec::new();
    let mut outcome = Ok(());
    let mut look = |expr: &Expr| {
        outcome = weigh_expr(expr, &inputs, nodes).map(|weight| weights.push(weight));
        Ok(if outcome.is_ok() { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    };
    plan.apply_expressions(&mut look).map_err(Refusal::Engine)?;
    outcome?;
    Ok(columns_of(plan, &inputs, &weights))
}

fn columns_of(plan: &LogicalPlan, inputs: &[(&DFSchema, Vec<u64>)], weights: &[u64]) -> Vec<u64> {
    let width = plan.schema().fields().len();
    let below: Vec<u64> = inputs.iter().flat_map(|(_, columns)| columns.iter().copied()).collect();
    let largest = below.iter().chain(weights).copied().max().unwrap_or(1);
    match plan {
        LogicalPlan::Projection(_) if weights.len() == width => weights.to_vec(),
        LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::Distinct(_)
        | LogicalPlan::Join(_)
            if below.len() == width =>
        {
            below
        }
        // Nothing is written out through an aggregate's results, but its keys are.
        _ => vec![largest; width],
    }
}

fn weigh_expr(expr: &Expr, inputs: &[(&DFSchema, Vec<u64>)], nodes: &mut usize) -> Result<u64, Refusal> {
    let mut weighing = Weighing { inputs, nodes, below: vec![0], outcome: Ok(()) };
    expr.visit(&mut weighing).map_err(Refusal::Engine)?;
    weighing.outcome?;
    Ok(weighing.below.pop().unwrap_or_default())
}

/// Weighs an expression from its leaves up.
struct Weighing<'a> {
    inputs: &'a [(&'a DFSchema, Vec<u64>)],
    nodes: &'a mut usize,
    /// The weight below each node that is being walked, the outermost first; that of the whole at the end.
    below: Vec<u64>,
    outcome: Result<(), Refusal>,
}

impl Weighing<'_> {
    fn go_on(&self) -> Result<TreeNodeRecursion, DataFusionError> {
        Ok(if self.outcome.is_ok() { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    }
}

impl<'n> TreeNodeVisitor<'n> for Weighing<'_> {
    type Node = Expr;

    fn f_down(&mut self, node: &'n Expr) -> Result<TreeNodeRecursion, DataFusionError> {
        self.outcome = check_node(node, self.nodes);
        self.below.push(0);
        self.go_on()
    }

    fn f_up(&mut self, node: &'n Expr) -> Result<TreeNodeRecursion, DataFusionError> {
        let own = match node {
            Expr::Column(column) => self
                .inputs
                .iter()
                .find_map(|(schema, columns)| columns.get(schema.maybe_index_of_column(column)?).copied())
                .unwrap_or(1),
            _ => 1,
        };
        let below = self.below.pop().unwrap_or_default();
        let weight = below.saturating_mul(copies_below(node)).saturating_add(own);
        if weight > MAX_EXPRESSION_NODES {
            self.outcome = Err(Refusal::ExpressionTooLarge);
        }
        if let Some(around) = self.below.last_mut() {
            *around = around.saturating_add(weight);
        }
        self.go_on()
    }
}

/// How often the optimiser writes out what stands in such an expression: some are CASE, OR and AND in short.
fn copies_below(expr: &Expr) -> u64 {
    match expr {
        Expr::ScalarFunction(function) if WRITTEN_TWICE.contains(&function.func.name()) => 2,
        Expr::Between(_) => 2,
        Expr::InList(list) if list.list.len() <= MAX_WRITTEN_LIST => 3,
        _ => 1,
    }
}

fn check_node(node: &Expr, nodes: &mut usize) -> Result<(), Refusal> {
    match node {
        Expr::Exists(exists) => weigh(&exists.subquery.subquery, nodes).map(|_| ()),
        Expr::InSubquery(test) => weigh(&test.subquery.subquery, nodes).map(|_| ()),
        Expr::ScalarSubquery(subquery) => weigh(&subquery.subquery, nodes).map(|_| ()),
        Expr::SetComparison(test) => weigh(&test.subquery.subquery, nodes).map(|_| ()),
        // One value of such a type takes the memory that the type asks for.
        Expr::Cast(Cast { field, .. }) | Expr::TryCast(TryCast { field, .. }) if has_fixed_size(field.data_type()) => {
            Err(Refusal::Refused(format!("a cast to {} is not allowed; leave out the size", field.data_type())))
        }
        Expr::ScalarFunction(function) => {
            let pattern = if function.func.name().starts_with("regexp_") { function.args.get(1) } else { None };
            check_length(function).and_then(|()| check_pattern(pattern)).map_err(Refusal::Refused)
        }
        Expr::AggregateFunction(call) => check_digest(call.func.name(), &call.params.args).map_err(Refusal::Refused),
        Expr::WindowFunction(call) => check_digest(call.fun.name(), &call.params.args).map_err(Refusal::Refused),
        Expr::Like(like) | Expr::SimilarTo(like) => {
            check_pattern(Some(like.pattern.as_ref())).map_err(Refusal::Refused)
        }
        Expr::BinaryExpr(BinaryExpr { op, right, .. }) if is_matching(*op) => {
            check_pattern(Some(right.as_ref())).map_err(Refusal::Refused)
        }
        _ => Ok(()),
    }
}

fn is_matching(op: Operator) -> bool {
    matches!(op, Operator::RegexMatch | Operator::RegexIMatch | Operator::RegexNotMatch | Operator::RegexNotIMatch)
}

/// Refuses a pattern that may be another one in each row: making it ready takes longer than looking for it.
fn check_pattern(pattern: Option<&Expr>) -> Result<(), String> {
    let varies = |part: &Expr| {
        let is_of_rows = matches!(
            part,
            Expr::Column(_)
                | Expr::OuterReferenceColumn(..)
                | Expr::ScalarSubquery(_)
                | Expr::AggregateFunction(_)
                | Expr::WindowFunction(_)
        );
        Ok(is_of_rows || part.is_volatile_node())
    };
    match pattern.map(|pattern| pattern.exists(varies)) {
        None | Some(Ok(false)) => Ok(()),
        Some(_) => {
            Err("a pattern must be the same for all rows; ask for starts_with(x, y) or strpos(x, y) > 0".to_owned())
        }
    }
}

/// Refuses a text whose length is written as a number, where that is no constant or a large one.
fn check_length(function: &ScalarFunction) -> Result<(), String> {
    let name = function.func.name();
    if !LENGTH_FUNCTIONS.contains(&name) {
        return Ok(());
    }
    check_number(name, "second", function.args.get(1))
}

fn check_digest(name: &str, args: &[Expr]) -> Result<(), String> {
    if name == DIGEST { check_number(name, "fourth", args.get(3)) } else { Ok(()) }
}

fn check_number(name: &str, place: &str, argument: Option<&Expr>) -> Result<(), String> {
    let number = match argument {
        // Judged once it has its value.
        None | Some(Expr::Placeholder(_)) => return Ok(()),
        Some(Expr::Literal(value, _)) => value.cast_to(&DataType::Int64).ok(),
        Some(_) => None,
    };
    match number {
        Some(ScalarValue::Int64(number)) if number.is_none_or(|number| number <= MAX_LENGTH) => Ok(()),
        _ => Err(format!("the {place} argument of {name} must be a constant of at most {MAX_LENGTH}")),
    }
}

fn has_fixed_size(data_type: &DataType) -> bool {
    match data_type {
        DataType::FixedSizeBinary(_) | DataType::FixedSizeList(..) => true,
        DataType::List(item) | DataType::LargeList(item) => has_fixed_size(item.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| has_fixed_size(field.data_type())),
        _ => false,
    }
}
