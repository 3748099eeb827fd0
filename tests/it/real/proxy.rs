//! A store between Twofold and S3 that is in some mood: HTTP passes through, or is delayed, refused, left unanswered.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How requests are treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// They pass.
    Fair,
    /// Each waits this long first.
    Slow(Duration),
    /// They are refused with 503.
    Busy,
    /// They get no answer until the mood changes.
    Silent,
    /// A put that the store refused because the object exists is answered as if it had been done.
    Careless,
}

/// A running proxy. Ends with the test.
pub struct Proxy {
    /// `http://127.0.0.1:PORT`.
    pub address: String,
    shared: Arc<Shared>,
    _server: JoinSet<()>,
}

struct Shared {
    upstream: String,
    mood: watch::Sender<Mood>,
    // Requests that met the present mood.
    met: AtomicUsize,
    client: reqwest::Client,
}

impl Proxy {
    /// Starts before `upstream`, in a fair mood.
    pub async fn start(upstream: &str) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let mood = watch::Sender::new(Mood::Fair);
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let shared = Arc::new(Shared { upstream: upstream.to_owned(), mood, met: AtomicUsize::new(0), client });
        let router = Router::new().fallback(pass).with_state(Arc::clone(&shared));
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, shared, _server: server }
    }

    /// From now on.
    pub fn set(&self, mood: Mood) {
        self.shared.met.store(0, Ordering::SeqCst);
        self.shared.mood.send_replace(mood);
    }

    /// How many requests came since the mood was set.
    pub fn met(&self) -> usize {
        self.shared.met.load(Ordering::SeqCst)
    }
}

async fn pass(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    shared.met.fetch_add(1, Ordering::SeqCst);
    let mut moods = shared.mood.subscribe();
    let mood = *moods.borrow();
    match mood {
        Mood::Slow(delay) => tokio::time::sleep(delay).await,
        Mood::Busy => return (StatusCode::SERVICE_UNAVAILABLE, "<Error><Code>SlowDown</Code></Error>").into_response(),
        Mood::Silent => drop(moods.wait_for(|mood| *mood != Mood::Silent).await),
        Mood::Fair | Mood::Careless => {}
    }
    let answer = forward(&shared, request).await;
    let is_refusal = [StatusCode::PRECONDITION_FAILED, StatusCode::CONFLICT].contains(&answer.status());
    if mood == Mood::Careless && is_refusal {
        return (StatusCode::OK, [(header::ETAG, "\"careless\"")]).into_response();
    }
    answer
}

/// Headers and path as they are: the request is signed, the name of the host with it.
async fn forward(shared: &Shared, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let url = format!("{}{}", shared.upstream, parts.uri.path_and_query().unwrap());
    let sent = shared.client.request(parts.method, url).headers(parts.headers).body(body).send().await;
    let Ok(answer) = sent else { return StatusCode::BAD_GATEWAY.into_response() };
    let (status, headers) = (answer.status(), answer.headers().clone());
    let Ok(body) = answer.bytes().await else { return StatusCode::BAD_GATEWAY.into_response() };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    *response.headers_mut() = without_framing(headers);
    response
}

/// The server here frames the body anew.
fn without_framing(mut headers: HeaderMap) -> HeaderMap {
    headers.remove(header::TRANSFER_ENCODING);
    headers.remove(header::CONNECTION);
    headers
}
