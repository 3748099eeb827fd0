//! What a sender may want to know of a source before it sends: its columns, and whether sending twice is safe.

use serde::Serialize;
use views::{SourceDefinition, sql_name};

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
    /// Whether it may be null or missing.
    pub nullable: bool,
}

impl SourceDetails {
    /// The details of a source.
    pub(super) fn new(source: &SourceDefinition) -> Self {
        let ids: Vec<&str> = source.event_id_names().collect();
        let columns = source.declared.fields().iter().map(|field| EventColumn {
            name: field.name().clone(),
            data_type: sql_name(field.data_type()),
            nullable: field.is_nullable(),
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
