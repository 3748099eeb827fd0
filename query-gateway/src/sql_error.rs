//! What the engine says of a query, in words of the query: no internals, no rewritten names, and a way out.
//!
//! Guarantee: a message that shows a plan, a type of the engine's code, or a name that nobody wrote is replaced as a
//! whole. What is proposed exists and is spelled nearly alike.

use datafusion::common::{Column, SchemaError};
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use views::{AS_INSTANT, DefinitionError, NO_INSTANT, Spelling, called_here, did_you_mean, in_sql_words};

use crate::GatewayError;
use crate::refusal::Refusal;

/// Signs of a message that is about the inside of the engine.
const INTERNALS: [&str; 12] = [
    "\n",
    "states.",
    "Aggregate:",
    "Projection:",
    "TableScan",
    "LogicalPlan",
    "Physical plan",
    "physical plan",
    "Expr",
    "Field {",
    "Ident {",
    "WithSpan",
];

/// Signs of one about a subquery that names columns of the query around it.
const OF_SUBQUERIES: [&str; 3] = ["Subquery", "OuterReference", "outer_ref"];

/// Names that rewriting puts into a plan.
const HIDDEN: [&str; 5] = ["_state_", "_united_", "_measure_", "_key_", "__"];

const PLAINER: &str = "write it in plainer SQL, or ask for its parts in several queries";

/// Functions that the engine has and that a query may not call, with what to do instead.
const NOT_AVAILABLE: [(&str, &str); 9] = [
    ("generate_series", "it is a table: FROM generate_series(1, 10) AS t(n)"),
    ("range", "it is a table: FROM range(0, 10) AS t(n)"),
    ("array_repeat", "write the values out with make_array"),
    ("list_repeat", "write the values out with make_array"),
    ("array_resize", "take a part of it with array_slice"),
    ("list_resize", "take a part of it with array_slice"),
    ("arrow_cast", "use CAST(... AS ...)"),
    ("arrow_try_cast", "use TRY_CAST(... AS ...)"),
    ("space", "use repeat(' ', 10)"),
];

/// The error of the gateway for what the engine says.
pub(crate) fn refuse(error: DataFusionError, state: &SessionState) -> GatewayError {
    if let Some(refusal) = own_refusal(&error) {
        return refusal.into();
    }
    match error.find_root() {
        DataFusionError::ResourcesExhausted(_) => GatewayError::TooLarge {
            reason: "the query needs more memory than it may use".to_owned(),
            hint: "filter on dimensions, or ask for fewer groups".to_owned(),
        },
        DataFusionError::SchemaError(schema, _) => refuse_name(schema),
        DataFusionError::Internal(_) => failed(&error),
        DataFusionError::IoError(_) => GatewayError::Definition(DefinitionError::Engine(error)),
        root @ (DataFusionError::Plan(_) | DataFusionError::NotImplemented(_)) => {
            about_plan(&clean_message(&root.strip_backtrace()), state)
        }
        // About a value or a text of the query: whatever it shows is the client's own.
        root => about_value(&clean_message(&root.strip_backtrace())),
    }
}

/// What the engine takes for a fault of its own: asked again, the query fails again, and who asked can do more about it
/// than who operates the system. The log has the words.
fn failed(error: &DataFusionError) -> GatewayError {
    tracing::error!(error = error.to_string(), "the engine failed on a query");
    GatewayError::bad_with_hint("the engine failed on this query", PLAINER)
}

/// What we raised ourselves, however deep the engine has wrapped it.
fn own_refusal(error: &DataFusionError) -> Option<Refusal> {
    let first: &(dyn std::error::Error + 'static) = error;
    let mut all = std::iter::successors(Some(first), |error| (**error).source());
    all.find_map(|error| error.downcast_ref::<Refusal>().cloned())
}

/// A column that does not exist, or that is meant by several.
fn refuse_name(error: &SchemaError) -> GatewayError {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } if is_shown(field) => {
            let mut known: Vec<String> = Vec::new();
            for column in valid_fields.iter().filter(|column| is_shown(column)) {
                if !known.contains(&column.name) {
                    known.push(column.name.clone());
                }
            }
            let names: Vec<&str> = known.iter().map(String::as_str).collect();
            let is_other_case = |name: &&&str| name.eq_ignore_ascii_case(&field.name) && **name != field.name;
            let hint = match names.iter().find(is_other_case) {
                Some(name) => Some(format!("names with capital letters are written in quotes: \"{name}\"")),
                None => did_you_mean(&field.name, &names),
            };
            GatewayError::BadRequest { reason: format!("there is no column `{}`", written(field)), hint, known }
        }
        SchemaError::AmbiguousReference { field } if is_shown(field) => GatewayError::bad_with_hint(
            format!("`{}` is a column of several tables of the query", field.name),
            format!("write the table in front, as in `t.{0}`, or name it otherwise with AS", field.name),
        ),
        SchemaError::DuplicateQualifiedField { name, .. } | SchemaError::DuplicateUnqualifiedField { name }
            if is_shown(&Column::new_unqualified(name)) =>
        {
            GatewayError::bad_with_hint(
                format!("two columns are named `{name}`"),
                "name one of them, or one of the tables, otherwise with AS",
            )
        }
        _ => cannot_run("name columns with their tables, and computed ones with AS"),
    }
}

