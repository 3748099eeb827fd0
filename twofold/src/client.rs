//! A client of a running system: what `load`, `query`, `status` and the demo speak over HTTP.
//!
//! Guarantee: every refusal carries the words of the system (problem details), not only a status.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use reqwest::StatusCode;
use reqwest::header::RETRY_AFTER;
use serde::Deserialize;
use serde_json::Value;

use crate::data_dir::read_run_note;

/// Longer than any wait that a request may ask the system for.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);

/// A system at an address.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    base: String,
}

/// What the collector says about the events of one request.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Receipt {
    /// Good events that are in the log now.
    pub accepted: u64,
    /// Bad events: kept in the log with their error, or left out.
    pub rejected: u64,
    /// Every event that was not accepted, and why.
    pub errors: Vec<EventError>,
    /// As of the events that are in the log now.
    pub token: String,
}

/// One event that was not accepted.
#[derive(Clone, Debug, Deserialize)]
pub struct EventError {
    /// Its line in the request, from 0.
    pub index: usize,
    /// Why.
    pub error: String,
    /// Whether the log holds it; `None`: nobody knows, send it again.
    pub stored: Option<bool>,
}

/// How one request to the collector ended.
#[derive(Debug)]
pub enum SendOutcome {
    /// Answered for.
    Received(Receipt),
    /// Not now: 429, 503, or no connection. Send the same again after the span, where one is named.
    Later {
        /// As named in `Retry-After`.
        after: Option<Duration>,
        /// What the system said.
        reason: String,
        /// What became of the events, where some of them were stored nevertheless.
        partly: Option<Receipt>,
    },
}

impl Client {
    /// A client of the system at `address`: `host:port` or a URL.
    ///
    /// # Errors
    /// If no HTTP client can be made on this machine.
    pub fn new(address: &str) -> Result<Self> {
        let http = reqwest::Client::builder().timeout(REQUEST_TIMEOUT).build().context("cannot make an HTTP client")?;
        let base = address.trim_end_matches('/');
        let base = if base.contains("://") { base.to_owned() } else { format!("http://{base}") };
        Ok(Self { http, base })
    }

    /// A client of the system at `address`, or else of the one that runs on `data_dir`.
    ///
    /// # Errors
    /// If neither is there.
    pub fn find(address: Option<&str>, data_dir: &Path) -> Result<Self> {
        if let Some(address) = address {
            return Self::new(address);
        }
        let note = read_run_note(data_dir).ok_or_else(|| {
            anyhow!(
                "no system runs on data directory {}: start one with `twofold up`, or name one with --address",
                data_dir.display()
            )
        })?;
        Self::new(&note.address.to_string())
    }

    /// The address, as a URL without a slash at its end.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Sends newline-delimited JSON to a source.
    ///
    /// # Errors
    /// A refusal that sending again would not change.
    pub async fn send_events(&self, source: &str, lines: Bytes) -> Result<SendOutcome> {
        let url = format!("{}/v1/sources/{source}/events", self.base);
        let request = self.http.post(url).header("content-type", "application/x-ndjson").body(lines);
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) if error.is_connect() || error.is_timeout() || error.is_request() => {
                let reason = format!("{:#}", anyhow!(error));
                return Ok(SendOutcome::Later { after: None, reason, partly: None });
            }
            Err(error) => return Err(error).context("the collector's answer cannot be read"),
        };
        let status = response.status();
        if status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::SERVICE_UNAVAILABLE {
            let after = response.headers().get(RETRY_AFTER).and_then(|text| text.to_str().ok()?.parse().ok());
            let body = response.text().await.unwrap_or_default();
            let (reason, partly) = (describe(status, &body), serde_json::from_str(&body).ok());
            return Ok(SendOutcome::Later { after: after.map(Duration::from_secs), reason, partly });
        }
        let body = response.text().await.context("the collector's answer broke off")?;
        match serde_json::from_str::<Receipt>(&body) {
            Ok(receipt) => Ok(SendOutcome::Received(receipt)),
            Err(_) => bail!("{}", describe(status, &body)),
        }
    }

    /// Asks for a JSON document: `path` starts with a slash; values of `parameters` are encoded here.
    ///
    /// # Errors
    /// Where nothing answers, or the answer is a refusal.
    pub async fn get(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value> {
        let body = self.read(self.http.get(format!("{}{path}", self.base)).query(parameters)).await?;
        serde_json::from_str(&body).with_context(|| format!("{} answered something else than JSON", self.base))
    }

    /// Asks a question in SQL; the answer as JSON text, its columns in order.
    ///
    /// # Errors
    /// As in [`Self::get`].
    pub async fn sql(&self, sql: &str) -> Result<String> {
        let question = serde_json::json!({ "sql": sql });
        self.read(self.http.post(format!("{}/v1/sql", self.base)).json(&question)).await
    }

    async fn read(&self, request: reqwest::RequestBuilder) -> Result<String> {
        let response = request
            .send()
            .await
            .with_context(|| format!("nothing answers at {}; is `twofold up` running?", self.base))?;
        let status = response.status();
        let body = response.text().await.context("the answer broke off")?;
        if !status.is_success() {
            bail!("{}", describe(status, &body));
        }
        Ok(body)
    }
}

/// Problem details as one sentence, or the bare status.
fn describe(status: StatusCode, body: &str) -> String {
    let problem: Value = serde_json::from_str(body).unwrap_or_default();
    let parts = ["title", "detail", "hint"].iter().filter_map(|field| problem.get(field)?.as_str());
    let mut told: Vec<String> = parts.map(str::to_owned).collect();
    if let Some(known) = problem.get("known").and_then(Value::as_array) {
        let names: Vec<&str> = known.iter().filter_map(Value::as_str).collect();
        told.push(format!("known: {}", names.join(", ")));
    }
    if told.is_empty() {
        format!("the system answered {status}")
    } else {
        format!("{} ({})", told.join(": "), status.as_u16())
    }
}
