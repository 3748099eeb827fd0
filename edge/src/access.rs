//! One principal per request: who may ask at all, decided before any route is.
//!
//! ```text
//!  request --> guard: host, page, credential --> Principal in its extensions --> routes: what a principal may
//!                 |
//!                 +--> problem document
//! ```
//!
//! Guarantee: no handler runs without a principal; every answer goes out through here. What is open to all is `OPEN`
//! and nothing else, and it is asked as nobody, unless a good credential comes along.
//! Not here: what a principal may do on a route (the route), whom a credential stands for (`rules.rs`).
//! Why pages are refused here: where a credential needs no program to be shown (none at all, or a certificate), a
//! browser on the machine shows it for whatever page it shows.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::Method;
use axum::http::header::{EXPECT, ORIGIN};
use axum::http::request::Parts;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use tokio::time::timeout;

use crate::audit::{Asked, Audit};
use crate::here::{asks_this_machine, is_from_here, is_of_other_page};
use crate::keyring::{Keyring, Shown};
use crate::origins::PageRules;
use crate::principal::{Grants, Principal};
use crate::quota::{Accounts, Spending};
use crate::request::path_name;
use crate::security::add_headers;
use crate::{Problem, ProblemKind};

/// What is answered to all, also where a credential is asked for: probes, and the page for people, which holds nothing
/// but its own text.
const OPEN: [&str; 3] = ["/healthz", "/readyz", "/"];
/// What is answered whatever the host: a balancer asks by an address.
const PROBES: [&str; 2] = ["/healthz", "/readyz"];

/// What is booked as a question in SQL.
const SQL: &str = "/v1/sql";
/// Where a page shows its key: a beacon has no headers of its own.
const KEY_PARAMETER: &str = "key=";
/// So much of the body of a refused request is read and forgotten, and for so long.
const DISCARD_BYTES: usize = 64 << 10;
const DISCARD_TIME: Duration = Duration::from_secs(5);

/// How a port knows who asks.
#[derive(Clone, Debug)]
pub enum Access {
    /// Whoever reaches the port may do everything: an operator has said so in writing.
    Open,
    /// The port is reached from this machine alone, which is believed. What a proxy passes on may read and write, and
    /// not operate.
    Local,
    /// By what each request shows.
    Keys(Arc<Keyring>),
}

/// What stands before all routes of a port.
#[derive(Debug)]
struct Guard {
    access: Access,
    audit: Audit,
    pages: Vec<PageRules>,
    accounts: Arc<Accounts>,
    anyone: Principal,
    passed_on: Principal,
    nobody: Principal,
}

/// Lays the guard around all routes of a port. `pages`: which routes answer pages of other origins, and of which.
pub fn guard(router: Router, access: Access, audit: Audit, pages: Vec<PageRules>) -> Router {
    let passed_on = Principal::new("passed on", Grants { operate: false, ..Grants::all() });
    let (anyone, nobody) = (Principal::anyone(), Principal::nobody());
    let guard = Guard { access, audit, pages, accounts: Arc::default(), anyone, passed_on, nobody };
    router.layer(from_fn_with_state(Arc::new(guard), admit)).layer(from_fn(add_headers))
}

/// The one place that sees who asks, for what, and what comes of it.
async fn admit(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let asked = Asked::new(&parts, peer_address(&parts).map(|peer| peer.ip()), PROBES.contains(&path_of(&parts)));
    let (principal, response) = match guard.principal(&mut parts).await {
        Ok(principal) => {
            let principal = principal.booked_in(&guard.accounts);
            let mut response = match spend(&principal, &parts) {
                Ok(()) => {
                    parts.extensions.insert(principal.clone());
                    next.run(Request::from_parts(parts, body)).await
                }
                Err(problem) => guard.refuse(&parts, body, problem).await,
            };
            principal.tell_quotas(response.headers_mut());
            (Some(principal), response)
        }
        Err(problem) => (None, guard.refuse(&parts, body, problem).await),
    };
    asked.note(guard.audit, principal.as_ref().map(Principal::name), response.status());
    response
}

/// Books a request; what it brings with it is booked where that is known.
fn spend(principal: &Principal, parts: &Parts) -> Result<(), Problem> {
    principal.spend(Spending::Requests, 1)?;
    if path_of(parts) == SQL { principal.spend(Spending::Sql, 1) } else { Ok(()) }
}

impl Guard {
    async fn principal(&self, parts: &mut Parts) -> Result<Principal, Problem> {
        match &self.access {
            Access::Open => Ok(self.anyone.clone()),
            Access::Local => self.local(parts),
            Access::Keys(keyring) => self.known(keyring, parts).await,
        }
    }

