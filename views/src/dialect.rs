//! Operators that the parser reads otherwise than PostgreSQL does, whose dialect is written here, and clauses that it
//! reads and the engine then passes over.
//!
//! In: a syntax tree as it was parsed. Out: the same tree with `IS DISTINCT FROM` in its place and fields behind
//! brackets by their names ([`mend`]), and all in it that would still be read otherwise than written ([`misreadings`]).
//! Guarantee: a mended tree without misreadings is the tree of PostgreSQL's grammar, for views and queries alike. Pure.
//! Not here: which operators the engine has, but for the arrows of JSON, which have functions in their place; types.
//!
//! # Source
//! The table "Operator Precedence (highest to lowest)" of PostgreSQL's manual, chapter "Lexical Structure".

use std::ops::ControlFlow;

use arrow::array::timezone::Tz;
use datafusion::sql::sqlparser::ast::{
    AccessExpr, BinaryOperator, DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments,
    GroupByExpr, GroupByWithModifier, Select, Spanned, Subscript, TableFactor, UnaryOperator, Value, Visit, VisitMut,
    Visitor, VisitorMut,
};
use datafusion::sql::sqlparser::tokenizer::Span;

/// How tightly operators bind, from the loosest on.
const OR: u8 = 1;
const AND: u8 = 2;
const NOT: u8 = 3;
const IS: u8 = 4;
const COMPARISON: u8 = 5;
const MATCH: u8 = 6;
const OTHER: u8 = 7;
const SUM: u8 = 8;
const PRODUCT: u8 = 9;
const POWER: u8 = 10;
const TIME_ZONE: u8 = 11;
const SIGN: u8 = 12;

/// An expression that would be read otherwise than written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misreading {
    /// Where it stands.
    pub span: Span,
    /// The expression as SQL.
    pub text: String,
    /// What is wrong with it.
    pub message: String,
    /// The way out.
    pub hint: String,
}

/// Puts `IS [NOT] DISTINCT FROM` where it belongs: the parser takes all that follows, AND and OR too, for its right
/// side. Where it was moved it stands in parentheses afterwards, so that the tree may be printed and read again. And
/// `items[1].name` becomes `items[1]['name']`, which is all that the engine knows.
pub fn mend(tree: &mut impl VisitMut) {
    let _ = tree.visit(&mut Mending);
}

/// All that is read otherwise than written in a tree that was mended, in its order.
pub fn misreadings(tree: &impl Visit) -> Vec<Misreading> {
    let mut reading = Reading::default();
    let _ = tree.visit(&mut reading);
    reading.found
}

struct Mending;

impl VisitorMut for Mending {
    type Break = ();

    /// From the inside out: the right side is in order already.
    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::CompoundFieldAccess { root, access_chain } = expr {
            // Before the first bracket stands the path of a column.
            let is_path = matches!(**root, Expr::Identifier(_));
            let path = access_chain.iter().take_while(|access| is_path && matches!(access, AccessExpr::Dot(_))).count();
            access_chain.iter_mut().skip(path).for_each(name_field);
        }
        let reaches_too_far = match expr {
            Expr::IsDistinctFrom(_, right) | Expr::IsNotDistinctFrom(_, right) => junction(right).is_some(),
            Expr::UnaryOp { op: UnaryOperator::Not, expr } => junction(expr).is_some(),
            Expr::BinaryOp { op: BinaryOperator::And, right, .. } => junction(right).is_some(),
            Expr::BinaryOp { op: BinaryOperator::Or, right, .. } => junction(right) == Some(OR),
            _ => false,
        };
        if reaches_too_far {
            let taken = std::mem::replace(expr, Expr::Tuple(Vec::new()));
            *expr = regrouped(taken);
        }
        ControlFlow::Continue(())
    }
}

fn name_field(access: &mut AccessExpr) {
    let AccessExpr::Dot(Expr::Identifier(field)) = access else { return };
    let name = if field.quote_style.is_some() { field.value.clone() } else { field.value.to_lowercase() };
    let index = Expr::Value(Value::SingleQuotedString(name).with_empty_span());
    *access = AccessExpr::Subscript(Subscript::Index { index });
}

/// How tightly an AND or OR without parentheses binds.
fn junction(expr: &Expr) -> Option<u8> {
    match expr {
        Expr::BinaryOp { op: BinaryOperator::And, .. } => Some(AND),
        Expr::BinaryOp { op: BinaryOperator::Or, .. } => Some(OR),
        _ => None,
    }
}

