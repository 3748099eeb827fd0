//! `[notify]`: who is told of runs, and how hard is tried.
//!
//! Guarantee: no address with a secret in it is shown, in errors or in `Debug`.
//! Not here: what is told (`twofold/src/notify`).

use std::time::Duration;

use positions::Backoff;
use serde::{Deserialize, Serialize};
use url::{Host, Url};

use super::reader::{LARGEST_COUNT, SHORTEST_SPAN, Section};
use super::secret::{Secret, without_password};

/// Who is told of runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotifySettings {
    /// Where notices are posted to.
    pub webhook: Option<WebhookSettings>,
    /// The program that is started for each notice, and its arguments; may be empty.
    pub command: Vec<String>,
    /// What is told.
    pub on: Vec<NoticeKind>,
    /// Where OpenLineage events are posted to.
    pub openlineage: Option<OpenLineageSettings>,
    /// Attempts after the first one.
    pub retries: u32,
    /// Waits between them.
    pub backoff: Backoff,
    /// Longest time of one attempt.
    pub timeout: Duration,
    /// Most notices that wait, for each receiver.
    pub queue: usize,
}

/// Where notices are posted to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookSettings {
    /// The address, which often holds a token.
    pub url: Secret,
    /// What they are signed with.
    pub secret: Option<Secret>,
}

/// Where OpenLineage events are posted to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenLineageSettings {
    /// The address.
    pub url: Url,
    /// Of jobs and data sets.
    pub namespace: String,
    /// The bearer token.
    pub key: Option<Secret>,
}

/// What notices tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoticeKind {
    /// A run failed.
    Failure,
    /// What had failed is done.
    Recovery,
    /// The run of a schedule was not done in time.
    MissedDeadline,
}

impl NoticeKind {
    /// As the setting writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Failure => "failure",
            Self::Recovery => "recovery",
            Self::MissedDeadline => "missed_deadline",
        }
    }
}

pub(super) fn read_notify(section: Section<'_>) -> NotifySettings {
    NotifySettings {
        webhook: read_webhook(section),
        command: section.texts("command"),
        on: read_kinds(section),
        openlineage: read_openlineage(section),
        retries: u32::try_from(section.count("retries", 0..=1_000)).unwrap_or(0),
        backoff: Backoff {
            first: section.duration("retry_min", SHORTEST_SPAN),
            longest: section.duration("retry_max", SHORTEST_SPAN),
        },
        timeout: section.duration("timeout", SHORTEST_SPAN),
        queue: section.length("queue", 1..=LARGEST_COUNT),
    }
}

fn read_webhook(section: Section<'_>) -> Option<WebhookSettings> {
    let (text, secret) = (section.optional_text("webhook"), section.optional_text("webhook_secret").map(Secret));
    let Some(text) = text else {
        if secret.is_some() {
            section.refuse("webhook_secret", format!("must be set together with `{}`", section.key("webhook")));
        }
        return None;
    };
    if !Url::parse(&text).is_ok_and(|url| url.scheme() == "https" || url.scheme() == "http" && is_here(&url)) {
        let expected = "must be `https://...`, or `http://...` with an address of this machine";
        section.refuse("webhook", format!("{expected}, got `{}`", without_password(&text)));
    }
    Some(WebhookSettings { url: Secret(text), secret })
}

/// Whether an address is of this machine: there nobody else can read along.
fn is_here(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

fn read_openlineage(section: Section<'_>) -> Option<OpenLineageSettings> {
    let (namespace, key) = (section.text("openlineage_namespace"), section.optional_text("openlineage_key"));
    if namespace.is_empty() {
        section.refuse("openlineage_namespace", "must not be empty".to_owned());
    }
    let Some(text) = section.optional_text("openlineage") else {
        if key.is_some() {
            section.refuse("openlineage_key", format!("must be set together with `{}`", section.key("openlineage")));
        }
        return None;
    };
    let is_usable = |url: &Url| ["http", "https"].contains(&url.scheme()) && url.has_host();
    let is_alone = |url: &Url| url.username().is_empty() && url.password().is_none();
    let url = Url::parse(&text).ok().filter(|url| is_usable(url) && is_alone(url));
    if url.is_none() {
        let expected = "must be `http://host:port/path` or `https://...`, without a user in it";
        section.refuse("openlineage", format!("{expected}; got `{}`", without_password(&text)));
    }
    if key.is_some() && url.as_ref().is_some_and(|url| url.scheme() == "http" && !is_here(url)) {
        let why = "which others could read on its way to another machine";
        section
            .refuse("openlineage", format!("must be `https://...` with `{}`, {why}", section.key("openlineage_key")));
    }
    Some(OpenLineageSettings { url: url?, namespace, key: key.map(Secret) })
}

fn read_kinds(section: Section<'_>) -> Vec<NoticeKind> {
    let all = [NoticeKind::Failure, NoticeKind::Recovery, NoticeKind::MissedDeadline];
    let texts = section.texts("on");
    let unknown = texts.iter().find(|text| !all.iter().any(|kind| kind.name() == text.as_str()));
    if let Some(unknown) = unknown {
        let names = all.map(|kind| format!("`{}`", kind.name()));
        section.refuse("on", format!("may hold {}, got `{unknown}`", names.join(", ")));
    }
    all.into_iter().filter(|kind| texts.iter().any(|text| text == kind.name())).collect()
}