    async fn known(&self, keyring: &Keyring, parts: &mut Parts) -> Result<Principal, Problem> {
        if self.pages.iter().any(|rules| asks_leave(rules, parts)) {
            return Ok(self.nobody.clone());
        }
        let is_of_page = parts.method == Method::POST && self.pages.iter().any(|rules| lets(rules, parts));
        if is_of_page && let Some(key) = take_key(parts) {
            return keyring.writer(&key);
        }
        match keyring.principal(parts).await {
            Ok((principal, Shown::Bearer)) => Ok(principal),
            Ok((principal, Shown::Certificate)) => self.refuse_pages(parts).map(|()| principal),
            Err(_) if OPEN.contains(&path_of(parts)) => Ok(self.nobody.clone()),
            Err(problem) => Err(problem),
        }
    }

    fn local(&self, parts: &Parts) -> Result<Principal, Problem> {
        if !PROBES.contains(&path_of(parts)) {
            check_host(parts)?;
            self.refuse_pages(parts)?;
        }
        let is_here = is_from_here(peer_address(parts), &parts.headers);
        Ok(if is_here { self.anyone.clone() } else { self.passed_on.clone() })
    }

    /// Refuses what a page of another origin asks, unless an operator lets it.
    fn refuse_pages(&self, parts: &Parts) -> Result<(), Problem> {
        let is_allowed = self.pages.iter().any(|rules| asks_leave(rules, parts) || lets(rules, parts));
        if is_allowed || !is_of_other_page(parts) {
            return Ok(());
        }
        let origin = parts.headers.get(ORIGIN).map_or("not named", |origin| origin.to_str().unwrap_or("not readable"));
        let detail = format!("a browser says that a page of another origin ({origin}) makes this request");
        let hint = "the settings `collector.allowed_origins` and `gateway.allowed_origins` list origins whose pages may \
                    ask; a program that is no browser leaves out the headers Origin and Sec-Fetch-Site";
        Err(Problem::new(ProblemKind::OriginNotAllowed, detail).with_hint(hint))
    }

    /// A refusal, which a page that may ask may also read.
    async fn refuse(&self, parts: &Parts, body: Body, problem: Problem) -> Response {
        // A client that expects leave to send its body has not sent it, and reading would give it leave.
        if !parts.headers.contains_key(EXPECT) {
            // What is unread at the end resets the connection, and the client may then never see why.
            let _ = timeout(DISCARD_TIME, to_bytes(body, DISCARD_BYTES)).await;
        }
        let mut response = problem.into_response();
        let rules = self.pages.iter().find(|rules| lets(rules, parts));
        if let (Some(rules), Some(origin)) = (rules, parts.headers.get(ORIGIN)) {
            rules.mark(response.headers_mut(), name_of(parts).as_deref(), origin.clone());
        }
        response
    }
}

/// Whether a browser asks whether its page may: the role answers, whoever it is.
fn asks_leave(rules: &PageRules, parts: &Parts) -> bool {
    rules.is_asked(path_of(parts), &parts.method, &parts.headers)
}

/// Whether the page that makes a request may.
fn lets(rules: &PageRules, parts: &Parts) -> bool {
    let name = name_of(parts);
    parts.headers.get(ORIGIN).is_some_and(|origin| rules.answers(path_of(parts), name.as_deref(), origin))
}

/// Takes a key out of the parameters, so that nothing behind the guard sees or writes it.
fn take_key(parts: &mut Parts) -> Option<String> {
    let (path, query) = (parts.uri.path(), parts.uri.query()?);
    let (keys, others): (Vec<&str>, Vec<&str>) = query.split('&').partition(|pair| pair.starts_with(KEY_PARAMETER));
    let key = keys.first()?.strip_prefix(KEY_PARAMETER)?.to_owned();
    let rest = if others.is_empty() { path.to_owned() } else { format!("{path}?{}", others.join("&")) };
    parts.uri = rest.parse().ok()?;
    Some(key)
}

/// Where a request comes from, as far as the connection tells.
fn peer_address(parts: &Parts) -> Option<SocketAddr> {
    parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| *peer)
}

/// The route, as it is matched; the path where there is none.
fn path_of(parts: &Parts) -> &str {
    parts.extensions.get::<MatchedPath>().map_or_else(|| parts.uri.path(), MatchedPath::as_str)
}

/// What the path names, where its route has a place for a name.
fn name_of(parts: &Parts) -> Option<String> {
    path_name(parts.extensions.get::<MatchedPath>(), parts.uri.path())
}

fn check_host(parts: &Parts) -> Result<(), Problem> {
    if asks_this_machine(parts) {
        return Ok(());
    }
    let detail = "the host that this request names is no loopback address and not `localhost`, and this process listens \
                  for this machine alone";
    let hint = "ask by `localhost` or `127.0.0.1`; a proxy on this machine sends that as Host, or the process uses keys \
                (`access.mode = \"keys\"`)";
    Err(Problem::new(ProblemKind::Misdirected, detail).with_hint(hint))
}