fn regrouped(expr: Expr) -> Expr {
    match expr {
        Expr::IsDistinctFrom(left, right) => {
            attached(IS, *right, |right| Expr::Nested(Box::new(Expr::IsDistinctFrom(left, Box::new(right)))))
        }
        Expr::IsNotDistinctFrom(left, right) => {
            attached(IS, *right, |right| Expr::Nested(Box::new(Expr::IsNotDistinctFrom(left, Box::new(right)))))
        }
        Expr::UnaryOp { op, expr } => attached(NOT, *expr, |expr| Expr::UnaryOp { op, expr: Box::new(expr) }),
        Expr::BinaryOp { left, op, right } => {
            let level = binary_level(&op);
            attached(level, *right, |right| Expr::BinaryOp { left, op, right: Box::new(right) })
        }
        other => other,
    }
}

/// Gives what binds at `level` the first operand of what stands to the right of it, as far as that does not bind
/// tighter.
fn attached(level: u8, right: Expr, operator: impl FnOnce(Expr) -> Expr) -> Expr {
    // From the outer to the inner ones.
    let mut behind = Vec::new();
    let mut first = right;
    loop {
        match first {
            Expr::BinaryOp { left, op: op @ (BinaryOperator::And | BinaryOperator::Or), right }
                if binary_level(&op) <= level =>
            {
                behind.push((op, right));
                first = *left;
            }
            other => {
                first = other;
                break;
            }
        }
    }
    let innermost = operator(first);
    behind.into_iter().rev().fold(innermost, |left, (op, right)| Expr::BinaryOp { left: Box::new(left), op, right })
}

#[derive(Default)]
struct Reading {
    found: Vec<Misreading>,
}

impl Reading {
    fn pass_over(&mut self, span: Span, text: &str, hint: impl Into<String>) {
        let message = "the engine passes over this clause".to_owned();
        self.found.push(Misreading { span, text: text.to_owned(), message, hint: hint.into() });
    }
}

