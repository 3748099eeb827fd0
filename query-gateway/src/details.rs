//! What `/v1/views` tells of each view: columns, definition, versions, freshness.

use std::collections::BTreeMap;

use positions::{Offset, PartitionId};
use serde::Serialize;
use serving_layer::{BatchVersion, Version};
use views::{ViewDefinition, sql_name};

use crate::ViewStatus;
use crate::conditions::only_time_dimension;
use crate::json::instant;

/// What `/v1/views/{view}` tells.
#[derive(Clone, Debug, Serialize)]
pub struct ViewDetails {
    /// Its name.
    pub view: String,
    /// The source it aggregates.
    pub source: String,
    /// Its definition as SQL.
    pub sql: String,
    /// Identifies the definition.
    pub definition: String,
    /// Group keys: name and type.
    pub dimensions: Vec<ColumnDetails>,
    /// The dimension that `from` and `to` filter; null without one, and where there are several.
    pub time_dimension: Option<String>,
    /// Numbers: name, type, class.
    pub measures: Vec<ColumnDetails>,
    /// Retained batch versions, newest first.
    pub versions: Vec<VersionDetails>,
    /// State, cut, head and freshness.
    pub status: ViewStatus,
}

/// A column of a view.
#[derive(Clone, Debug, Serialize)]
pub struct ColumnDetails {
    /// Its name.
    pub name: String,
    /// Its type, in the words of a pipeline file.
    #[serde(rename = "type")]
    pub data_type: String,
    /// `exact`, `float`, `sketch` or `unbounded`; null for a dimension.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<&'static str>,
    /// How it is computed; null for a dimension.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expression: Option<String>,
    /// Whether finished values may be summed up; null for a dimension.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub additive: Option<bool>,
}

/// A batch version.
#[derive(Clone, Debug, Serialize)]
pub struct VersionDetails {
    /// Its number, for `version=`.
    pub version: Version,
    /// When it was published.
    pub published_at: Option<String>,
    /// What it covers; absent for who does not see all rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cut: Option<BTreeMap<PartitionId, Offset>>,
    /// Whether everything was recomputed for it.
    pub is_full: bool,
}

impl ViewDetails {
    /// The details of a view with these retained versions, newest first.
    pub(crate) fn new(view: &ViewDefinition, versions: &[BatchVersion], status: ViewStatus) -> Self {
        Self {
            view: view.name.to_string(),
            source: view.source.name.to_string(),
            sql: view.sql.clone(),
            definition: view.hash.to_string(),
            dimensions: dimension_details(view),
            time_dimension: only_time_dimension(view).map(|index| view.dimensions[index].name.clone()),
            measures: measure_details(view),
            versions: versions.iter().map(version_details).collect(),
            status,
        }
    }
}

fn dimension_details(view: &ViewDefinition) -> Vec<ColumnDetails> {
    let details = view.dimensions.iter().map(|dimension| ColumnDetails {
        name: dimension.name.clone(),
        data_type: sql_name(&dimension.data_type),
        class: None,
        expression: None,
        additive: None,
    });
    details.collect()
}

fn measure_details(view: &ViewDefinition) -> Vec<ColumnDetails> {
    let details = view.measures.iter().map(|measure| ColumnDetails {
        name: measure.name.clone(),
        data_type: sql_name(&measure.data_type),
        class: Some(measure.class.as_str()),
        expression: Some(measure.expression.clone()),
        additive: Some(measure.is_additive),
    });
    details.collect()
}

fn version_details(version: &BatchVersion) -> VersionDetails {
    let cut = version.facts.cut.0.iter().map(|(partition, position)| (*partition, position.offset));
    VersionDetails {
        version: version.number(),
        published_at: instant(version.facts.published_at),
        cut: Some(cut.collect()),
        is_full: version.facts.is_full,
    }
}