fn is_hidden(name: &str) -> bool {
    HIDDEN.iter().any(|hidden| name.starts_with(hidden))
}

fn is_shown(column: &Column) -> bool {
    !is_hidden(&column.name) && !column.relation.as_ref().is_some_and(|table| is_hidden(table.table()))
}

fn written(column: &Column) -> String {
    match &column.relation {
        Some(table) => format!("{table}.{}", column.name),
        None => column.name.clone(),
    }
}

fn about_value(message: &str) -> GatewayError {
    if message.contains("Cannot cast timezone to different timezone") {
        return GatewayError::bad_with_hint(NO_INSTANT, AS_INSTANT);
    }
    if message.contains("Invalid explain format") {
        return GatewayError::bad_with_hint("EXPLAIN has one format", "leave FORMAT out");
    }
    GatewayError::bad(in_sql_words(message))
}

/// A message about a plan, in the words of the query.
fn about_plan(message: &str, state: &SessionState) -> GatewayError {
    if let Some(function) = message.strip_prefix("Invalid function '").and_then(|rest| rest.split('\'').next()) {
        return no_function(function, state);
    }
    if let Some((reason, hint)) = own_words_on_arguments(message).or_else(|| words_on_clauses(message)) {
        return GatewayError::bad_with_hint(reason, hint);
    }
    if let Some((_, column)) = message.split_once("While expanding wildcard, column \"")
        && let Some((column, _)) = column.split_once("\" must appear")
        && !column.split('.').any(is_hidden)
    {
        let hint = "add it to GROUP BY by its name, or aggregate it, a measure with MEASURE";
        return GatewayError::bad_with_hint(format!("`{column}` is neither in GROUP BY nor in an aggregate"), hint);
    }
    if let Some((function, types)) = unfit_arguments(message) {
        let reason = format!("function `{function}` does not take ({})", in_sql_words(types));
        return GatewayError::bad_with_hint(reason, "give it another number of arguments, or CAST(... AS ...) them");
    }
    if let Some((_, named)) = message.split_once("require unique expression names but the expression \"")
        && let Some((name, _)) = named.split_once("\" at position ").filter(|(name, _)| !is_hidden(name))
    {
        return GatewayError::bad_with_hint(
            format!("two expressions are both named `{}`", in_sql_words(name)),
            "name one of them otherwise with AS; a key of GROUP BY in a subquery: FROM (SELECT ... AS x FROM ...) \
             GROUP BY x",
        );
    }
    let message = in_sql_words(first_part(message));
    if let Some(operation) = unfit_operation(&message) {
        let reason = format!("the types of `{operation}` do not go together");
        return GatewayError::bad_with_hint(reason, "turn one side into the type of the other with CAST(... AS ...)");
    }
    let names_hidden = message.split(|letter: char| !letter.is_alphanumeric() && letter != '_').any(is_hidden);
    let shows = |signs: &[&str]| signs.iter().any(|sign| message.contains(sign));
    if shows(&OF_SUBQUERIES) {
        cannot_run("a subquery names columns of the query around it in a way that cannot be run: write it as a join")
    } else if names_hidden || shows(&INTERNALS) {
        cannot_run(PLAINER)
    } else {
        GatewayError::bad(message)
    }
}

/// What a function of ours says of its arguments, and the way out; the engine wraps it and adds what it knows.
fn own_words_on_arguments(message: &str) -> Option<(&str, &str)> {
    let (_, said) = message.split_once("coercion failed with: Error during planning: ")?;
    let said = said.split_once(" No function matches").map_or(said, |(said, _)| said);
    said.split_once("; ")
}

