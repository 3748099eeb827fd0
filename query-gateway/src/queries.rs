//! Queries: from a request for rows or in SQL to an answer with its envelope.
//!
//! Guarantee: all views of a query are pinned once, before anything of the answer is computed. No place among the
//! running queries is held while a position token is waited for. Every query has a principal, and what that does not
//! see is in no answer and in no error.
//! Not here: what a request means (`rows.rs`), what a query in SQL reads (`sql_pins.rs`), how an answer is computed
//! (`answer.rs`, `sql.rs`), where the pinned states come from (`refresh.rs`).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use arrow::array::RecordBatch;
use edge::{Parameters, Principal};
use positions::{DefinitionHash, Offset, PartitionId, ViewName};
use serde::{Deserialize, Serialize};
use serving_layer::Version;
use views::PlannedView;

use crate::answer::answer;
use crate::attempt::ViewReader;
use crate::body::answer_body;
use crate::envelope::Envelope;
use crate::json::{Integers, Writing};
use crate::local_bins::{LocalBins, LocalBinsNote};
use crate::params::SqlParams;
use crate::places::Client;
use crate::refresh::SourceReader;
use crate::rows::{RowsRequest, Wait, parse, parse_consistency, parse_wait};
use crate::run;
use crate::served::{Served, SourceState};
use crate::sql_answer::{SqlAnswer, SqlEnvelope};
use crate::sql_pins::{NamedView, of_layer};
use crate::tables::Inputs;
use crate::visible::VisibleStates;
use crate::{Behind, Gateway, GatewayError, told};

/// The answer of a rows request.
#[derive(Clone, Debug)]
pub struct RowsAnswer {
    /// Dimensions and finished measures.
    pub rows: RecordBatch,
    /// What it is made of.
    pub envelope: Envelope,
    /// How many rows there are of the whole answer.
    pub extent: Extent,
    /// How its JSON text writes integers.
    pub integers: Integers,
    /// How long its JSON text may be.
    pub max_bytes: usize,
}

/// How much of an answer is shown, and what its rows stand for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Extent {
    /// Whether rows follow that are not shown.
    pub truncated: bool,
    /// How many groups pass the filters, shown or not.
    pub groups: usize,
    /// The `cursor` of the request for the next rows. None where none follow, and where the keys of the last row are
    /// too long for a URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// The local spans that a time dimension shows. None where it shows the bins of the view.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bucket: Option<LocalBinsNote>,
}

impl RowsAnswer {
    /// The JSON text that HTTP answers: `{"rows": [{...}], "envelope": {...}, "columns": [{...}], "truncated": false,
    /// "groups": 3}`.
    ///
    /// # Errors
    /// [`GatewayError::TooLarge`]; else only for a defect.
    pub fn to_json(&self) -> Result<String, GatewayError> {
        let writing = Writing { integers: self.integers, max_bytes: self.max_bytes };
        answer_body(&self.rows, &self.envelope, writing, &self.extent)
    }
}

/// The body of an SQL request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SqlRequest {
    /// One SELECT, EXPLAIN of one, SHOW TABLES, SHOW COLUMNS or DESCRIBE.
    pub sql: String,
    /// The values of its parameters.
    #[serde(default)]
    pub params: SqlParams,
    /// `latest` (default) or `batch`.
    pub consistency: Option<String>,
    /// A position token that the answer must cover.
    pub after: Option<String>,
    /// How long to wait for it, like `2s`.
    pub timeout: Option<String>,
    /// `number` (default) or `text`.
    pub integers: Option<String>,
    /// Where the request came from: those of different principals and addresses take turns where they must wait.
    #[serde(skip)]
    pub client: Option<IpAddr>,
    /// Whether who asks may operate the system, and is no page of a browser: then rejected records are told in words,
    /// with their payloads.
    #[serde(skip)]
    pub is_operator: bool,
}

impl SqlRequest {
    /// A query at the latest state.
    pub fn new(sql: impl Into<String>) -> Self {
        Self { sql: sql.into(), ..Self::default() }
    }

    /// The text, and the members that mean the same as a parameter of a rows request.
    fn into_parts(self) -> (String, SqlParams, Parameters) {
        let members = [
            ("consistency", self.consistency),
            ("after", self.after),
            ("timeout", self.timeout),
            ("integers", self.integers),
        ];
        let given = members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        (self.sql, self.params, Parameters::new(given.collect()))
    }
}

