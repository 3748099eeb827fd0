//! What one pipeline has that another has not: pure.
//!
//! In: two pipelines as they were read. Out: each source and each view of either with what became of it, and of what is
//! changed the parts, in words.
//! Guarantee: a view is changed where its definition hash is another one, and nowhere else; it is changed by at least
//! one part then. Names of views and sources are what they are known by: a renamed one is dropped and added.
//! Not here: sources (`source_difference.rs`), what the change costs (the binary asks the lake), and what becomes of
//! answers meanwhile (`serving-layer`).

use std::collections::BTreeMap;

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{Expr, Select, SelectItem, SetExpr, Statement as SqlStatement};

use super::Pipeline;
use super::changes::{ChangeKind, NamedChange, PartChange, PartKind, by_name, differs};
use super::columns::normalized;
use super::findings::Findings;
use super::source_difference::{reading_parts, source_change};
use super::statements::{Located, read_statements};
use crate::aggregate::AggregateClass;
use crate::planned_view::PlannedView;
use crate::sql_name::sql_name;

/// How two pipelines differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PipelineDifference {
    /// The sources in the order of the later file, then those dropped.
    pub sources: Vec<NamedChange>,
    /// The views in the same order.
    pub views: Vec<NamedChange>,
}

impl PipelineDifference {
    /// From one pipeline to another. Where a text cannot be read again, dimensions are compared by their types alone.
    pub fn between(before: &Pipeline, after: &Pipeline) -> Self {
        let (old, new) = (statements_of(before), statements_of(after));
        let sources = after.sources.iter().map(|source| {
            let former = before.source(source.name.as_str());
            source_change(former.map(|former| former.as_ref()), source)
        });
        let gone = before.sources.iter().filter(|source| after.source(source.name.as_str()).is_none());
        let sources = sources.chain(gone.map(|source| dropped(source.name.as_str(), "source"))).collect();
        let views = after.views.iter().map(|view| match before.view(view.name.as_str()) {
            None => NamedChange::new(view.name.as_str(), ChangeKind::Added),
            Some(former) => view_change((former, select_of(&old, former)), (view, select_of(&new, view))),
        });
        let gone = before.views.iter().filter(|view| after.view(view.name.as_str()).is_none());
        Self { sources, views: views.chain(gone.map(|view| dropped(view.name.as_str(), "view"))).collect() }
    }

    /// Whether nothing at all differs.
    pub fn is_empty(&self) -> bool {
        self.sources.iter().chain(&self.views).all(|change| change.kind == ChangeKind::Unchanged)
    }

    /// The names of the views of which states have to be computed that are not there yet.
    pub fn to_build(&self) -> impl Iterator<Item = &str> {
        let is_built = |change: &&NamedChange| matches!(change.kind, ChangeKind::Added | ChangeKind::Changed);
        self.views.iter().filter(is_built).map(|change| change.name.as_str())
    }
}

fn dropped(name: &str, what: &str) -> NamedChange {
    let loss = match what {
        "view" => format!("view {name} is dropped: it answers nothing from then on"),
        _ => format!("source {name} is dropped: it takes no more events, and what is archived of it stays"),
    };
    NamedChange { losses: vec![loss], ..NamedChange::new(name, ChangeKind::Dropped) }
}

/// The statements of the text that a pipeline was read from.
fn statements_of(pipeline: &Pipeline) -> Vec<Located> {
    read_statements(&pipeline.text, &mut Findings::default())
}

/// The SELECT of a view.
fn select_of<'a>(statements: &'a [Located], view: &PlannedView) -> Option<&'a Select> {
    let statement = statements.iter().find(|statement| statement.line == view.line)?;
    let Statement::Statement(sql) = &statement.parsed else { return None };
    let SqlStatement::CreateView(view) = sql.as_ref() else { return None };
    match view.query.body.as_ref() {
        SetExpr::Select(select) => Some(select.as_ref()),
        _ => None,
    }
}

/// A planned view and its SELECT.
type Side<'a> = (&'a PlannedView, Option<&'a Select>);

