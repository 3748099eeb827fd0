//! Who may reach a port, and how they are known: hosts, pages, keys, tokens, certificates, the file that says so.

mod certificates;
mod file;
mod hosts;
mod keys;
mod process;
mod quotas;
mod signer;
mod tokens;
mod writing;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::ConnectInfo;
use axum::http::HeaderValue;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Extension, Router};
use edge::{
    Access, AccessRules, AllowedOrigins, Audit, ClientCertificate, Keyring, Origins, PageRules, Principal, Problem,
    ProblemKind, Sha256Sum, WantedKeys, guard, key_text,
};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use twofold::access::file::AccessFile;

use crate::support::seams::ManualClock;

/// 2026-01-31T12:00:00Z.
const NOW_SECONDS: i64 = 1_769_860_800;
const SHOP: &str = "https://shop.example";
/// May send to `clicks`, and nowhere else.
const CLICKS: &str = "https://clicks.example";

/// A key of these bytes, and its hash as a file has it.
fn key_of(byte: u8) -> (String, String) {
    let key = key_text(&[byte; 32]);
    let sum = Sha256Sum::of_key(&key).unwrap().to_string();
    (key, sum)
}

/// A keyring with the rules of a file, in which no key set is there.
fn keyring(text: &str) -> (Arc<Keyring>, mpsc::Receiver<WantedKeys>) {
    let rules = AccessFile::read(text).unwrap().rules(&std::collections::BTreeMap::new());
    keyring_of(rules)
}

fn keyring_of(rules: AccessRules) -> (Arc<Keyring>, mpsc::Receiver<WantedKeys>) {
    let (keyring, wanted) = Keyring::new(rules, Arc::new(ManualClock::at(NOW_SECONDS * 1_000_000)));
    (Arc::new(keyring), wanted)
}

/// What a guarded port answered.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: reqwest::header::HeaderMap,
    text: String,
}

impl Answer {
    async fn of(request: reqwest::RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Self { status, headers, text: response.text().await.unwrap() }
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Fails unless it is a problem of the kind, whose words have `part`.
    #[track_caller]
    fn check_problem(&self, kind: ProblemKind, part: &str) {
        let told: Value = serde_json::from_str(&self.text).unwrap_or_default();
        assert_eq!(told["type"], format!("urn:twofold:problem:{}", kind.name()), "{self:?}");
        assert_eq!(self.status, kind.status().as_u16(), "{self:?}");
        assert!(self.text.contains(part), "{part}: {self:?}");
    }
}

/// A guarded port: `/who` tells who asks, `/events` and `/of/{name}/events` take events also of pages of `SHOP`.
struct Port {
    address: String,
    client: reqwest::Client,
    stop: CancellationToken,
    _served: AbortOnDropHandle<()>,
}

impl Drop for Port {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Port {
    async fn open(access: Access) -> Self {
        Self::open_for(access, None).await
    }

    /// For connections that have shown a certificate.
    async fn open_for(access: Access, certificate: Option<ClientCertificate>) -> Self {
        let who = async |principal: Principal| principal.name().to_owned();
        let operate = async |principal: Principal| principal.check_operates("this is").map(|()| "done");
        let routes = Router::new().route("/who", get(who)).route("/operate", get(operate));
        // Tells the parameters that reach it, too.
        let events = async |principal: Principal, uri: axum::http::Uri| {
            format!("{}{}", principal.name(), uri.query().map(|query| format!("?{query}")).unwrap_or_default())
        };
        let routes = routes.route("/events", post(events)).route("/of/{name}/events", post(events));
        let routes = routes.route("/healthz", get(who)).route("/", get(who));
        let pages = PageRules {
            allowed: AllowedOrigins::everywhere(Origins::These([SHOP.to_owned()].into()))
                .and_of("clicks", Origins::These([CLICKS.to_owned()].into())),
            routes: &["POST /events", "POST /of/{name}/events"],
            request_headers: "authorization, content-type",
            answer_headers: "retry-after",
            refuse: |_: &HeaderValue| Problem::new(ProblemKind::OriginNotAllowed, "the route refuses this page"),
        };
        let routes = edge::answer_pages(routes, pages.clone());
        let unknown = async || Problem::unknown("route", "this", ["GET /who"]).into_response();
        let mut router = guard(routes.fallback(unknown), access, Audit::Off, vec![pages]);
        if let Some(certificate) = certificate {
            router = router.layer(Extension(certificate));
        }
        let router = router.layer(Extension(ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 1)))));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let serving = axum::serve(listener, router).with_graceful_shutdown(stop.clone().cancelled_owned());
        let served = tokio::spawn(async move { serving.await.unwrap() });
        Self { address, client: reqwest::Client::new(), stop, _served: AbortOnDropHandle::new(served) }
    }

    fn get(&self, path: &str) -> reqwest::RequestBuilder {
        self.client.get(format!("{}{path}", self.address))
    }

    fn post(&self, path: &str) -> reqwest::RequestBuilder {
        self.client.post(format!("{}{path}", self.address)).body("{}")
    }

    async fn who(&self, shown: &str) -> Answer {
        Answer::of(self.get("/who").bearer_auth(shown)).await
    }
}
