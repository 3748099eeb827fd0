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
use positions::{Offset, PartitionId, PositionToken, SourceName};
use views::ViewDefinition;

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
    pub version: Option<i64>,
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

const PARAMETERS: [&str; 11] =
    ["from", "to", "by", "order", "limit", "layer", "parts", "consistency", "version", "after", "timeout"];

/// Understands a request.
///
/// # Errors
/// [`GatewayError::BadRequest`], naming what exists.
pub(crate) fn parse(
    view: &ViewDefinition,
    parameters: &[(String, String)],
    settings: &GatewaySettings,
) -> Result<ParsedRows, GatewayError> {
    let mut filters = Vec::new();
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for (name, value) in parameters {
        if PARAMETERS.contains(&name.as_str()) {
            if seen.iter().any(|(known, _)| known == name) {
                return Err(GatewayError::bad(format!("`{name}` is given twice")));
            }
            seen.push((name, value));
        } else {
            add_filter(view, name, value, &mut filters)?;
        }
    }
    let get = |wanted: &str| seen.iter().find(|(name, _)| *name == wanted).map(|(_, value)| *value);
    for (name, test) in [("from", Test::AtLeast), ("to", Test::Below)] {
        if let Some(value) = get(name) {
            filters.push(time_filter(view, name, value, test)?);
        }
    }
    let by = parse_by(view, get("by"))?;
    let order = parse_order(view, &by, get("order"))?;
    let limit = parse_limit(get("limit"), settings)?;
    let shows_parts = parse_one_of("parts", get("parts"), &[("false", false), ("true", true)])?;
    let (layer, version) = parse_layer(&get)?;
    if shows_parts && layer != Layer::Merged {
        return Err(GatewayError::bad(
            "`parts=true` shows all layers and cannot be combined with `layer`, `consistency` or `version`",
        ));
    }
    let is_batch = layer == Layer::Batch;
    let wait = parse_wait(get("after"), get("timeout"), is_batch, settings)?;
    let question = Question { filters, by, order, limit, shows_parts };
    Ok(ParsedRows { question, layer, version, wait })
}

/// Reads a position token and a span to wait for it.
pub(crate) fn parse_wait(
    after: Option<&str>,
    timeout: Option<&str>,
    is_batch: bool,
    settings: &GatewaySettings,
) -> Result<Wait, GatewayError> {
    let after = after.map(PositionToken::decode).transpose().map_err(|error| GatewayError::bad(error.to_string()))?;
    let limit = timeout.map_or(Ok(settings.default_wait), parse_timeout)?.min(settings.max_wait);
    Ok(Wait { after, limit, is_batch })
}

fn add_filter(view: &ViewDefinition, name: &str, value: &str, filters: &mut Vec<Filter>) -> Result<(), GatewayError> {
    let position = |wanted: &str| view.dimensions.iter().position(|dimension| dimension.name == wanted);
    let (dimension, operator) = match (position(name), name.rsplit_once('.')) {
        (Some(dimension), _) => (dimension, "eq"),
        (None, Some((lead, operator))) => (position(lead).ok_or_else(|| unknown_parameter(view, name))?, operator),
        (None, None) => return Err(unknown_parameter(view, name)),
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

fn unknown_parameter(view: &ViewDefinition, name: &str) -> GatewayError {
    let dimensions = view.dimensions.iter().map(|dimension| dimension.name.clone());
    let known = dimensions.chain(PARAMETERS.iter().map(|name| (*name).to_owned())).collect();
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
        let reason = format!("`{name}` must be a value of type {data_type}, got `{text}`");
        GatewayError::bad_with_hint(reason, format!("write it like {example}"))
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

fn parse_limit(limit: Option<&str>, settings: &GatewaySettings) -> Result<usize, GatewayError> {
    let Some(text) = limit else { return Ok(settings.default_rows) };
    match text.parse::<usize>() {
        Ok(limit) if (1..=settings.max_rows).contains(&limit) => Ok(limit),
        _ => Err(GatewayError::bad(format!("`limit` must be 1 to {}, got `{text}`", settings.max_rows))),
    }
}

fn parse_layer<'a>(get: &impl Fn(&str) -> Option<&'a str>) -> Result<(Layer, Option<i64>), GatewayError> {
    let layers = [("merged", Layer::Merged), ("batch", Layer::Batch), ("realtime", Layer::Realtime)];
    let layer = parse_one_of("layer", get("layer"), &layers)?;
    let is_batch = parse_one_of("consistency", get("consistency"), &[("latest", false), ("batch", true)])?;
    let version = get("version").map(|text| {
        let parsed = text.parse::<i64>().ok().filter(|version| *version >= 0);
        parsed
            .ok_or_else(|| GatewayError::bad(format!("`version` must be the number of a batch version, got `{text}`")))
    });
    let version = version.transpose()?;
    if layer == Layer::Realtime && (is_batch || version.is_some()) {
        return Err(GatewayError::bad(
            "`layer=realtime` cannot be combined with `version` or `consistency=batch`: a batch version holds no realtime states",
        ));
    }
    Ok((if is_batch || version.is_some() { Layer::Batch } else { layer }, version))
}

pub(crate) fn parse_one_of<T: Copy>(name: &str, value: Option<&str>, choices: &[(&str, T)]) -> Result<T, GatewayError> {
    let (default, known) = (choices[0].1, choices.iter().map(|(word, _)| (*word).to_owned()).collect());
    let Some(value) = value else { return Ok(default) };
    choices.iter().find(|(word, _)| *word == value).map(|(_, choice)| *choice).ok_or_else(|| {
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        GatewayError::bad_name(format!("`{name}` must be one of {}, got `{value}`", words.join(", ")), known)
    })
}

fn parse_timeout(text: &str) -> Result<Duration, GatewayError> {
    positions::parse_span(text)
        .map_err(|_| GatewayError::bad(format!("`timeout` must be a span such as 500ms, 2s, 1m or 1h, got `{text}`")))
}

fn names<'a>(names: impl Iterator<Item = &'a String>) -> Vec<String> {
    names.cloned().collect()
}
