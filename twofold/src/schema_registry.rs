//! A client of Confluent's schema registry, or of what speaks its protocol.
//!
//! In: ids. Out: schemas, with all that they refer to.
//! Guarantee: an answer is believed only where it is one; everything else says what was asked and what came back, and
//! nothing says the password. What is read of one answer, and how much one schema refers to, is bounded.
//! Not here: what is asked for and when (`records::registry`).
//!
//! # Source
//! Confluent Platform, "Schema Registry API Reference".

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use futures::future::BoxFuture;
use positions::SchemaId;
use records::decode::wire::{SchemaKind, SchemaReference, StoredSchema};
use records::registry::{RegistryError, SchemaRegistry};
use reqwest::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;
use views::Pipeline;

use crate::config::{Config, SchemaRegistrySettings, Secret};

/// The largest answer that is read.
const MAX_ANSWER_BYTES: usize = 8 * 1024 * 1024;

/// Of the reason that a registry gives, so much is told on.
const MAX_MESSAGE_CHARS: usize = 200;

/// So many schemas one schema may refer to, also in turn.
const MAX_REFERENCES: usize = 1_000;

/// How far references may lead on to others.
const MAX_REFERENCE_DEPTH: usize = 32;

/// What a registry calls the error that it has no schema of an id.
const UNKNOWN_SCHEMA: i64 = 40_403;

/// A schema registry at a URL.
#[derive(Debug)]
pub struct HttpSchemaRegistry {
    http: reqwest::Client,
    url: Url,
    credentials: Option<(String, Secret)>,
}

/// Of `GET /schemas/ids/{id}`, and of `GET /subjects/{subject}/versions/{version}`.
#[derive(Deserialize)]
struct Answer {
    schema: String,
    /// Avro where it is not named.
    #[serde(rename = "schemaType")]
    kind: Option<SchemaKind>,
    references: Option<Vec<Reference>>,
}

#[derive(Deserialize)]
struct Reference {
    name: String,
    subject: String,
    version: i64,
}

/// Of whatever is refused.
#[derive(Deserialize)]
struct Refusal {
    error_code: Option<i64>,
    message: Option<String>,
}

/// References in the order in which a reader needs them.
#[derive(Default)]
struct Collected {
    references: Vec<SchemaReference>,
    names: BTreeSet<String>,
}

impl HttpSchemaRegistry {
    /// A client; nothing is asked yet.
    ///
    /// # Errors
    /// If no HTTP client can be made on this machine.
    pub fn new(settings: &SchemaRegistrySettings) -> Result<Self> {
        let http = reqwest::Client::builder().timeout(settings.timeout).connect_timeout(settings.timeout);
        // An answer may not send this process to other addresses.
        let http = http.redirect(reqwest::redirect::Policy::none()).build();
        let http = http.context("cannot make a client of the schema registry")?;
        Ok(Self { http, url: settings.url.clone(), credentials: settings.credentials.clone() })
    }

    /// Asks for what every registry has: how many subjects there are.
    ///
    /// # Errors
    /// If it does not answer, or not to these credentials.
    pub async fn count_subjects(&self) -> Result<usize> {
        let subjects: Vec<String> = self.get(&["subjects"]).await?;
        Ok(subjects.len())
    }

