//! Records that wait for their schemas: which they are, and what is told of them.
//!
//! Guarantee: pure. Of each partition all records before the first that waits can be read; none behind it is handed
//! out, so that order and positions stay.
//! Why nothing is rejected because a schema is missing: what a registry says of an id may differ from one moment to the
//! next (an outage, a replica that lags), and a verdict that depends on the moment would differ between the layers. So
//! a record waits until its schema is known, or until the source's definition says that the id stands for none.

use std::collections::{BTreeMap, BTreeSet};

use event_log::Record;
use positions::{Offset, PartitionId, SchemaId};
use views::SourceDefinition;

use super::frame::schema_id;
use super::schemas::Schemas;
use crate::RecordsError;

/// A record that cannot be read before its schema is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Its partition.
    pub partition: PartitionId,
    /// Its place there.
    pub offset: Offset,
    /// The schema that it names.
    pub id: SchemaId,
}

impl Waiting {
    /// The error that says so. `reason`: why the schema is not known.
    pub fn because(self, reason: impl ToString) -> RecordsError {
        let Self { partition, offset, id } = self;
        RecordsError::SchemaMissing { partition, offset, id, reason: reason.to_string() }
    }
}

/// The first record whose schema is not known.
pub(crate) fn first_missing(source: &SourceDefinition, schemas: &Schemas, records: &[Record]) -> Option<Waiting> {
    if !source.format.has_schemas() {
        return None;
    }
    records.iter().find_map(|record| waiting(source, schemas, record))
}

/// Of each partition the first record whose schema is not known, where there is one. `records`: in the order of their
/// partitions.
pub fn first_waiting(source: &SourceDefinition, schemas: &Schemas, records: &[Record]) -> Vec<Waiting> {
    let mut found: Vec<Waiting> = Vec::new();
    if !source.format.has_schemas() {
        return found;
    }
    let mut stopped: BTreeSet<PartitionId> = BTreeSet::new();
    for record in records {
        if !stopped.contains(&record.partition)
            && let Some(waiting) = waiting(source, schemas, record)
        {
            stopped.insert(waiting.partition);
            found.push(waiting);
        }
    }
    found
}

/// Divides records: those that can be read now, in their order, and of each other partition the first that waits.
pub fn split_readable(
    source: &SourceDefinition,
    schemas: &Schemas,
    mut records: Vec<Record>,
) -> (Vec<Record>, Vec<Waiting>) {
    let found = first_waiting(source, schemas, &records);
    if !found.is_empty() {
        let stops: BTreeMap<PartitionId, Offset> =
            found.iter().map(|waiting| (waiting.partition, waiting.offset)).collect();
        records.retain(|record| stops.get(&record.partition).is_none_or(|stop| record.offset < *stop));
    }
    (records, found)
}

fn waiting(source: &SourceDefinition, schemas: &Schemas, record: &Record) -> Option<Waiting> {
    let id = schema_id(source, &record.payload).filter(|id| !schemas.knows(*id))?;
    Some(Waiting { partition: record.partition, offset: record.offset, id })
}
