//! Queries: from a request for rows or in SQL to an answer with its envelope.
//!
//! Guarantee: all views of a query are pinned once, before anything of the answer is computed. A place among the
//! running queries is taken after waiting for a position token, never before.
//! Not here: what a request means (`rows.rs`), how an answer is computed (`answer.rs`, `sql.rs`), where the pinned
//! states come from (`refresh.rs`).

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::common::TableReference;
use edge::Parameters;
use positions::{Offset, PartitionId, SourceName, ViewName};
use serde::{Deserialize, Serialize};
use serving_layer::Version;

use crate::answer::{LayerStates, answer};
use crate::attempt::ViewReader;
use crate::envelope::Envelope;
use crate::json::rows_to_json;
use crate::refresh::SourceReader;
use crate::rows::{Layer, RowsRequest, Wait, parse, parse_consistency, parse_wait};
use crate::run;
use crate::served::{Served, ServedView, SourceState};
use crate::tables::Pinned;
use crate::{Behind, Gateway, GatewayError};

/// The answer of a rows request.
#[derive(Clone, Debug)]
pub struct RowsAnswer {
    /// Dimensions and finished measures.
    pub rows: RecordBatch,
    /// What it is made of.
    pub envelope: Envelope,
}

impl RowsAnswer {
    /// The JSON text that HTTP answers: `{"rows": [{...}], "envelope": {...}}`.
    ///
    /// # Errors
    /// Only for a defect.
    pub fn to_json(&self) -> Result<String, GatewayError> {
        body(&self.rows, &self.envelope)
    }
}

/// The body of an SQL request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SqlRequest {
    /// One SELECT.
    pub sql: String,
    /// `latest` (default) or `batch`.
    pub consistency: Option<String>,
    /// A position token that the answer must cover.
    pub after: Option<String>,
    /// How long to wait for it, like `2s`.
    pub timeout: Option<String>,
}

impl SqlRequest {
    /// A query at the latest state.
    pub fn new(sql: impl Into<String>) -> Self {
        Self { sql: sql.into(), ..Self::default() }
    }

    /// The text, and the members that mean the same as a parameter of a rows request.
    fn into_parts(self) -> (String, Parameters) {
        let members = [("consistency", self.consistency), ("after", self.after), ("timeout", self.timeout)];
        let given = members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        (self.sql, Parameters::new(given.collect()))
    }
}

/// What an SQL answer is made of.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SqlEnvelope {
    /// Whether the part of any view is stale.
    pub stale: bool,
    /// One envelope per view that the query reads.
    pub views: BTreeMap<String, Envelope>,
}

/// The answer of an SQL request.
#[derive(Clone, Debug)]
pub struct SqlAnswer {
    /// The rows.
    pub rows: RecordBatch,
    /// What they are made of.
    pub envelope: SqlEnvelope,
}

impl SqlAnswer {
    /// The JSON text that HTTP answers: `{"rows": [{...}], "envelope": {...}}`.
    ///
    /// # Errors
    /// Only for a defect.
    pub fn to_json(&self) -> Result<String, GatewayError> {
        body(&self.rows, &self.envelope)
    }
}

impl Gateway {
    /// Answers a rows request.
    ///
    /// # Errors
    /// [`GatewayError`], by what the caller should do.
    pub async fn rows(&self, request: RowsRequest) -> Result<RowsAnswer, GatewayError> {
        let (source, reader) = self.find(&request.view)?;
        let view = &reader.view;
        let parsed = parse(view, Parameters::new(request.parameters), self.settings())?;
        let (state, _permit, served) = match parsed.version {
            Some(wanted) => {
                let (state, permit) = (self.fresh_state(source).await, self.admit()?);
                (state, permit, self.served_version(source, reader, wanted, &parsed.wait).await?)
            }
            None => {
                let state = self.state_covering(source, &[&view.name], &parsed.wait).await?;
                let (permit, served) = (self.admit()?, served(&state, &view.name)?);
                (state, permit, served)
            }
        };
        let states = LayerStates {
            batch: served.batch.as_deref().filter(|_| parsed.layer != Layer::Realtime),
            realtime: if parsed.layer == Layer::Batch { &[] } else { served.realtime.chunks() },
        };
        let rows = answer(view, states, &parsed.question).await?;
        let envelope = self.envelope(view, &served, parsed.layer, &state);
        Ok(RowsAnswer { rows, envelope })
    }

    /// Answers an SQL request.
    ///
    /// # Errors
    /// [`GatewayError`], by what the caller should do.
    pub async fn sql(&self, request: SqlRequest) -> Result<SqlAnswer, GatewayError> {
        let settings = self.settings();
        let engine = self.sql_engine();
        let (text, mut parameters) = request.into_parts();
        let is_batch = parse_consistency(&mut parameters)?;
        let wait = parse_wait(&mut parameters, is_batch, settings)?;
        let (statement, references) = engine.parse(&text, settings)?;
        let names = references.iter().map(|reference| self.view_of(reference)).collect::<Result<Vec<_>, _>>()?;
        let plan = engine.plan(statement, settings).await?;
        let (pinned, envelope) = self.pin_all(&names, &wait).await?;
        let rows = engine.run(plan, pinned, settings).await?;
        check_names(&rows)?;
        Ok(SqlAnswer { rows, envelope })
    }