impl Gateway {
    /// Answers a rows request of a principal.
    ///
    /// # Errors
    /// [`GatewayError`], by what the caller should do.
    pub async fn rows(&self, principal: &Principal, request: RowsRequest) -> Result<RowsAnswer, GatewayError> {
        let mut later: Option<Arc<Self>> = None;
        loop {
            let gateway: &Self = later.as_deref().unwrap_or(self);
            let answer = gateway.rows_here(principal, &request).await;
            // What failed here while another gateway took the place of this one may be answered there.
            match (answer, gateway.later().cloned()) {
                (Err(_), Some(next)) => later = Some(next),
                (answer, _) => return answer.map_err(|error| told::error(principal, error)),
            }
        }
    }

    async fn rows_here(&self, principal: &Principal, request: &RowsRequest) -> Result<RowsAnswer, GatewayError> {
        let (source, reader) = self.find(principal, &request.view)?;
        let view = &reader.view;
        let rules = self.row_filters(principal, view)?;
        let parsed = parse(view, Parameters::new(request.parameters.clone()), self.settings()).map_err(|error| {
            let is_right = |present: &PlannedView| {
                parse(present, Parameters::new(request.parameters.clone()), self.settings()).is_ok()
            };
            self.instead_of_building(principal, error, &request.view, is_right)
        })?;
        let (state, _permit, served) = match parsed.version {
            Some(wanted) => {
                let (state, permit) = (self.fresh_state(source).await, self.admit()?);
                (state, permit, self.served_version(source, reader, wanted, &parsed.wait).await?)
            }
            None => {
                let state = self.state_covering(source, &[(&view.name, view.hash)], &parsed.wait).await?;
                let (permit, served) = (self.admit()?, source.served(&state, view)?);
                (state, permit, served)
            }
        };
        let states = of_layer(VisibleStates::new(&served, &rules), parsed.layer);
        let (page, overflows) = answer(view, states, &parsed.question).await?;
        let envelope = self.envelope(principal, view, &served, parsed.layer, &state);
        let extent = Extent {
            truncated: page.last.is_some(),
            groups: page.groups,
            next: page.last.and_then(|key| parsed.scope.encode(&key)),
            bucket: parsed.question.bins.as_ref().map(LocalBins::note),
        };
        let envelope = Envelope { overflows, ..envelope };
        let max_bytes = self.settings().max_answer_bytes;
        Ok(RowsAnswer { rows: page.rows, envelope, extent, integers: parsed.integers, max_bytes })
    }

    /// Answers an SQL request of a principal.
    ///
    /// # Errors
    /// [`GatewayError`], by what the caller should do.
    pub async fn sql(&self, principal: &Principal, request: SqlRequest) -> Result<SqlAnswer, GatewayError> {
        // A key that everybody can read in a page must not have queries computed, also those that read no view.
        if principal.only_writes() {
            return Err(GatewayError::NothingToRead { principal: principal.name().to_owned() });
        }
        let mut later: Option<Arc<Self>> = None;
        loop {
            let gateway: &Self = later.as_deref().unwrap_or(self);
            let answer = gateway.sql_here(principal, request.clone()).await;
            match (answer, gateway.later().cloned()) {
                (Err(_), Some(next)) => later = Some(next),
                (answer, _) => return answer.map_err(|error| told::error(principal, error)),
            }
        }
    }

