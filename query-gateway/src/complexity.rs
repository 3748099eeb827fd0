//! How much work it would be to plan a query, judged before each step that could blow up.
//!
//! ```text
//!  text --operators--> parse --relations, WITH written out--> plan --nodes, expressions written out--> optimise
//! ```
//!
//! Guarantee: what passes is planned in time and memory that grow with the limits here, not with powers of the text.
//! Pure.
//! Why so: planning cannot be interrupted, and no memory limit sees it. A kilobyte of `WITH` clauses, each of which
//! names the one before it twice, doubles the plan at each of them.
//! Not here: the memory of what runs (`values.rs`, `buffered.rs`).

use std::collections::HashMap;
use std::ops::ControlFlow;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Cast, Expr, LogicalPlan, TryCast};
use datafusion::sql::sqlparser::ast::{ObjectName, Query, Select, Statement, Visit, Visitor};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use crate::GatewayError;

/// Operators in the text: a chain of them is a tree as deep as it is long.
const MAX_OPERATORS: usize = 256;
/// Views, subqueries and SELECTs of a query, `WITH` written out where it is used.
const MAX_RELATIONS: u64 = 128;
/// Nodes of a plan, those of its subqueries included.
const MAX_PLAN_NODES: usize = 4_096;
/// Nodes of one expression, the columns that it names written out down to the views.
const MAX_EXPRESSION_NODES: u64 = 16_384;
/// Functions whose second argument says how long a text becomes.
const LENGTH_FUNCTIONS: [&str; 3] = ["lpad", "rpad", "repeat"];
/// The largest such argument.
const MAX_LENGTH: i64 = 4_096;

/// Keywords that make an expression or a query deeper.
const DEEPENING: [Keyword; 17] = [
    Keyword::AND,
    Keyword::OR,
    Keyword::XOR,
    Keyword::NOT,
    Keyword::IS,
    Keyword::IN,
    Keyword::LIKE,
    Keyword::ILIKE,
    Keyword::BETWEEN,
    Keyword::COLLATE,
    Keyword::AT,
    Keyword::DIV,
    Keyword::UNION,
    Keyword::EXCEPT,
    Keyword::INTERSECT,
    Keyword::JOIN,
    Keyword::EXPLAIN,
];

/// Refuses a text whose tree would be too deep to walk.
pub(crate) fn check_text(sql: &str) -> Result<(), GatewayError> {
    // What cannot be read is told by the parser, in its own words.
    let Ok(tokens) = Tokenizer::new(&GenericDialect {}, sql).tokenize() else { return Ok(()) };
    let operators = tokens.iter().filter(|token| is_deepening(token)).count();
    if operators <= MAX_OPERATORS {
        return Ok(());
    }
    let reason = format!("the SQL text has {operators} operators, the limit is {MAX_OPERATORS}");
    Err(GatewayError::TooLarge { reason, hint: "write a long chain of OR as IN (...)".to_owned() })
}

fn is_deepening(token: &Token) -> bool {
    match token {
        Token::Word(word) => DEEPENING.contains(&word.keyword),
        Token::EOF | Token::Whitespace(_) | Token::Comma | Token::Period | Token::SemiColon => false,
        // Parentheses nest, and the parser limits nesting.
        Token::LParen | Token::RParen => false,
        Token::Number(..) | Token::Char(_) => false,
        Token::SingleQuotedString(_) | Token::DoubleQuotedString(_) | Token::EscapedStringLiteral(_) => false,
        _ => true,
    }
}

/// Refuses a statement that reads too many relations once each `WITH` is written out.
pub(crate) fn check_statement(statement: &Statement) -> Result<(), GatewayError> {
    let mut relations = Relations::default();
    match statement.visit(&mut relations) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(TooMany) => {
            let reason =
                format!("the query reads more than {MAX_RELATIONS} views and subqueries, those of WITH at each use");
            Err(GatewayError::TooLarge { reason, hint: "name fewer of them, or ask in several queries".to_owned() })
        }
    }
}

/// The query is beyond the limit: nothing more to look at.
struct TooMany;

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
        if query.count > MAX_RELATIONS { ControlFlow::Break(TooMany) } else { ControlFlow::Continue(()) }
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

    fn pre_visit_select(&mut self, _select: &Select) -> ControlFlow<TooMany> {
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
    let (mut weight, mut outcome) = (0u64, Ok(()));
    let walked = expr.apply(|node| {
        weight = weight.saturating_add(match node {
            Expr::Column(column) => inputs
                .iter()
                .find_map(|(schema, columns)| columns.get(schema.maybe_index_of_column(column)?).copied())
                .unwrap_or(1),
            _ => 1,
        });
        outcome = check_node(node, nodes);
        let goes_on = outcome.is_ok() && weight <= MAX_EXPRESSION_NODES;
        Ok(if goes_on { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    });
    walked.map_err(Refusal::Engine)?;
    outcome?;
    if weight > MAX_EXPRESSION_NODES { Err(Refusal::ExpressionTooLarge) } else { Ok(weight) }
}

fn check_node(node: &Expr, nodes: &mut usize) -> Result<(), Refusal> {
    match node {
        Expr::Exists(exists) => weigh(&exists.subquery.subquery, nodes).map(|_| ()),
        Expr::InSubquery(test) => weigh(&test.subquery.subquery, nodes).map(|_| ()),
        Expr::ScalarSubquery(subquery) => weigh(&subquery.subquery, nodes).map(|_| ()),
        // One value of such a type takes the memory that the type asks for.
        Expr::Cast(Cast { field, .. }) | Expr::TryCast(TryCast { field, .. }) if has_fixed_size(field.data_type()) => {
            Err(Refusal::Refused(format!("a cast to {} is not allowed; leave out the size", field.data_type())))
        }
        Expr::ScalarFunction(function) => check_length(function).map_err(Refusal::Refused),
        _ => Ok(()),
    }
}

/// Refuses a text whose length is written as a number, where that is no constant or a large one.
fn check_length(function: &ScalarFunction) -> Result<(), String> {
    let name = function.func.name();
    if !LENGTH_FUNCTIONS.contains(&name) {
        return Ok(());
    }
    let length = match function.args.get(1) {
        // Judged once it has its value.
        None | Some(Expr::Placeholder(_)) => return Ok(()),
        Some(Expr::Literal(value, _)) => value.cast_to(&DataType::Int64).ok(),
        Some(_) => None,
    };
    match length {
        Some(ScalarValue::Int64(length)) if length.is_none_or(|length| length <= MAX_LENGTH) => Ok(()),
        _ => Err(format!("the second argument of {name} must be a constant of at most {MAX_LENGTH}")),
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