    fn view_of(&self, reference: &TableReference) -> Result<ViewName, GatewayError> {
        let is_plain = matches!(reference, TableReference::Bare { .. });
        let found = self.find(reference.table()).ok().filter(|_| is_plain);
        // A name with a schema in front, told as a whole, is never that of a source.
        found.map(|(_, reader)| reader.view.name.clone()).ok_or_else(|| self.no_view(&reference.to_string()))
    }

    /// Pins all views of a query; views of one source share one state, which covers the token for all of them.
    async fn pin_all(
        &self,
        names: &[ViewName],
        wait: &Wait,
    ) -> Result<(BTreeMap<String, Pinned>, SqlEnvelope), GatewayError> {
        let mut by_source: BTreeMap<SourceName, Vec<&ViewName>> = BTreeMap::new();
        for name in names {
            let (source, _) = self.find(name.as_str())?;
            by_source.entry(source.source().name.clone()).or_default().push(name);
        }
        let mut pinned = BTreeMap::new();
        let mut envelopes = BTreeMap::new();
        let layer = if wait.is_batch { Layer::Batch } else { Layer::Merged };
        for names in by_source.values() {
            let (source, _) = self.find(names[0].as_str())?;
            let state = self.state_covering(source, names, wait).await?;
            for name in names {
                let (_, reader) = self.find(name.as_str())?;
                let served = served(&state, name)?;
                envelopes.insert(name.to_string(), self.envelope(&reader.view, &served, layer, &state));
                pinned.insert(name.to_string(), Pinned::new(&served, layer));
            }
        }
        let stale = envelopes.values().any(|envelope| envelope.stale);
        Ok((pinned, SqlEnvelope { stale, views: envelopes }))
    }

    /// A state of the source that covers the token for all of these views, or how far the first of them is that lags.
    async fn state_covering(
        &self,
        source: &SourceReader,
        views: &[&ViewName],
        wait: &Wait,
    ) -> Result<Arc<SourceState>, GatewayError> {
        let state = self.fresh_state(source).await;
        let Some(asked) = wait.asked_of(&source.source().name) else { return Ok(state) };
        let first_behind = |state: &SourceState| {
            let lags = views.iter().map(|view| (*view, behind(asked, &state.reached(view, wait.is_batch))));
            lags.into_iter().find(|(_, behind)| !behind.is_empty())
        };
        if first_behind(&state).is_none() {
            return Ok(state);
        }
        let _place = self.admit_waiting()?;
        let is_reached = |state: &SourceState| first_behind(state).is_none();
        let state = run::wait_for(source, self.is_refreshing(), wait.limit, is_reached).await;
        match first_behind(&state) {
            None => Ok(state),
            Some((view, behind)) => Err(GatewayError::NotYet { view: view.to_string(), waited: wait.limit, behind }),
        }
    }

    /// One batch version alone, whatever is the newest. It never grows, so a token that it does not cover is refused
    /// at once.
    async fn served_version(
        &self,
        source: &SourceReader,
        reader: &ViewReader,
        wanted: Version,
        wait: &Wait,
    ) -> Result<Arc<Served>, GatewayError> {
        let Some(version) = reader.versions.version(wanted).await? else {
            let known = reader.versions.known().iter().map(|version| version.number().to_string()).collect();
            return Err(GatewayError::Unknown { what: "version", name: wanted.to_string(), known });
        };
        if let Some(asked) = wait.asked_of(&source.source().name) {
            let reached = version.facts.cut.0.iter().map(|(partition, at)| (*partition, at.offset)).collect();
            let behind = behind(asked, &reached);
            if !behind.is_empty() {
                return Err(GatewayError::NotInVersion { view: reader.view.name.to_string(), version: wanted, behind });
            }
        }
        let states = reader.versions.states(&version, self.settings()).await?;
        Ok(Arc::new(Served::of_version(version, states)))
    }
}

/// What a view is answered from, or why it is not.
fn served(state: &SourceState, view: &ViewName) -> Result<Arc<Served>, GatewayError> {
    match state.views.get(view) {
        Some(ServedView::Served(served)) => Ok(served.clone()),
        Some(ServedView::Building(reason)) => {
            Err(GatewayError::Building { view: view.to_string(), reason: reason.clone() })
        }
        Some(ServedView::Unavailable(reason)) => {
            Err(GatewayError::Unavailable { view: view.to_string(), reason: reason.clone() })
        }
        None => Err(GatewayError::Building { view: view.to_string(), reason: "it has not been read yet".to_owned() }),
    }
}

fn check_names(rows: &RecordBatch) -> Result<(), GatewayError> {
    let schema = rows.schema();
    let mut names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => {
            let reason = format!("two columns of the answer are named `{}`", pair[0]);
            Err(GatewayError::bad_with_hint(reason, "name one of them with AS"))
        }
        None => Ok(()),
    }
}

/// The JSON text of an answer.
fn body(rows: &RecordBatch, envelope: &impl Serialize) -> Result<String, GatewayError> {
    let envelope = serde_json::to_string(envelope).expect("envelopes are plain data with text keys");
    Ok(format!("{{\"rows\":{},\"envelope\":{envelope}}}", rows_to_json(rows)?))
}

fn behind(asked: &BTreeMap<PartitionId, Offset>, reached: &BTreeMap<PartitionId, Offset>) -> Vec<Behind> {
    let all = asked.iter().map(|(partition, asked)| Behind {
        partition: *partition,
        asked: *asked,
        reached: reached.get(partition).copied().unwrap_or_default(),
    });
    all.filter(|behind| behind.reached < behind.asked).collect()
}