/// What is said of a clause in words of the engine's code, and the way out.
fn words_on_clauses(message: &str) -> Option<(&'static str, &'static str)> {
    const WORDS: [(&str, &str, &str); 2] = [
        (
            "WindowFunction",
            "a window function can stand in SELECT, QUALIFY and ORDER BY alone",
            "write QUALIFY in place of WHERE, or compute it in a subquery",
        ),
        ("TOP", "TOP is not available", "write LIMIT behind ORDER BY"),
    ];
    let is_about = |sign: &str| if sign == "TOP" { message == sign } else { message.contains(sign) };
    WORDS.iter().find(|(sign, ..)| is_about(sign)).map(|(_, reason, hint)| (*reason, *hint))
}

/// The function that was called with arguments of the wrong number or types, and those types.
fn unfit_arguments(message: &str) -> Option<(&str, &str)> {
    if let Some((_, call)) = message.split_once("given name and argument types '") {
        let (function, types) = call.split_once("'.")?.0.split_once('(')?;
        return Some((function, types.strip_suffix(')').unwrap_or(types)));
    }
    let (function, rest) = message.split_once("to satisfy a call to '")?.1.split_once('\'')?;
    Some((function, rest.split_once("coercion from ")?.1.split_once(" to the signature")?.0))
}

/// The types on both sides of an operator that takes no such types.
fn unfit_operation(message: &str) -> Option<&str> {
    const BEGINNINGS: [&str; 4] = [
        "Cannot infer common argument type for ",
        "Cannot infer common type for ",
        "Cannot infer common string type for ",
        "Cannot coerce arithmetic expression ",
    ];
    let rest = BEGINNINGS.iter().find_map(|beginning| message.strip_prefix(beginning))?;
    let rest = rest.split_once("operation ").map_or(rest, |(_, operation)| operation);
    Some(rest.trim_end_matches(" to valid types"))
}

/// The message without the engine's guesses and lists of signatures.
fn first_part(message: &str) -> &str {
    let ends = ["\nDid you mean", ". Did you mean", "\nYou might need", " No function matches", "\n\tCandidate"];
    let end = ends.iter().filter_map(|end| message.find(end)).min().unwrap_or(message.len());
    message.get(..end).unwrap_or(message).trim()
}

fn no_function(name: &str, state: &SessionState) -> GatewayError {
    if let Some((_, instead)) = NOT_AVAILABLE.iter().find(|(known, _)| *known == name) {
        return GatewayError::bad_with_hint(format!("function `{name}` is not available"), *instead);
    }
    if state.window_functions().contains_key(name) {
        let hint = format!("write OVER behind it, as in `{name}(...) OVER (ORDER BY ...)`");
        return GatewayError::bad_with_hint(format!("`{name}` is a window function"), hint);
    }
    if let Some(here) = called_here(name) {
        return GatewayError::bad_with_hint(format!("there is no function `{name}`"), format!("write `{here}`"));
    }
    let spelling = Spelling::of(name);
    let scalar = state.scalar_functions().keys();
    let known = scalar.chain(state.aggregate_functions().keys()).chain(state.window_functions().keys());
    let mut near: Vec<&String> = known.filter(|known| spelling.is_near(&Spelling::of(known))).collect();
    near.sort_unstable();
    near.dedup();
    let hint = match near.first() {
        Some(near) => format!("did you mean `{near}`?"),
        None => "docs/http.md says which functions there are".to_owned(),
    };
    GatewayError::bad_with_hint(format!("there is no function `{name}`"), hint)
}

fn cannot_run(hint: &str) -> GatewayError {
    GatewayError::bad_with_hint("the engine cannot run this query", hint)
}

fn clean_message(message: &str) -> String {
    const PREFIXES: [&str; 12] = [
        "Error during planning: ",
        "Schema error: ",
        "SQL error: ",
        "ParserError(",
        "TokenizerError(",
        "This feature is not implemented: ",
        "Execution error: ",
        "Arrow error: ",
        "External error: ",
        "Cast error: ",
        "Compute error: ",
        "Invalid argument error: ",
    ];
    let (mut text, mut is_quoted) = (message, false);
    while let Some((prefix, rest)) = PREFIXES.iter().find_map(|prefix| Some((prefix, text.strip_prefix(prefix)?))) {
        is_quoted |= prefix.ends_with('(');
        text = rest;
    }
    let text = text.trim();
    if is_quoted { text.trim_end_matches(')').trim_matches('"').to_owned() } else { text.to_owned() }
}