    /// Collects what a schema refers to, deepest first.
    fn collect<'a>(
        &'a self,
        wanted: Vec<Reference>,
        collected: &'a mut Collected,
        depth: usize,
    ) -> BoxFuture<'a, Result<(), RegistryError>> {
        Box::pin(async move {
            for reference in wanted {
                if depth == MAX_REFERENCE_DEPTH || collected.names.len() == MAX_REFERENCES {
                    let limits = format!("{MAX_REFERENCES} others, or over {MAX_REFERENCE_DEPTH} steps");
                    return Err(self.refused(&format!("has a schema that refers to more than {limits}")));
                }
                if !collected.names.insert(reference.name.clone()) {
                    continue;
                }
                let version = reference.version.to_string();
                let path = ["subjects", reference.subject.as_str(), "versions", version.as_str()];
                let answer: Answer = self.get(&path).await?;
                self.collect(answer.references.unwrap_or_default(), collected, depth + 1).await?;
                collected.references.push(SchemaReference { name: reference.name, text: answer.schema });
            }
            Ok(())
        })
    }

    async fn get<T: DeserializeOwned>(&self, path: &[&str]) -> Result<T, RegistryError> {
        let (status, body) = self.ask(path).await?;
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|error| {
                self.refused(&format!("answers /{} with what cannot be read: {error}", path.join("/")))
            });
        }
        let refusal = serde_json::from_slice(&body).unwrap_or(Refusal { error_code: None, message: None });
        if status == StatusCode::NOT_FOUND && refusal.error_code == Some(UNKNOWN_SCHEMA) {
            return Err(RegistryError::Unknown);
        }
        let settings = "`schema_registry.user` and `schema_registry.password`";
        if status == StatusCode::UNAUTHORIZED {
            return Err(self.unavailable(&format!("refuses this client ({}): see {settings}", status.as_u16())));
        }
        if status == StatusCode::FORBIDDEN {
            return Err(self.refused(&format!("refuses /{} to this client: see {settings}", path.join("/"))));
        }
        let message = refusal.message.unwrap_or_else(|| "no reason; is `schema_registry.url` right?".to_owned());
        let message: String = message.chars().take(MAX_MESSAGE_CHARS).collect();
        let what = format!("answers /{} with {}: {message}", path.join("/"), status.as_u16());
        let is_for_all = matches!(status.as_u16(), 429 | 502 | 503 | 504);
        Err(if is_for_all { self.unavailable(&what) } else { self.refused(&what) })
    }

    async fn ask(&self, path: &[&str]) -> Result<(StatusCode, Vec<u8>), RegistryError> {
        let mut url = self.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        let mut request = self.http.get(url);
        if let Some((user, password)) = &self.credentials {
            request = request.basic_auth(user, Some(&password.0));
        }
        let silent =
            |error: reqwest::Error| self.unavailable(&format!("does not answer: {}", describe_silence(&error)));
        let mut response = request.send().await.map_err(silent)?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(silent)? {
            if body.len() + chunk.len() > MAX_ANSWER_BYTES {
                return Err(self.refused(&format!("answers with more than {MAX_ANSWER_BYTES} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok((response.status(), body))
    }

    /// Of one schema; others may be told.
    fn refused(&self, what: &str) -> RegistryError {
        RegistryError::Refused(format!("the schema registry {} {what}", self.url))
    }

    fn unavailable(&self, what: &str) -> RegistryError {
        RegistryError::Unavailable(format!("the schema registry {} {what}", self.url))
    }
}

#[async_trait]
impl SchemaRegistry for HttpSchemaRegistry {
    async fn schema(&self, id: SchemaId) -> Result<StoredSchema, RegistryError> {
        let id = id.to_string();
        let answer: Answer = self.get(&["schemas", "ids", id.as_str()]).await?;
        let mut collected = Collected::default();
        self.collect(answer.references.unwrap_or_default(), &mut collected, 0).await?;
        let kind = answer.kind.unwrap_or(SchemaKind::Avro);
        Ok(StoredSchema { kind, text: answer.schema, references: collected.references })
    }
}

/// Why there is no answer, and the way out where it is known.
fn describe_silence(error: &reqwest::Error) -> String {
    let said = lake::chain(error);
    match lake::connection_way_out(&said, "schema_registry.url") {
        Some(way_out) => format!("{said}; {way_out}"),
        None => said,
    }
}

/// The registry of the configuration; `None` where it names none.
///
/// # Errors
/// If no HTTP client can be made on this machine.
pub fn configured(config: &Config) -> Result<Option<Arc<dyn SchemaRegistry>>> {
    let Some(settings) = &config.schema_registry else { return Ok(None) };
    Ok(Some(Arc::new(HttpSchemaRegistry::new(settings)?)))
}

/// Refuses sources whose payloads name schemas where no registry is configured that tells them.
///
/// # Errors
/// The first such source, and the setting.
pub fn check_formats(config: &Config, pipeline: &Pipeline) -> Result<()> {
    let needy = pipeline.sources.iter().find(|source| source.format.has_schemas());
    match needy.filter(|_| config.schema_registry.is_none()) {
        None => Ok(()),
        Some(source) => bail!(
            "source {} is STORED AS {}, and no schema registry is configured: set `schema_registry.url`",
            source.name,
            source.format.as_str()
        ),
    }
}
