//! What a sender may want to know of a source before it sends: its columns, and whether sending twice is safe.

use serde::Serialize;
use serde_json::Value;
use views::{SourceDefinition, declared_name, default_of};

/// The answer of `GET /v1/sources/{source}`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SourceDetails {
    /// Its name.
    pub source: String,
    /// The topic that holds its events.
    pub topic: String,
    /// The column with the time of the event.
    pub event_time: String,
    /// The column by which copies of an event are known; null: nothing tells them apart, and each of them counts.
    pub event_id: Option<String>,
    /// What an event holds.
    pub columns: Vec<EventColumn>,
}

/// One column of a source.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EventColumn {
    /// Its name.
    pub name: String,
    /// Its type as declared.
    #[serde(rename = "type")]
    pub data_type: String,
    /// Whether it may be null, and, without a default, missing.
    pub nullable: bool,
    /// What a missing key stands for; left out where that is null.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
}

impl SourceDetails {
    /// The details of a source.
    pub(super) fn new(source: &SourceDefinition) -> Self {
        let ids: Vec<&str> = source.event_id_names().collect();
        let columns = source.declared.fields().iter().map(|field| EventColumn {
            name: field.name().clone(),
            data_type: declared_name(field),
            nullable: field.is_nullable(),
            default: default_of(field).and_then(|json| serde_json::from_str(json).ok()),
        });
        Self {
            source: source.name.to_string(),
            topic: source.topic.clone(),
            event_time: source.event_time_name().to_owned(),
            event_id: (!ids.is_empty()).then(|| ids.join(", ")),
            columns: columns.collect(),
        }
    }
}
