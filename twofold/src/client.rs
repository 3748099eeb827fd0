//! A client of a running system: what `load`, `query`, `status`, `rejected` and the demo speak over HTTP.
//!
//! Guarantee: every refusal carries the words of the system (problem details), not only a status.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use bytes::Bytes;
use clap::ValueEnum;
use reqwest::StatusCode;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, RETRY_AFTER};
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use crate::config::is_http_url;
use crate::data_dir::read_run_note;
use crate::private_files::is_closed_to_us;
use crate::trust::{Trust, explain_refusal};

/// Longer than any wait that a request may ask the system for.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);

/// A full recompute takes as long as it takes.
const READ_AGAIN_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

/// A system at an address.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    trust: Trust,
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
    /// By column, the values of good events that are NULL because the column cannot take them.
    #[serde(default)]
    pub unreadable: BTreeMap<String, u64>,
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
    /// Whether the log holds it, now and for good; `None`: send it again.
    pub stored: Option<bool>,
}

/// What the collector says about a source.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct SourceDetails {
    /// The column by which copies are known; `None`: an event that is sent twice counts twice.
    pub event_id: Option<String>,
    /// What an event holds.
    #[serde(default)]
    pub columns: Vec<ColumnDetails>,
}

/// What the collector says about a column of a source.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct ColumnDetails {
    /// Its name.
    pub name: String,
    /// Its type as SQL names it.
    #[serde(rename = "type")]
    pub data_type: String,
}

/// What becomes of an event that cannot be decoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum OnError {
    /// It is stored with its reason, counted as rejected, and in no answer.
    #[default]
    Keep,
    /// It is left out.
    Refuse,
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
        /// Whether events may be in the log although nobody said so.
        maybe_stored: bool,
        /// What became of the events, where some of them were stored nevertheless.
        partly: Option<Receipt>,
    },
}

impl Client {
    /// A client of the system at `address`: `host:port` or a URL.
    ///
    /// # Errors
    /// If that is no address, or no HTTP client can be made on this machine.
    pub fn new(address: &str) -> Result<Self> {
        Self::with_trust(address, &Trust::default())
    }

    /// As [`Self::new`], with whom it believes.
    ///
    /// # Errors
    /// As there, and where a file of `trust` cannot be used.
    pub fn with_trust(address: &str, trust: &Trust) -> Result<Self> {
        let http = http_client(trust, HeaderMap::new())?;
        let base = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
        let base = base.trim_end_matches('/').to_owned();
        let shown = if base.contains('@') { "what was given" } else { base.as_str() };
        ensure!(
            is_http_url(&base),
            "{shown} is no address: write `host:port`, `http://host:port` or `https://host:port`"
        );
        Ok(Self { http, base, trust: trust.clone() })
    }

    /// The same client, which shows a key with each request.
    ///
    /// # Errors
    /// If the key is empty, or has letters that no key has.
    pub fn with_key(self, key: &str) -> Result<Self> {
        ensure!(!key.is_empty(), "it is empty");
        let shown = HeaderValue::from_str(&format!("Bearer {key}"));
        let mut shown = shown.map_err(|_| anyhow!("it has letters that no key has"))?;
        shown.set_sensitive(true);
        let http = http_client(&self.trust, HeaderMap::from_iter([(AUTHORIZATION, shown)]))?;
        Ok(Self { http, ..self })
    }

    /// A client of the system at `address`, or else of the one that runs on `data_dir`.
    ///
    /// # Errors
    /// If neither is there, and as in [`Self::with_trust`].
    pub fn find(address: Option<&str>, data_dir: &Path, trust: &Trust) -> Result<Self> {
        if let Some(address) = address {
            return Self::with_trust(address, trust);
        }
        if is_closed_to_us(data_dir) {
            let named = data_dir.display();
            bail!("data directory {named} is closed to this user: name the system with --address, or run as its owner");
        }
        let note = read_run_note(data_dir).ok_or_else(|| {
            let missing = if data_dir.exists() { "" } else { ", which does not exist" };
            anyhow!(
                "no system runs on data directory {}{missing}: name another with --data-dir, start one with `twofold up`, \
                 or name one with --address",
                data_dir.display()
            )
        })?;
        Self::with_trust(&note.url(), trust)
    }

    /// The address, as a URL without a slash at its end.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Asks what a source is like.
    ///
    /// # Errors
    /// As in [`Self::get`]; above all where there is no such source.
    pub async fn source(&self, source: &str) -> Result<SourceDetails> {
        let body = self.read(self.http.get(self.source_url(source, &[])?)).await?;
        serde_json::from_str(&body).with_context(|| format!("{} did not answer with a source", self.base))
    }

    /// Sends newline-delimited JSON to a source; events that cannot be decoded are kept.
    ///
    /// # Errors
    /// A refusal that sending again would not change.
    pub async fn send_events(&self, source: &str, lines: Bytes) -> Result<SendOutcome> {
        self.send_events_with(source, lines, OnError::Keep).await
    }

