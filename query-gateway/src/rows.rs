//! `GET /v1/views/{view}/rows`: from URL parameters to a question. Pure.
//!
//! | parameter | meaning |
//! |---|---|
//! | `page=X`, `page.ne=X`, `hour.ge=X`, `page.is=null` and so on | tests of dimensions (`conditions.rs`) |
//! | `from=`, `to=` | the half-open range `[from, to)` of the view's time dimension |
//! | `range_of=hour` | which one, where the view has several |
//! | `bucket=day` | roll it up to hours, days, weeks, months, quarters or years of `tz` (`local_bins.rs`) |
//! | `tz=Europe/Berlin` | the time zone of these, and of times without an offset |
//! | `by=page,channel` | roll up to these dimensions through state merge; empty: one total; absent: all dimensions |
//! | `fill=0`, `null`, `previous` | rows for bins of time in which nothing came (`gaps.rs`) |
//! | `order=-edits,page` | sort keys, `-` for largest first, nulls last; ties by all dimensions of the answer |
//! | `limit=5` | at most this many rows |
//! | `cursor=NEXT` | rows behind those of the answer that `NEXT` comes from |
//! | `integers=text` | integers that no double can hold as texts |
//! | `layer=merged`, `batch`, `realtime` | which part of the answer; `parts=true` shows all three side by side |
//! | `consistency=latest`, `batch` | with or without the realtime part |
//! | `version=7` | this batch version alone; with `after` it must cover the token already |
//! | `after=TOKEN`, `timeout=2s` | wait until the answer covers a position token |
//!
//! Guarantee: every parameter is understood or refused; a refusal names what exists.

use std::collections::BTreeMap;
use std::time::Duration;

use edge::Parameters;
use positions::{Offset, PartitionId, PositionToken, SourceName};
use serving_layer::Version;
use views::ViewDefinition;

use crate::answer::Question;
use crate::conditions::Conditions;
use crate::cursor::Scope;
use crate::filter::Test;
use crate::gaps::{Filling, Gaps};
use crate::json::Integers;
use crate::local_bins::LocalBins;
use crate::local_time::{UNITS, Zone};
use crate::order::{OrderKey, Wanted};
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
    /// What a cursor to the next page belongs to.
    pub scope: Scope,
    pub integers: Integers,
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
    let range = [("from", Test::AtLeast), ("to", Test::Below)];
    let range = range.map(|(name, test)| parameters.take(name).map(|value| (name, value, test)));
    let range_of = parameters.take("range_of")?;
    let by = parse_by(view, parameters.take("by")?.as_deref())?;
    let order = parse_order(view, &by, parameters.take("order")?.as_deref())?;
    let limit = parameters.number("limit", 1..=settings.max_rows)?.unwrap_or(settings.default_rows);
    let zone = parameters.take("tz")?.map_or_else(|| Ok(Zone::utc()), |name| Zone::parse(&name))?;
    let unit = parameters.one_of("bucket", &UNITS)?;
    let cursor = parameters.take("cursor")?;
    let integers = Integers::take(&mut parameters)?;
    let fillings = [("0", Filling::Zero), ("null", Filling::Null), ("previous", Filling::Previous)];
    let filling = parameters.one_of("fill", &fillings)?;
    let shows_parts = parameters.one_of("parts", &[("false", false), ("true", true)])?.unwrap_or_default();
    let (layer, version) = parse_layer(&mut parameters)?;
    refuse_batch(view, layer == Layer::Batch)?;
    if shows_parts && layer != Layer::Merged {
        return Err(GatewayError::bad(
            "`parts=true` shows all layers and cannot be combined with `layer`, `consistency` or `version`",
        ));
    }
    let wait = parse_wait(&mut parameters, layer == Layer::Batch, settings)?;
    let mut conditions = Conditions::new(view, range_of.as_deref(), parameters.known(), &zone)?;
    for bound in range {
        if let (name, Some(value), test) = bound? {
            conditions.add_bound(name, &value, test)?;
        }
    }
    for (name, value) in parameters.into_left() {
        conditions.add(&name, &value)?;
    }
    let local = unit.map(|unit| LocalBins::new(view, conditions.time("`bucket`")?, &by, (unit, zone.clone())));
    let bins = local.transpose()?;
    let kept = (bins.as_ref(), settings.max_rows);
    let fill = filling.map(|filling| Gaps::new(view, &by, filling, conditions.range()?, kept));
    let gaps = fill.transpose()?;
    let scope = Scope::new(view, &by, &order, bins.as_ref().map(LocalBins::written));
    let after = cursor.map(|cursor| scope.decode(&cursor)).transpose()?;
    let wanted = Wanted { order, limit, after };
    let question = Question { filters: conditions.finish()?, by, bins, gaps, wanted, shows_parts };
    Ok(ParsedRows { question, layer, version, wait, scope, integers })
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

/// Refuses to answer from batch alone for a view that has no batch versions.
///
/// # Errors
/// [`GatewayError::BadRequest`] where `is_batch` and the view is one of a source in kappa mode.
pub(crate) fn refuse_batch(view: &ViewDefinition, is_batch: bool) -> Result<(), GatewayError> {
    if is_batch && view.generation().is_some() {
        let reason =
            format!("view {} has no batch versions: its source {} is mode 'kappa'", view.name, view.source.name);
        let hint = "leave `layer`, `consistency` and `version` out: what is answered covers the whole log";
        return Err(GatewayError::bad_with_hint(reason, hint));
    }
    Ok(())
}
