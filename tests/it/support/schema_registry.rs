//! A schema registry of a test's own: it speaks the protocol of Confluent's, fails when it is told to, and counts what
//! it is asked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A registry that runs until it is dropped.
pub struct SchemaRegistry {
    url: String,
    shared: Arc<Mutex<Shared>>,
    server: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    /// By id, from 1.
    schemas: Vec<Value>,
    /// The ids of each subject's versions, from 1.
    subjects: BTreeMap<String, Vec<usize>>,
    is_down: bool,
    /// As the header that carries them.
    credentials: Option<String>,
    asked_schemas: usize,
}

type Registered = State<Arc<Mutex<Shared>>>;

impl SchemaRegistry {
    pub async fn start() -> Self {
        let shared: Arc<Mutex<Shared>> = Arc::default();
        let router = Router::new()
            .route("/subjects", get(subjects))
            .route("/subjects/{subject}/versions", post(register))
            .route("/subjects/{subject}/versions/{version}", get(version))
            .route("/schemas/ids/{id}", get(schema))
            .with_state(Arc::clone(&shared));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, shared, server }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// Registers a schema as a serializer does; its id. `body`: `schema`, and where it is not Avro `schemaType`.
    pub async fn register(&self, subject: &str, body: &Value) -> u32 {
        let url = format!("{}/subjects/{subject}/versions", self.url);
        let answer = reqwest::Client::new().post(url).json(body).send().await.unwrap();
        let answer: Value = serde_json::from_str(&answer.error_for_status().unwrap().text().await.unwrap()).unwrap();
        u32::try_from(answer["id"].as_u64().unwrap()).unwrap()
    }

    /// From now on it answers 503, or what it should again.
    pub fn set_down(&self, is_down: bool) {
        lock(&self.shared).is_down = is_down;
    }

    /// From now on it answers to these alone.
    pub fn set_credentials(&self, user: &str, password: &str) {
        let told = STANDARD.encode(format!("{user}:{password}"));
        lock(&self.shared).credentials = Some(format!("Basic {told}"));
    }

    /// How often a schema was asked for by its id and told.
    pub fn asked_schemas(&self) -> usize {
        lock(&self.shared).asked_schemas
    }
}

impl Drop for SchemaRegistry {
    fn drop(&mut self) {
        // Connections outlive the server.
        self.set_down(true);
        self.server.abort();
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap()
}

fn refuse(status: StatusCode, error_code: u32, message: &str) -> Response {
    (status, Json(json!({"error_code": error_code, "message": message}))).into_response()
}

/// What is answered instead, where it is down or asked by a stranger.
fn refusal(shared: &Shared, headers: &HeaderMap) -> Option<Response> {
    let told = headers.get("authorization").and_then(|told| told.to_str().ok());
    if shared.is_down {
        return Some(refuse(StatusCode::SERVICE_UNAVAILABLE, 50_301, "down"));
    }
    let is_known = shared.credentials.is_none() || shared.credentials.as_deref() == told;
    (!is_known).then(|| refuse(StatusCode::UNAUTHORIZED, 401, "Unauthorized"))
}

async fn subjects(State(shared): Registered, headers: HeaderMap) -> Response {
    let shared = lock(&shared);
    let names: Vec<&String> = shared.subjects.keys().collect();
    refusal(&shared, &headers).unwrap_or_else(|| Json(json!(names)).into_response())
}

async fn register(State(shared): Registered, Path(subject): Path<String>, Json(schema): Json<Value>) -> Response {
    let mut shared = lock(&shared);
    shared.schemas.push(schema);
    let id = shared.schemas.len();
    shared.subjects.entry(subject).or_default().push(id);
    Json(json!({ "id": id })).into_response()
}

async fn version(
    State(shared): Registered,
    Path((subject, version)): Path<(String, usize)>,
    headers: HeaderMap,
) -> Response {
    let shared = lock(&shared);
    if let Some(refusal) = refusal(&shared, &headers) {
        return refusal;
    }
    let id = shared.subjects.get(&subject).and_then(|ids| ids.get(version.checked_sub(1)?));
    let Some(id) = id else { return refuse(StatusCode::NOT_FOUND, 40_402, "Version not found") };
    let mut answer = shared.schemas[id - 1].clone();
    answer["subject"] = json!(subject);
    answer["version"] = json!(version);
    answer["id"] = json!(id);
    Json(answer).into_response()
}

async fn schema(State(shared): Registered, Path(id): Path<usize>, headers: HeaderMap) -> Response {
    let mut shared = lock(&shared);
    if let Some(refusal) = refusal(&shared, &headers) {
        return refusal;
    }
    let found = id.checked_sub(1).and_then(|at| shared.schemas.get(at)).cloned();
    shared.asked_schemas += usize::from(found.is_some());
    found.map_or_else(
        || refuse(StatusCode::NOT_FOUND, 40_403, "Schema not found"),
        |schema| Json(schema).into_response(),
    )
}
