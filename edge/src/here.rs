//! Whether a request comes from this machine, is meant for it, and comes from a page of another origin.
//!
//! Guarantee: where it is not known, it comes from another machine, and is meant for another one.
//! Why so: where no keys are used, a browser on this machine is the way in for others. A page whose name leads here
//! (DNS rebinding) asks by that name, and a page of another origin is said to be one by the browser.
//! # Source
//! Fetch Standard, section "`Origin` header"; W3C, "Fetch Metadata Request Headers".

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use axum::http::header::{HOST, ORIGIN};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method};

/// What a proxy adds to the requests of others, beside whatever begins with `FORWARDED_PREFIX`.
const FORWARDED: [&str; 3] = ["forwarded", "x-real-ip", "via"];
const FORWARDED_PREFIX: &str = "x-forwarded-";

/// Whether a request is known to come from this machine, for this machine. A proxy on it speaks for others, and says so
/// or is asked by another name; and so is a page whose name leads here.
pub fn is_from_here(peer: Option<SocketAddr>, headers: &HeaderMap) -> bool {
    let is_of_proxy = |name: &str| FORWARDED.contains(&name) || name.starts_with(FORWARDED_PREFIX);
    let is_forwarded = headers.keys().any(|name| is_of_proxy(name.as_str()));
    let is_here = headers.get(HOST).is_none_or(|host| host.to_str().is_ok_and(is_this_machine));
    is_here && !is_forwarded && peer.is_some_and(|peer| peer.ip().to_canonical().is_loopback())
}

/// Whether a request asks for this machine by its loopback address or name, in all that it says of it.
pub(crate) fn asks_this_machine(parts: &Parts) -> bool {
    let of_target = parts.uri.authority().is_none_or(|authority| is_this_machine(authority.as_str()));
    let mut hosts = parts.headers.get_all(HOST).iter();
    let host = hosts.next().and_then(|host| host.to_str().ok());
    of_target && hosts.next().is_none() && host.is_some_and(is_this_machine)
}

/// Whether a browser says that a page of another origin makes this request. A link that somebody followed is no
/// request of a page: it reads nothing of the answer.
pub(crate) fn is_of_other_page(parts: &Parts) -> bool {
    let text = |name: &str| parts.headers.get(name).map(|value| value.to_str().unwrap_or("not readable"));
    if let Some(site) = text("sec-fetch-site") {
        let is_link = parts.method == Method::GET
            && text("sec-fetch-mode") == Some("navigate")
            && text("sec-fetch-dest") == Some("document");
        return !(["same-origin", "none"].contains(&site) || is_link);
    }
    let Some(origin) = text(ORIGIN.as_str()) else { return false };
    let host = text(HOST.as_str()).unwrap_or_default();
    let of_origin = origin.split_once("://").filter(|(scheme, _)| ["http", "https"].contains(scheme));
    !of_origin.is_some_and(|(_, name)| name.eq_ignore_ascii_case(host))
}

/// Whether a host, with or without a port, is this machine by its loopback address or name.
fn is_this_machine(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host();
    // A user in front of the name is none of a Host: who reads on to the `@` alone would find another name there.
    if authority.as_str().contains('@') {
        return false;
    }
    match name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        Some(ip) => ip.parse::<Ipv6Addr>().is_ok_and(|ip| ip.to_canonical().is_loopback()),
        None => name.eq_ignore_ascii_case("localhost") || name.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_loopback()),
    }
}