    /// As [`Self::send_events`], with what becomes of events that cannot be decoded.
    ///
    /// # Errors
    /// As there.
    pub async fn send_events_with(&self, source: &str, lines: Bytes, on_error: OnError) -> Result<SendOutcome> {
        let mut url = self.source_url(source, &["events"])?;
        if on_error == OnError::Refuse {
            url.set_query(Some("on_error=refuse"));
        }
        let request = self.http.post(url).header("content-type", "application/x-ndjson").body(lines);
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return Ok(unanswered(error)),
        };
        let status = response.status();
        let after = response.headers().get(RETRY_AFTER).and_then(|text| text.to_str().ok()?.parse().ok());
        let body = match response.text().await {
            Ok(body) => body,
            Err(error) => return Ok(unanswered(error)),
        };
        let receipt = serde_json::from_str::<Receipt>(&body).ok();
        if status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::SERVICE_UNAVAILABLE {
            return Ok(SendOutcome::Later {
                after: after.map(Duration::from_secs),
                reason: describe(status, &body),
                maybe_stored: status == StatusCode::SERVICE_UNAVAILABLE && receipt.is_some(),
                partly: receipt,
            });
        }
        receipt.map(SendOutcome::Received).ok_or_else(|| anyhow!("{}", describe(status, &body)))
    }

    /// The URL of a source, whatever letters its name has.
    fn source_url(&self, source: &str, rest: &[&str]) -> Result<Url> {
        self.url_of(&[&["v1", "sources", source][..], rest].concat())
    }

    /// The URL of a path, whatever letters its parts have.
    fn url_of(&self, parts: &[&str]) -> Result<Url> {
        let mut url = Url::parse(&self.base).with_context(|| format!("`{}` is not an address", self.base))?;
        let mut path = url.path_segments_mut().map_err(|()| anyhow!("`{}` is not an address", self.base))?;
        path.pop_if_empty().extend(parts);
        drop(path);
        Ok(url)
    }

    /// Asks for a JSON document: `path` starts with a slash; values of `parameters` are encoded here.
    ///
    /// # Errors
    /// Where nothing answers, or the answer is a refusal.
    pub async fn get(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value> {
        self.read_json(self.http.get(format!("{}{path}", self.base)).query(parameters)).await
    }

    /// Asks what an answer of a view is made of; `parameters` as in [`Self::get`].
    ///
    /// # Errors
    /// As in [`Self::get`].
    pub async fn explain(&self, view: &str, parameters: &[(&str, &str)]) -> Result<Value> {
        let url = self.url_of(&["v1", "views", view, "explain"])?;
        self.read_json(self.http.get(url).query(parameters)).await
    }

    /// Asks for records of a source as the log holds them; `parameters` as in [`Self::get`].
    ///
    /// # Errors
    /// As in [`Self::get`].
    pub async fn log(&self, source: &str, parameters: &[(&str, &str)]) -> Result<Value> {
        self.read_json(self.http.get(self.source_url(source, &["log"])?).query(parameters)).await
    }

    /// Asks for rejected records of a source; `parameters` as in [`Self::get`].
    ///
    /// # Errors
    /// As in [`Self::get`].
    pub async fn rejected(&self, source: &str, parameters: &[(&str, &str)]) -> Result<Value> {
        self.read_json(self.http.get(self.source_url(source, &["rejected"])?).query(parameters)).await
    }

    /// Has all records of a source read again, and waits until that is done.
    ///
    /// # Errors
    /// As in [`Self::get`].
    pub async fn read_again(&self, source: &str) -> Result<Value> {
        let url = self.source_url(source, &["rejected", "read-again"])?;
        self.read_json(self.http.post(url).timeout(READ_AGAIN_TIMEOUT)).await
    }

    /// Asks a question in SQL; the answer as JSON text, its columns in order.
    ///
    /// # Errors
    /// As in [`Self::get`].
    pub async fn sql(&self, sql: &str) -> Result<String> {
        let question = serde_json::json!({ "sql": sql });
        self.read(self.http.post(format!("{}/v1/sql", self.base)).json(&question)).await
    }

    async fn read_json(&self, request: reqwest::RequestBuilder) -> Result<Value> {
        let body = self.read(request).await?;
        serde_json::from_str(&body).with_context(|| format!("{} did not answer with JSON", self.base))
    }

    async fn read(&self, request: reqwest::RequestBuilder) -> Result<String> {
        let response = request.send().await.map_err(|error| {
            let told = match explain_refusal(&error, &self.base) {
                Some(why) => format!("{} cannot be asked: {why}", self.base),
                None => format!("nothing answers at {}; is `twofold up` running?", self.base),
            };
            anyhow!(error).context(told)
        })?;
        let status = response.status();
        let body = response.text().await.context("the connection closed before the answer was complete")?;
        if !status.is_success() {
            bail!("{}", describe(status, &body));
        }
        Ok(body)
    }
}

fn http_client(trust: &Trust, headers: HeaderMap) -> Result<reqwest::Client> {
    let http = reqwest::Client::builder().timeout(REQUEST_TIMEOUT).default_headers(headers);
    trust.give_to(http)?.build().context("cannot make an HTTP client")
}

/// No answer, or half of one: only where there was no connection is it certain that nothing was stored.
fn unanswered(error: reqwest::Error) -> SendOutcome {
    let maybe_stored = !error.is_connect();
    SendOutcome::Later { after: None, reason: lake::chain(&error), maybe_stored, partly: None }
}

/// Problem details as one sentence, or the bare status.
fn describe(status: StatusCode, body: &str) -> String {
    let problem: Value = serde_json::from_str(body).unwrap_or_default();
    let parts = ["title", "detail", "hint"].iter().filter_map(|field| problem.get(field)?.as_str());
    let mut told: Vec<String> = parts.map(str::to_owned).collect();
    // A hint names them already.
    if let Some(known) = problem.get("known").and_then(Value::as_array).filter(|_| problem.get("hint").is_none()) {
        let names: Vec<&str> = known.iter().filter_map(Value::as_str).collect();
        told.push(format!("known: {}", names.join(", ")));
    }
    if told.is_empty() {
        format!("the system answered {status}")
    } else {
        format!("{} ({})", told.join(": "), status.as_u16())
    }
}