    async fn sql_here(&self, principal: &Principal, request: SqlRequest) -> Result<SqlAnswer, GatewayError> {
        let (settings, engine) = (self.settings(), self.sql_engine(principal)?);
        let client: Client = (principal.name().into(), request.client);
        let (rejected, runs) = (self.rejected(principal, request.is_operator), self.runs(request.is_operator));
        let reports = self.reports(request.is_operator);
        let (text, params, mut parameters) = request.into_parts();
        let is_batch = parse_consistency(&mut parameters)?;
        let integers = Integers::take(&mut parameters)?;
        let wait = parse_wait(&mut parameters, is_batch, settings)?;
        let place = self.sql_places().enter(client.clone(), settings);
        let (place, parsed) = engine.parse(&text, place, settings).await?;
        let names = self.views_of(principal, &parsed.references)?;
        self.views_of(principal, parsed.about.as_slice())?;
        let (rows, envelope) = if parsed.is_explained {
            let rows = engine.explain(parsed, (place, settings)).await?;
            (rows, SqlEnvelope { stale: false, views: BTreeMap::new(), rejected: Vec::new() })
        } else {
            let (place, plan) = match engine.plan(&text, parsed, &params, (place, settings)).await {
                Ok(planned) => planned,
                Err(error) => {
                    let asked = (text.as_str(), &params, client);
                    return Err(self.instead_of_unplanned(principal, error, asked, &names).await);
                }
            };
            let (place, (pinned, envelope)) = if wait.after.is_some() {
                // No place is held while a token is waited for.
                drop(place);
                let pinned = self.pin_all(principal, &names, (&wait, engine.memory())).await?;
                (self.sql_places().enter(client, settings).await?, pinned)
            } else {
                (place, self.pin_all(principal, &names, (&wait, engine.memory())).await?)
            };
            let overflowing = pinned.iter().map(|(name, pinned)| (name.clone(), pinned.overflowing.clone()));
            let overflowing: Vec<_> = overflowing.collect();
            let inputs = Inputs { pinned, rejected: rejected.clone(), runs, reports };
            let rows = engine.run(plan, inputs, (place, settings)).await?;
            let envelope = envelope.with_overflows(&overflowing);
            (rows, SqlEnvelope { rejected: rejected.extents().await, ..envelope })
        };
        SqlAnswer::new(rows, envelope, Writing { integers, max_bytes: settings.max_answer_bytes })
    }

    /// Why a query cannot be planned, where the definitions that are being built could answer it.
    async fn instead_of_unplanned(
        &self,
        principal: &Principal,
        error: GatewayError,
        (text, params, client): (&str, &SqlParams, Client),
        names: &[NamedView],
    ) -> GatewayError {
        let is_refused = matches!(error, GatewayError::BadRequest { .. });
        let mut former = names.iter().filter_map(|named| self.former_of(named.view.as_str()));
        let Some(former) = former.next().filter(|_| is_refused) else { return error };
        let settings = self.settings();
        let Ok(present) = self.present_engine(principal) else { return error };
        let place = self.sql_places().enter(client, settings);
        let Ok((place, parsed)) = present.parse(text, place, settings).await else { return error };
        let is_right = present.plan(text, parsed, params, (place, settings)).await.is_ok();
        if is_right { self.building(former, &error) } else { error }
    }

    /// A state of the source that covers the token for all of these views, or how far the first of them is that lags.
    pub(crate) async fn state_covering(
        &self,
        source: &SourceReader,
        views: &[(&ViewName, DefinitionHash)],
        wait: &Wait,
    ) -> Result<Arc<SourceState>, GatewayError> {
        let state = self.fresh_state(source).await;
        let Some(asked) = wait.asked_of(&source.source().name) else { return Ok(state) };
        let first_behind = |state: &SourceState| {
            let lags = views.iter().map(|(view, hash)| (*view, behind(asked, &state.reached(*hash, wait.is_batch))));
            lags.into_iter().find(|(_, behind)| !behind.is_empty())
        };
        if first_behind(&state).is_none() {
            return Ok(state);
        }
        let _place = self.admit_waiting()?;
        // Where another gateway took the place of this one, it has what is waited for, and this one never will.
        let is_reached = |state: &SourceState| first_behind(state).is_none() || self.later().is_some();
        let state = run::wait_for(source, self.is_refreshing(), wait.limit, is_reached).await;
        match first_behind(&state) {
            None => Ok(state),
            Some((view, behind)) => Err(GatewayError::NotYet { view: view.to_string(), waited: wait.limit, behind }),
        }
    }

    /// One batch version alone, whatever is the newest. It never grows, so a token that it does not cover is refused
    /// at once.
    pub(crate) async fn served_version(
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

fn behind(asked: &BTreeMap<PartitionId, Offset>, reached: &BTreeMap<PartitionId, Offset>) -> Vec<Behind> {
    let all = asked.iter().map(|(partition, asked)| Behind {
        partition: *partition,
        asked: *asked,
        reached: reached.get(partition).copied().unwrap_or_default(),
    });
    all.filter(|behind| behind.reached < behind.asked).collect()
}
