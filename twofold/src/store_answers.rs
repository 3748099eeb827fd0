//! What the answers of an S3 server say beside what was asked: its time, and the region in which a bucket is.
//!
//! In: each answer. Out: the difference of the clocks; an error in the place of a redirect without an address.
//! Why so: the client of the store forgets headers and body of such a redirect, and with them the region.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService, ReqwestConnector,
};
use positions::Clock;

use crate::environment::SystemClock;

/// The code of a redirect to another region, where its answer names none.
const REDIRECT: &str = "<Code>PermanentRedirect</Code>";

/// How far the clock of this machine is from that of a store.
#[derive(Debug, Default)]
pub struct StoreClock {
    // Written by each answer, read when a check is done.
    ahead: Mutex<Option<TimeDelta>>,
}

impl StoreClock {
    /// By how much this machine is ahead; `None` where no answer named its time.
    pub fn ahead(&self) -> Option<TimeDelta> {
        *self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, date: &str) {
        let here = DateTime::from_timestamp_micros(SystemClock.now().0);
        if let (Some(here), Ok(there)) = (here, DateTime::parse_from_rfc2822(date)) {
            *self.ahead.lock().unwrap_or_else(PoisonError::into_inner) = Some(here - there.to_utc());
        }
    }
}

/// Makes clients that listen to these answers.
#[derive(Debug)]
pub struct StoreConnector {
    clock: Arc<StoreClock>,
}

impl StoreConnector {
    /// A connector whose clients tell `clock` what the store's clock says.
    pub fn new(clock: &Arc<StoreClock>) -> Self {
        Self { clock: Arc::clone(clock) }
    }
}

impl HttpConnector for StoreConnector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(Listener { client, clock: Arc::clone(&self.clock) }))
    }
}

#[derive(Debug)]
struct Listener {
    client: HttpClient,
    clock: Arc<StoreClock>,
}

#[async_trait]
impl HttpService for Listener {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let response = self.client.execute(request).await?;
        if let Some(date) = header(&response, "date") {
            self.clock.note(date);
        }
        // 304 is one of their number.
        let status = response.status();
        if !status.is_redirection() || status.as_u16() == 304 || header(&response, "location").is_some() {
            return Ok(response);
        }
        Err(HttpError::new(HttpErrorKind::Unknown, read_redirect(response).await?))
    }
}

/// The answer of a server that has the bucket in another region, in the words of its document.
#[derive(Debug, thiserror::Error)]
#[error("redirect without an address: {answer}")]
struct Redirect {
    answer: String,
}

async fn read_redirect(response: HttpResponse) -> Result<Redirect, HttpError> {
    let region = header(&response, "x-amz-bucket-region").map(|region| format!("<Region>{region}</Region>"));
    let body = response.into_body().bytes().await?;
    let mut answer = String::from_utf8_lossy(&body).into_owned();
    if !answer.contains("<Code>") {
        answer.push_str(REDIRECT);
    }
    answer.push_str(&region.unwrap_or_default());
    Ok(Redirect { answer })
}

fn header<'a>(response: &'a HttpResponse, name: &str) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}