impl Visitor for Reading {
    type Break = ();

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        if let GroupByExpr::Expressions(keys, modifiers) = &select.group_by
            && let Some(modifier) = modifiers.first()
        {
            let keys = keys.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let instead = match modifier {
                GroupByWithModifier::Rollup => format!("ROLLUP ({keys})"),
                GroupByWithModifier::Cube => format!("CUBE ({keys})"),
                _ => format!("GROUPING SETS (({keys}), ())"),
            };
            let hint = format!("write `GROUP BY {instead}` in a query; a view groups by plain keys");
            self.pass_over(select.group_by.span(), &modifier.to_string(), hint);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, table: &TableFactor) -> ControlFlow<()> {
        match table {
            TableFactor::Table { sample: Some(_), .. } | TableFactor::Derived { sample: Some(_), .. } => {
                self.pass_over(table.span(), "TABLESAMPLE", "leave it out: all rows are read");
            }
            TableFactor::Table { with_ordinality: true, .. } => {
                let hint = "leave it out, and number the rows with row_number() OVER (ORDER BY ...)";
                self.pass_over(table.span(), "WITH ORDINALITY", hint);
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if let Some((message, hint)) = other_meaning(expr).or_else(|| unknown(expr)).or_else(|| other_order(expr)) {
            self.found.push(Misreading { span: expr.span(), text: expr.to_string(), message, hint });
        }
        ControlFlow::Continue(())
    }
}

/// Operators and numbers that mean something else to the engine than in SQL, or nothing.
fn other_meaning(expr: &Expr) -> Option<(String, String)> {
    match expr {
        Expr::SimilarTo { negated, expr, pattern, .. } => {
            let (not, bang) = if *negated { ("NOT ", "!") } else { ("", "") };
            let message = "the engine takes the pattern of SIMILAR TO for a regular expression".to_owned();
            let hint = format!(
                "write `{expr} {not}LIKE {pattern}` for the wildcards % and _, or `{expr} {bang}~ {pattern}` for a \
                 regular expression"
            );
            Some((message, hint))
        }
        Expr::BinaryOp { left, op: BinaryOperator::BitwiseXor, right } => {
            let message = "the engine takes ^ for the exclusive or of bits, not for a power".to_owned();
            let hint = format!(
                "write `power({left}, {right})`, or for the bits that differ `({left} | {right}) - ({left} & {right})`"
            );
            Some((message, hint))
        }
        Expr::BinaryOp { left, op: BinaryOperator::Xor, right } => {
            let message = "the engine takes XOR for the exclusive or of bits, and binds it tighter than =".to_owned();
            Some((message, format!("write `({left}) <> ({right})`, with the conditions in full")))
        }
        Expr::BinaryOp { op: op @ (BinaryOperator::Arrow | BinaryOperator::LongArrow), .. } => {
            let function = if *op == BinaryOperator::Arrow { "json_get_json" } else { "json_as_text" };
            Some((format!("the engine has no operator {op}"), format!("write `{function}({})`", json_steps(expr))))
        }
        Expr::Function(function) => of_all_columns(function),
        Expr::Value(value) => match &value.value {
            Value::Number(number, _) if is_beyond_64_bits(number) => {
                let message =
                    "the engine takes a whole number beyond 64 bits for a DOUBLE, and loses digits".to_owned();
                Some((message, format!("write `CAST('{number}' AS DECIMAL(38, 0))`, or `{number}.0` for a DOUBLE")))
            }
            _ => None,
        },
        _ => None,
    }
}

/// What arrows lead through, as the functions that read JSON take it: the text, then each step.
fn json_steps(expr: &Expr) -> String {
    match expr {
        Expr::BinaryOp { left, op: BinaryOperator::Arrow | BinaryOperator::LongArrow, right } => {
            format!("{}, {}", json_steps(left), first_operand(right))
        }
        other => other.to_string(),
    }
}

/// What an arrow leads to: the parser lets comparisons bind tighter than arrows, PostgreSQL does not.
fn first_operand(right: &Expr) -> &Expr {
    match right {
        Expr::BinaryOp { left, .. } => first_operand(left),
        Expr::IsNull(operand) | Expr::IsNotNull(operand) => first_operand(operand),
        Expr::Like { expr, .. } | Expr::ILike { expr, .. } | Expr::InList { expr, .. } | Expr::Between { expr, .. } => {
            first_operand(expr)
        }
        other => other,
    }
}

/// What the parser reads and the engine knows nothing of.
fn unknown(expr: &Expr) -> Option<(String, String)> {
    match expr {
        Expr::AtTimeZone { timestamp, time_zone } => match text_of(time_zone) {
            None => Some((
                "the engine takes no time zone but a written one".to_owned(),
                format!("write the zone as a text, as in `{timestamp} AT TIME ZONE 'Europe/Berlin'`"),
            )),
            Some(zone) if zone.parse::<Tz>().is_err() => Some((
                format!("there is no time zone {zone}"),
                "write a name of the IANA time zone database with its capitals, as in 'Europe/Berlin', or '+02:00'"
                    .to_owned(),
            )),
            Some(_) => None,
        },
        Expr::Collate { expr, .. } => Some((
            "the engine compares text by its bytes, and knows no COLLATE".to_owned(),
            format!("leave COLLATE out, or compare `lower({expr})` where capitals do not matter"),
        )),
        Expr::BinaryOp { left, op: BinaryOperator::Multiply | BinaryOperator::Divide, right }
            if [left, right].iter().any(|side| matches!(side.as_ref(), Expr::Interval(_))) =>
        {
            let hint = "write the interval that you mean, as in `INTERVAL '2 days'`".to_owned();
            Some(("the engine does not multiply or divide intervals".to_owned(), hint))
        }
        _ => None,
    }
}

fn text_of(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => Some(text),
            _ => None,
        },
        _ => None,
    }
}

/// What is wrong with `*` as the argument of a function.
fn of_all_columns(function: &Function) -> Option<(String, String)> {
    let FunctionArguments::List(list) = &function.args else { return None };
    if !list.args.contains(&FunctionArg::Unnamed(FunctionArgExpr::Wildcard)) {
        return None;
    }
    let name = &function.name;
    if list.duplicate_treatment == Some(DuplicateTreatment::Distinct) {
        let message = "the engine takes DISTINCT * for one value, whatever the rows".to_owned();
        return Some((message, format!("write `{name}(*)`, or name the columns: `{name}(DISTINCT a, b)`")));
    }
    let is_of_one = ["avg", "max", "min", "sum"].iter().any(|one| name.to_string().eq_ignore_ascii_case(one));
    is_of_one.then(|| (format!("{name} is of one column, not of *"), format!("name the column, as in `{name}(x)`")))
}

