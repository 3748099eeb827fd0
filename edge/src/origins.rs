//! Pages of other origins (CORS): what a browser is told before and after, on the routes that answer pages.
//!
//! Guarantee: nothing is said to a page of an origin that is not allowed, and what a page may do it may do on the named
//! routes alone, and where its origin is allowed for one name, on those of that name. Every answer of those routes says
//! so, refusals included: else a page could not read why.
//! Not here: which routes answer pages, and what else a page is refused (the role that owns the route).
//! # Source
//! Fetch Standard, "CORS protocol".

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};

use crate::Problem;
use crate::request::path_name;
use crate::security::RESOURCE_POLICY;

/// Two hours, the most that browsers keep an answer to their question.
const MAX_AGE_SECONDS: &str = "7200";

/// Origins of pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// Every one.
    Any,
    /// These, each as a browser writes it: `https://shop.example`, `http://localhost:3000`.
    These(BTreeSet<String>),
}

impl Default for Origins {
    fn default() -> Self {
        Self::These(BTreeSet::new())
    }
}

impl Origins {
    /// Whether this is one of them.
    fn has(&self, origin: &HeaderValue) -> bool {
        match self {
            Self::Any => true,
            Self::These(origins) => origin.to_str().is_ok_and(|origin| origins.contains(origin)),
        }
    }
}

/// Whose pages may ask; by default those of no origin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedOrigins {
    everywhere: Origins,
    /// By the name in the path, a source, those whose pages may also ask about that alone.
    of_names: BTreeMap<String, Origins>,
}

impl AllowedOrigins {
    /// Pages of these, whatever they ask about.
    pub fn everywhere(origins: Origins) -> Self {
        Self { everywhere: origins, of_names: BTreeMap::new() }
    }

    /// The same, and about what has this name also pages of these.
    pub fn and_of(mut self, name: &str, origins: Origins) -> Self {
        self.of_names.insert(name.to_owned(), origins);
        self
    }

    /// The names that origins are allowed for.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.of_names.keys().map(String::as_str)
    }

    /// Whether pages of this origin may ask about what has this name; `None` where the path names nothing.
    pub fn has(&self, name: Option<&str>, origin: &HeaderValue) -> bool {
        self.lists(name).any(|origins| origins.has(origin))
    }

    fn is_any(&self, name: Option<&str>) -> bool {
        self.lists(name).any(|origins| *origins == Origins::Any)
    }

    fn lists(&self, name: Option<&str>) -> impl Iterator<Item = &Origins> {
        std::iter::once(&self.everywhere).chain(name.and_then(|name| self.of_names.get(name)))
    }
}

/// What pages of other origins may do with the routes of a role.
#[derive(Clone, Debug)]
pub struct PageRules {
    /// Whose pages.
    pub allowed: AllowedOrigins,
    /// The routes that answer pages, each as `GET /path`; on all others a browser is told nothing.
    pub routes: &'static [&'static str],
    /// What a page may send beside what every page may: names of headers, behind commas.
    pub request_headers: &'static str,
    /// What a page may read of an answer, beside what every page may: names of headers, behind commas.
    pub answer_headers: &'static str,
    /// The refusal of a page of this origin, whose browser asks whether it may.
    pub refuse: fn(&HeaderValue) -> Problem,
}

impl PageRules {
    /// Whether pages of this origin may ask on this route, a path as it is matched, about what has this name.
    pub(crate) fn answers(&self, path: &str, name: Option<&str>, origin: &HeaderValue) -> bool {
        self.methods(path).is_some() && self.allowed.has(name, origin)
    }

    /// Whether a browser asks on this route whether its page may: then the role answers, whoever it is.
    pub(crate) fn is_asked(&self, path: &str, method: &Method, headers: &HeaderMap) -> bool {
        is_question(method, headers) && self.methods(path).is_some()
    }

    /// The methods of a path that pages may use, behind commas; `None` where it answers no page.
    fn methods(&self, path: &str) -> Option<String> {
        let of_path = self.routes.iter().filter_map(|route| route.split_once(' ').filter(|(_, of)| *of == path));
        let methods: Vec<&str> = of_path.map(|(method, _)| method).collect();
        (!methods.is_empty()).then(|| methods.join(", "))
    }

    /// Tells a browser that a page of this origin, which is allowed for this name, may read the answer.
    pub(crate) fn mark(&self, headers: &mut HeaderMap, name: Option<&str>, origin: HeaderValue) {
        // A beacon is sent without a question; where its answer is another origin's alone, the page sees an error.
        headers.insert(RESOURCE_POLICY, HeaderValue::from_static("cross-origin"));
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(self.answer_headers));
        if self.allowed.is_any(name) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        } else {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            // A beacon goes with cookies whether or not anybody reads them; without this it could send no JSON.
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
            headers.append(header::VARY, HeaderValue::from_static("origin"));
        }
    }
}

/// Answers the questions of browsers on the routes that answer pages, and marks their answers. To be laid around
/// everything that answers in the place of `router`.
pub fn answer_pages<S>(router: Router<S>, rules: PageRules) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    router.layer(from_fn_with_state(Arc::new(rules), answer_page))
}

async fn answer_page(State(rules): State<Arc<PageRules>>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>();
    let methods = route.and_then(|path| rules.methods(path.as_str()));
    let name = path_name(route, request.uri().path());
    let headers = request.headers();
    let (Some(methods), Some(origin)) = (methods, headers.get(header::ORIGIN).cloned()) else {
        return next.run(request).await;
    };
    let is_allowed = rules.allowed.has(name.as_deref(), &origin);
    let mut response = match (is_question(request.method(), headers), is_allowed) {
        (false, false) => return next.run(request).await,
        (true, false) => return (rules.refuse)(&origin).into_response(),
        (false, true) => next.run(request).await,
        (true, true) => leave(&methods, rules.request_headers),
    };
    rules.mark(response.headers_mut(), name.as_deref(), origin);
    response
}

/// Whether a browser asks before it lets its page ask (a preflight).
fn is_question(method: &Method, headers: &HeaderMap) -> bool {
    let is_one = headers.contains_key(header::ORIGIN) && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    method == Method::OPTIONS && is_one
}

/// The answer to a browser that asks (a preflight).
fn leave(methods: &str, request_headers: &str) -> Response {
    let headers = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, methods),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, request_headers),
        (header::ACCESS_CONTROL_MAX_AGE, MAX_AGE_SECONDS),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}
