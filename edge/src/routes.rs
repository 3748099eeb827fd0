//! Refusals that no handler makes: a path that does not exist, and a path that does, asked with another method.
//!
//! In: a router and its routes in words, each as `GET /path`. Out: the router with problems in place of empty answers.

use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderValue, Method, Uri, header};

use crate::{Problem, ProblemKind};

/// Answers other methods on the paths that `router` has so far with a problem that names the right ones.
pub fn refuse_other_methods<S>(router: Router<S>, routes: &'static [&'static str]) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    router.method_not_allowed_fallback(async move |request: Request| method_not_allowed(&request, routes))
}

/// Answers all paths that neither `router` nor what it is merged with has with a problem that names those that exist:
/// `routes`, and the routes `beside` them of other routers.
///
/// A router can be merged with others that have no such answer; axum refuses two.
pub fn refuse_other_paths<S>(
    router: Router<S>,
    routes: &'static [&'static str],
    beside: &'static [&'static str],
) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    let known = move || routes.iter().chain(beside).copied();
    router.fallback(async move |uri: Uri| Problem::unknown("route", uri.path(), known()))
}

fn method_not_allowed(request: &Request, routes: &[&'static str]) -> Problem {
    let path = request.extensions().get::<MatchedPath>().map_or_else(|| request.uri().path(), MatchedPath::as_str);
    let of_path = |route: &&'static str| {
        let (method, of) = route.split_once(' ')?;
        (of == path).then_some((method, *route))
    };
    let (methods, known): (Vec<&str>, Vec<&str>) = routes.iter().filter_map(of_path).unzip();
    let detail = format!("{path} accepts {}, not {}", methods.join(" and "), request.method());
    let problem = Problem::new(ProblemKind::MethodNotAllowed, detail).with_known(known);
    let problem = match below(path, request.method(), routes).as_slice() {
        [] => problem,
        longer => problem.with_hint(format!("did you mean `{}`?", longer.join("` or `"))),
    };
    // A route for GET answers HEAD, too.
    let allowed = methods.join(", ").replace("GET", "GET, HEAD");
    match HeaderValue::from_str(&allowed) {
        Ok(allowed) => problem.with_header(header::ALLOW, allowed),
        Err(_) => problem,
    }
}

/// The routes of this method that go on from a path: who left off the end of a path meant one of them.
fn below(path: &str, method: &Method, routes: &[&'static str]) -> Vec<&'static str> {
    let goes_on = |route: &&&'static str| {
        let longer = route.split_once(' ').filter(|(of, _)| *of == method.as_str());
        longer.and_then(|(_, longer)| longer.strip_prefix(path)).is_some_and(|rest| rest.starts_with('/'))
    };
    routes.iter().filter(goes_on).copied().collect()
}