fn is_beyond_64_bits(number: &str) -> bool {
    number.bytes().all(|digit| digit.is_ascii_digit()) && number.parse::<u64>().is_err()
}

/// What binds otherwise without parentheses than it was parsed.
fn other_order(expr: &Expr) -> Option<(String, String)> {
    let outer = Operator::of(expr)?;
    let is_misread = |is_left: bool, child: &&Expr| {
        Operator::of(child).is_some_and(|inner| {
            // An operator that is closed on this side takes nothing from its neighbour.
            let is_open = if is_left { inner.right.is_some() } else { inner.left.is_some() };
            let is_inner = inner.level > outer.level || (is_left && inner.level == outer.level && outer.chains());
            is_open && !is_inner
        })
    };
    let left = outer.left.filter(|child| is_misread(true, child));
    let right = outer.right.filter(|child| is_misread(false, child));
    let part = left.or(right)?.to_string();
    let text = expr.to_string();
    let read = match left {
        Some(_) => text.strip_prefix(&part).map(|rest| format!("({part}){rest}")),
        None => text.strip_suffix(&part).map(|rest| format!("{rest}({part})")),
    };
    let read = read.unwrap_or(text);
    let message = format!("without parentheses this would be read as `{read}`, which is not SQL's order of operators");
    Some((message, format!("write the parentheses that you mean: `{read}` or others")))
}

/// An operator between, before or behind operands that have no parentheses.
struct Operator<'a> {
    level: u8,
    left: Option<&'a Expr>,
    right: Option<&'a Expr>,
}

impl<'a> Operator<'a> {
    fn of(expr: &'a Expr) -> Option<Self> {
        let (level, left, right) = match expr {
            Expr::BinaryOp { left, op, right } => (binary_level(op), Some(left), Some(right)),
            Expr::IsDistinctFrom(left, right) | Expr::IsNotDistinctFrom(left, right) => (IS, Some(left), Some(right)),
            Expr::IsNull(left)
            | Expr::IsNotNull(left)
            | Expr::IsTrue(left)
            | Expr::IsNotTrue(left)
            | Expr::IsFalse(left)
            | Expr::IsNotFalse(left)
            | Expr::IsUnknown(left)
            | Expr::IsNotUnknown(left) => (IS, Some(left), None),
            Expr::InList { expr, .. } | Expr::InSubquery { expr, .. } | Expr::InUnnest { expr, .. } => {
                (MATCH, Some(expr), None)
            }
            Expr::Between { expr, high, .. } => (MATCH, Some(expr), Some(high)),
            Expr::Like { expr, pattern, .. }
            | Expr::ILike { expr, pattern, .. }
            | Expr::RLike { expr, pattern, .. }
            | Expr::SimilarTo { expr, pattern, .. } => (MATCH, Some(expr), Some(pattern)),
            Expr::AtTimeZone { timestamp, time_zone } => (TIME_ZONE, Some(timestamp), Some(time_zone)),
            Expr::UnaryOp { op: UnaryOperator::Not, expr } => (NOT, None, Some(expr)),
            Expr::UnaryOp { op: UnaryOperator::Plus | UnaryOperator::Minus, expr } => (SIGN, None, Some(expr)),
            Expr::UnaryOp { op: UnaryOperator::BitwiseNot, expr } => (OTHER, None, Some(expr)),
            _ => return None,
        };
        Some(Self { level, left: left.map(AsRef::as_ref), right: right.map(AsRef::as_ref) })
    }

    /// Whether `a op b op c` is read from the left; otherwise it has no meaning.
    fn chains(&self) -> bool {
        !matches!(self.level, IS | COMPARISON | MATCH)
    }
}

fn binary_level(operator: &BinaryOperator) -> u8 {
    use BinaryOperator::*;
    match operator {
        Or => OR,
        And => AND,
        Eq | NotEq | Lt | LtEq | Gt | GtEq => COMPARISON,
        Plus | Minus => SUM,
        Multiply | Divide | Modulo | DuckIntegerDivide | MyIntegerDivide => PRODUCT,
        PGExp => POWER,
        _ => OTHER,
    }
}
