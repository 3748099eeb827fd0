//! `GET /v1/views/{view}/rows`: from URL parameters to a question. Pure.
//!
//! | parameter | meaning |
//! |---|---|
//! | `page=X` | the dimension `page` equals X; repeated: any of them; `page.eq=X` where the name is also a parameter |
//! | `hour.ge=`, `.gt=`, `.le=`, `.lt=` | range of a dimension |
//! | `page.is=null`, `page.is=not_null` | null or not |
//! | `from=`, `to=` | the half-open range `[from, to)` of the view's time dimension |
//! | `by=page,channel` | roll up to these dimensions through state merge; empty: one total; absent: all dimensions |
//! | `order=-edits,page` | sort keys, `-` for largest first, nulls last; ties by all dimensions of the answer |
//! | `limit=5` | at most this many rows |
//! | `layer=merged`, `batch`, `realtime` | which part of the answer; `parts=true` shows all three side by side |
//! | `consistency=latest`, `batch` | with or without the realtime part |
//! | `version=7` | this batch version alone; with `after` it must cover the token already |
//! | `after=TOKEN`, `timeout=2s` | wait until the answer covers a position token |
//!
//! Guarantee: every parameter is understood or refused; a refusal names what exists.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, ArrayRef, StringArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::DataType;
use arrow::util::display::FormatOptions;
use edge::Parameters;
use positions::{Offset, PartitionId, PositionToken, SourceName};
use serving_layer::Version;
use views::{ViewDefinition, sql_name, with_article};

use crate::answer::{OrderKey, Question};
use crate::filter::{Filter, Test};
use crate::{GatewayError, GatewaySettings};

/// A rows request: a view and its parameters, as in the URL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowsRequest {
    /// The view's name.
    pub view: String,
    /// Names and values, percent-decoded, in order; a name may come again.
    pub parameters: Vec<(String, String)>,
}

impl RowsRequest {
    /// All rows of a view, up to the default limit.
    pub fn new(view: impl Into<String>) -> Self {
        Self { view: view.into(), parameters: Vec::new() }
    }

    /// With one more parameter.
    pub fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.parameters.push((name.into(), value.into()));
        self
    }
}

/// Which part of an answer is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Layer {
    /// Batch and realtime, merged.
    #[default]
    Merged,
    /// The batch version alone.
    Batch,
    /// The runs above the cut alone.
    Realtime,
}

/// A rows request, understood.
#[derive(Clone, Debug)]
pub(crate) struct ParsedRows {
    pub question: Question,
    pub layer: Layer,
    pub version: Option<Version>,
    pub wait: Wait,
}

/// How far an answer must reach, and how long to wait for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wait {
    pub after: Option<PositionToken>,
    pub limit: Duration,
    /// Whether the batch version alone must reach it.
    pub is_batch: bool,
}

impl Wait {
    /// What the token asks of one source; `None`: nothing.
    pub(crate) fn asked_of(&self, source: &SourceName) -> Option<&BTreeMap<PartitionId, Offset>> {
        self.after.as_ref()?.sources.get(source)
    }
}

/// Understands a request.
///
/// # Errors
/// [`GatewayError::BadRequest`], naming what exists.
pub(crate) fn parse(
    view: &ViewDefinition,
    mut parameters: Parameters,
    settings: &GatewaySettings,
) -> Result<ParsedRows, GatewayError> {
    let (from, to) = (parameters.take("from")?, parameters.take("to")?);
    let by = parse_by(view, parameters.take("by")?.as_deref())?;
    let order = parse_order(view, &by, parameters.take("order")?.as_deref())?;
    let limit = parameters.number("limit", 1..=settings.max_rows)?.unwrap_or(settings.default_rows);
    let shows_parts = parameters.one_of("parts", &[("false", false), ("true", true)])?.unwrap_or_default();
    let (layer, version) = parse_layer(&mut parameters)?;
    if shows_parts && layer != Layer::Merged {
        return Err(GatewayError::bad(
            "`parts=true` shows all layers and cannot be combined with `layer`, `consistency` or `version`",
        ));
    }
    let wait = parse_wait(&mut parameters, layer == Layer::Batch, settings)?;
    let mut filters = Vec::new();
    for (name, value, test) in [("from", from, Test::AtLeast), ("to", to, Test::Below)] {
        if let Some(value) = value {
            filters.push(time_filter(view, name, &value, test)?);
        }
    }
    let known = parameters.known().to_vec();
    for (name, value) in parameters.into_left() {
        add_filter(view, (name.as_str(), value.as_str()), &known, &mut filters)?;
    }
    let question = Question { filters, by, order, limit, shows_parts };
    Ok(ParsedRows { question, layer, version, wait })
}

