//! What the demo reads of the gateway's answers.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::client::Client;

/// One page as answered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PageAnswer {
    /// Visits.
    pub visits: i64,
    /// Bytes; `None` where no visit had any.
    pub bytes: Option<i64>,
    /// Visits with a status of 400 or more.
    pub errors: i64,
    /// Distinct users, estimated.
    pub visitors: f64,
    /// Visits that the batch view holds.
    pub batch_visits: i64,
    /// Visits that the realtime views hold.
    pub realtime_visits: i64,
}

/// One answer: all pages, and what it is based on.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// By page.
    pub pages: BTreeMap<String, PageAnswer>,
    /// The batch version; `None` before the first.
    pub version: Option<i64>,
    /// Offsets up to which the answer reaches, by partition.
    pub head: BTreeMap<String, i64>,
}

/// Asks for all pages with their batch and realtime parts, as of `token`: one request, so all parts are of one version.
///
/// # Errors
/// Where the system refuses, or answers in an unknown form.
pub async fn ask_pages(client: &Client, token: &str, limit: u32) -> Result<Answer> {
    let limit = limit.to_string();
    let parameters = [
        ("by", "page"),
        ("order", "-visits"),
        ("limit", limit.as_str()),
        ("parts", "true"),
        ("after", token),
        ("timeout", "30s"),
    ];
    let body = client.get("/v1/views/visits_by_page/rows", &parameters).await?;
    read_answer(&body).with_context(|| format!("the gateway answered in an unknown form: {body}"))
}

fn read_answer(body: &Value) -> Result<Answer> {
    let rows = body.get("rows").and_then(Value::as_array).context("no rows")?;
    let envelope = body.get("envelope").context("no envelope")?;
    let mut pages = BTreeMap::new();
    for row in rows {
        let page = row.get("page").and_then(Value::as_str).context("a row without page")?;
        ensure!(pages.insert(page.to_owned(), read_page(row)?).is_none(), "two rows for page {page}");
    }
    Ok(Answer { pages, version: envelope.get("version").and_then(Value::as_i64), head: offsets(envelope, "head") })
}

fn read_page(row: &Value) -> Result<PageAnswer> {
    let part = |name: &str| row.get(name).and_then(|part| part.get("visits")?.as_i64()).unwrap_or(0);
    Ok(PageAnswer {
        visits: row.get("visits").and_then(Value::as_i64).context("no visits")?,
        bytes: row.get("bytes").and_then(Value::as_i64),
        errors: row.get("errors").and_then(Value::as_i64).context("no errors")?,
        visitors: row.get("visitors").and_then(Value::as_f64).context("no visitors")?,
        batch_visits: part("_batch"),
        realtime_visits: part("_realtime"),
    })
}

fn offsets(envelope: &Value, field: &str) -> BTreeMap<String, i64> {
    let entries = envelope.get(field).and_then(Value::as_object);
    entries.into_iter().flatten().filter_map(|(partition, at)| Some((partition.clone(), at.as_i64()?))).collect()
}
