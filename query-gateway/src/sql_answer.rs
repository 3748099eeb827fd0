//! The answer of an SQL request, with one envelope for each view that it read.
//!
//! Guarantee: no two columns have one name: its JSON text could show only one of them.
//! Not here: how it comes about (`queries.rs`, `sql.rs`).

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use serde::Serialize;

use crate::GatewayError;
use crate::body::{answer_body, check_names};
use crate::envelope::Envelope;
use crate::json::{Integers, Writing};
use crate::overflow::Overflowing;
use crate::rejected_records::RejectedExtent;

/// What an SQL answer is made of.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SqlEnvelope {
    /// Whether the part of any view is stale.
    pub stale: bool,
    /// One envelope per view that the query reads.
    pub views: BTreeMap<String, Envelope>,
    /// What was read of rejected records, by source and reason; absent where nothing was.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rejected: Vec<RejectedExtent>,
}

impl SqlEnvelope {
    /// With the totals that do not fit, as the query came across them, by view.
    pub(crate) fn with_overflows(mut self, found: &[(String, Overflowing)]) -> Self {
        for (view, overflowing) in found {
            if let Some(envelope) = self.views.get_mut(view) {
                envelope.overflows = overflowing.found();
            }
        }
        self
    }
}

/// The answer of an SQL request.
#[derive(Clone, Debug)]
pub struct SqlAnswer {
    /// The rows.
    pub rows: RecordBatch,
    /// What they are made of.
    pub envelope: SqlEnvelope,
    /// How its JSON text writes integers.
    pub integers: Integers,
    /// How long its JSON text may be.
    pub max_bytes: usize,
}

impl SqlAnswer {
    /// Of these rows.
    ///
    /// # Errors
    /// [`GatewayError::BadRequest`] where two columns have one name.
    pub(crate) fn new(rows: RecordBatch, envelope: SqlEnvelope, writing: Writing) -> Result<Self, GatewayError> {
        check_names(&rows)?;
        let Writing { integers, max_bytes } = writing;
        Ok(Self { rows, envelope, integers, max_bytes })
    }

    /// The JSON text that HTTP answers: `{"rows": [{...}], "envelope": {...}, "columns": [{...}]}`.
    ///
    /// # Errors
    /// [`GatewayError::TooLarge`]; else only for a defect.
    pub fn to_json(&self) -> Result<String, GatewayError> {
        #[derive(Serialize)]
        struct NoMore {}
        let writing = Writing { integers: self.integers, max_bytes: self.max_bytes };
        answer_body(&self.rows, &self.envelope, writing, &NoMore {})
    }
}