/// Whether batch alone is asked for, by the parameter that rows and SQL share.
pub(crate) fn parse_consistency(parameters: &mut Parameters) -> Result<bool, GatewayError> {
    Ok(parameters.one_of("consistency", &[("latest", false), ("batch", true)])?.unwrap_or_default())
}

/// Reads a position token and a span to wait for it.
pub(crate) fn parse_wait(
    parameters: &mut Parameters,
    is_batch: bool,
    settings: &GatewaySettings,
) -> Result<Wait, GatewayError> {
    let after = parameters.take("after")?.map(|text| PositionToken::decode(&text)).transpose();
    let after = after.map_err(|error| GatewayError::bad(error.to_string()))?;
    let limit = parameters.span("timeout", Duration::MAX)?.unwrap_or(settings.default_wait).min(settings.max_wait);
    Ok(Wait { after, limit, is_batch })
}

fn add_filter(
    view: &ViewDefinition,
    (name, value): (&str, &str),
    known: &[&str],
    filters: &mut Vec<Filter>,
) -> Result<(), GatewayError> {
    let unknown = || unknown_parameter(view, name, known);
    let position = |wanted: &str| view.dimensions.iter().position(|dimension| dimension.name == wanted);
    let (dimension, operator) = match (position(name), name.rsplit_once('.')) {
        (Some(dimension), _) => (dimension, "eq"),
        (None, Some((lead, operator))) => (position(lead).ok_or_else(unknown)?, operator),
        (None, None) => return Err(unknown()),
    };
    let test = match (operator, value) {
        ("eq", _) => Test::AnyOf,
        ("ge", _) => Test::AtLeast,
        ("gt", _) => Test::Above,
        ("le", _) => Test::AtMost,
        ("lt", _) => Test::Below,
        ("is", "null") => Test::Null,
        ("is", "not_null") => Test::NotNull,
        ("is", _) => {
            let known = vec!["null".to_owned(), "not_null".to_owned()];
            let reason = format!("`{name}` must be null or not_null, got `{value}`");
            return Err(GatewayError::bad_name(reason, known));
        }
        _ => {
            let known = ["eq", "ge", "gt", "le", "lt", "is"].map(str::to_owned).to_vec();
            return Err(GatewayError::bad_name(format!("`{name}`: there is no test `.{operator}`"), known));
        }
    };
    let values = match test {
        Test::Null | Test::NotNull => Vec::new(),
        _ => vec![parse_value(name, value, &view.dimensions[dimension].data_type)?],
    };
    let same = |filter: &&mut Filter| filter.dimension == dimension && filter.test == test && test == Test::AnyOf;
    match filters.iter_mut().find(same) {
        Some(filter) => filter.values.extend(values),
        None => filters.push(Filter { dimension, test, values }),
    }
    Ok(())
}

fn unknown_parameter(view: &ViewDefinition, name: &str, known: &[&str]) -> GatewayError {
    let dimensions = view.dimensions.iter().map(|dimension| dimension.name.clone());
    let known = dimensions.chain(known.iter().map(|name| (*name).to_owned())).collect();
    let is_measure = view.measures.iter().any(|measure| measure.name == name.split('.').next().unwrap_or(name));
    let reason = if is_measure {
        format!(
            "`{name}` is a measure of view {}; rows are filtered by dimensions, use SQL to filter by a measure",
            view.name
        )
    } else {
        format!("view {} has no dimension or parameter `{name}`", view.name)
    };
    GatewayError::bad_name(reason, known)
}