fn view_change((former, old): Side<'_>, (view, new): Side<'_>) -> NamedChange {
    let name = view.name.as_str();
    let mut parts = option_parts(former, view);
    if former.hash == view.hash {
        let is_same = parts.is_empty() && former.sql == view.sql;
        let kind = if is_same { ChangeKind::Unchanged } else { ChangeKind::Kept };
        return NamedChange { parts, ..NamedChange::new(name, kind) };
    }
    if former.source.name == view.source.name {
        parts.extend(reading_parts(&former.source, &view.source));
    }
    if let (Some(old), Some(new)) = (old, new) {
        parts.extend(differs(PartKind::Rows, "", Some(rows_of(old)), Some(rows_of(new))));
        let filter = |select: &Select| select.selection.as_ref().map(ToString::to_string);
        parts.extend(differs(PartKind::Filter, "", filter(old), filter(new)));
    }
    parts.extend(by_name(PartKind::Dimension, &dimensions(former, old), &dimensions(view, new)));
    parts.extend(by_name(PartKind::Measure, &measures(former), &measures(view)));
    let bucket = |view: &PlannedView| Some(view.bucket.as_str().to_owned());
    parts.extend(differs(PartKind::Bucket, "", bucket(former), bucket(view)));
    for (table, digest) in &view.static_tables {
        if former.static_tables.get(table).is_some_and(|before| before != digest) {
            let (name, before, after) = (table.clone(), None, None);
            parts.push(PartChange { kind: PartKind::StaticTable, name, before, after });
        }
    }
    if parts.iter().all(|part| part.kind == PartKind::Option) {
        parts.push(PartChange { kind: PartKind::Wording, name: String::new(), before: None, after: None });
    }
    parts.sort_by_key(|part| part.kind);
    NamedChange { name: name.to_owned(), kind: ChangeKind::Changed, parts, losses: losses(former, view) }
}

fn rows_of(select: &Select) -> String {
    select.from.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Dimensions by name: expression and type.
fn dimensions(view: &PlannedView, select: Option<&Select>) -> Vec<(String, String)> {
    let written = select.map(expressions).unwrap_or_default();
    let dimensions = view.dimensions.iter().map(|dimension| {
        let data_type = sql_name(&dimension.data_type);
        let text = match written.get(&dimension.name) {
            Some(expression) => format!("{expression} ({data_type})"),
            None => data_type,
        };
        (dimension.name.clone(), text)
    });
    dimensions.collect()
}

fn measures(view: &PlannedView) -> Vec<(String, String)> {
    let text = |measure: &crate::definition::Measure| {
        format!("{} ({}, {})", measure.expression, sql_name(&measure.data_type), class_text(measure.class))
    };
    view.measures.iter().map(|measure| (measure.name.clone(), text(measure))).collect()
}

fn class_text(class: AggregateClass) -> String {
    match class {
        AggregateClass::Sketch { bound } => format!("sketch within {:.2} %", bound * 100.0),
        other => other.as_str().to_owned(),
    }
}

/// The expressions of a SELECT list by the names of their columns.
fn expressions(select: &Select) -> BTreeMap<String, String> {
    let named = select.projection.iter().filter_map(|item| match item {
        SelectItem::ExprWithAlias { expr, alias } => Some((normalized(alias), expr.to_string())),
        SelectItem::UnnamedExpr(Expr::Identifier(name)) => Some((normalized(name), name.to_string())),
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(path)) => {
            let text = path.iter().map(ToString::to_string).collect::<Vec<_>>().join(".");
            path.last().map(|name| (normalized(name), text))
        }
        SelectItem::UnnamedExpr(expr) => Some((expr.to_string(), expr.to_string())),
        _ => None,
    });
    named.collect()
}

/// Options of a view that no state depends on.
fn option_parts(former: &PlannedView, view: &PlannedView) -> Vec<PartChange> {
    let limit = |view: &PlannedView| Some(view.max_state_bytes.to_string());
    differs(PartKind::Option, "max_state_bytes", limit(former), limit(view)).into_iter().collect()
}

/// What whoever asks the view loses.
fn losses(former: &PlannedView, view: &PlannedView) -> Vec<String> {
    let name = &view.name;
    let mut losses = Vec::new();
    for dimension in &former.dimensions {
        if !view.dimensions.iter().any(|kept| kept.name == dimension.name) {
            let gone = &dimension.name;
            losses.push(format!("view {name} loses dimension {gone}: questions that name it are refused"));
        }
    }
    for measure in &former.measures {
        let gone = &measure.name;
        match view.measures.iter().find(|kept| kept.name == measure.name) {
            None => losses.push(format!("view {name} loses measure {gone}: questions that name it are refused")),
            Some(kept) if is_weaker(measure.class, kept.class) => losses.push(format!(
                "measure {gone} of view {name} was {}, and will be {}",
                class_text(measure.class),
                class_text(kept.class)
            )),
            Some(_) => {}
        }
    }
    losses
}

/// Whether the later class promises less than the former one.
fn is_weaker(former: AggregateClass, later: AggregateClass) -> bool {
    let rank = |class: AggregateClass| match class {
        AggregateClass::Exact | AggregateClass::Unbounded => (0, 0.0),
        AggregateClass::Float => (1, 0.0),
        AggregateClass::Sketch { bound } => (2, bound),
    };
    rank(later) > rank(former)
}