fn time_filter(view: &ViewDefinition, name: &str, value: &str, test: Test) -> Result<Filter, GatewayError> {
    let Some(dimension) = view.time_dimension else {
        let reason = format!("view {} has no time dimension, so `from` and `to` do not apply", view.name);
        return Err(GatewayError::bad_name(reason, names(view.dimensions.iter().map(|dimension| &dimension.name))));
    };
    let values = vec![parse_value(name, value, &view.dimensions[dimension].data_type)?];
    Ok(Filter { dimension, test, values })
}

/// One value of a dimension's type from text. Strict: what does not parse is refused.
fn parse_value(name: &str, text: &str, data_type: &DataType) -> Result<ArrayRef, GatewayError> {
    let refuse = || {
        let example = match data_type {
            DataType::Timestamp(_, _) => "2026-01-31T12:00:00Z",
            DataType::Date32 | DataType::Date64 => "2026-01-31",
            DataType::Boolean => "true",
            _ => "42",
        };
        let expected = with_article(&sql_name(data_type));
        GatewayError::bad(format!("`{name}` must be {expected} such as `{example}`, got `{text}`"))
    };
    let options = CastOptions { safe: false, format_options: FormatOptions::default() };
    let source: ArrayRef = Arc::new(StringArray::from(vec![text]));
    let value = cast_with_options(&source, data_type, &options).map_err(|_| refuse())?;
    if value.null_count() > 0 { Err(refuse()) } else { Ok(value) }
}

fn parse_by(view: &ViewDefinition, by: Option<&str>) -> Result<Vec<String>, GatewayError> {
    let known = || names(view.dimensions.iter().map(|dimension| &dimension.name));
    let Some(by) = by else { return Ok(known()) };
    let mut dimensions: Vec<String> = Vec::new();
    for name in by.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        if !view.dimensions.iter().any(|dimension| dimension.name == name) {
            return Err(GatewayError::bad_name(format!("view {} has no dimension `{name}`", view.name), known()));
        }
        if !dimensions.iter().any(|taken| taken == name) {
            dimensions.push(name.to_owned());
        }
    }
    Ok(dimensions)
}

fn parse_order(view: &ViewDefinition, by: &[String], order: Option<&str>) -> Result<Vec<OrderKey>, GatewayError> {
    let keys = order.unwrap_or_default().split(',').map(str::trim).filter(|key| !key.is_empty());
    keys.map(|key| {
        let (column, is_descending) = key.strip_prefix('-').map_or((key, false), |column| (column, true));
        let exists = by.iter().any(|dimension| dimension == column)
            || view.measures.iter().any(|measure| measure.name == column);
        if !exists {
            let known = by.iter().chain(view.measures.iter().map(|measure| &measure.name));
            return Err(GatewayError::bad_name(
                format!("the answer has no column `{column}` to order by"),
                names(known),
            ));
        }
        Ok(OrderKey { column: column.to_owned(), is_descending })
    })
    .collect()
}

fn parse_layer(parameters: &mut Parameters) -> Result<(Layer, Option<Version>), GatewayError> {
    let layers = [("merged", Layer::Merged), ("batch", Layer::Batch), ("realtime", Layer::Realtime)];
    let layer = parameters.one_of("layer", &layers)?.unwrap_or_default();
    let is_batch = parse_consistency(parameters)?;
    let version = parameters.number::<i64>("version", 0..)?.map(Version);
    if layer == Layer::Realtime && (is_batch || version.is_some()) {
        return Err(GatewayError::bad(
            "`layer=realtime` cannot be combined with `version` or `consistency=batch`: a batch version holds no realtime states",
        ));
    }
    Ok((if is_batch || version.is_some() { Layer::Batch } else { layer }, version))
}

fn names<'a>(names: impl Iterator<Item = &'a String>) -> Vec<String> {
    names.cloned().collect()
}
