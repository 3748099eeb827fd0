//! Whether a request comes from this machine: until there is access control, some things are told there alone.
//!
//! Guarantee: where it is not known, it comes from another machine.

use std::net::{IpAddr, SocketAddr};

use axum::http::HeaderMap;
use axum::http::header::HOST;
use axum::http::uri::Authority;

/// What a proxy adds to the requests of others.
const FORWARDED: [&str; 4] = ["forwarded", "x-forwarded-for", "x-real-ip", "via"];

/// Whether a request is known to come from this machine, for this machine. A proxy on it speaks for others, and says so
/// or is asked by another name; and so is a page whose name leads here.
pub fn is_from_here(peer: Option<SocketAddr>, headers: &HeaderMap) -> bool {
    let is_forwarded = FORWARDED.iter().any(|name| headers.contains_key(*name));
    let is_here = headers.get(HOST).is_none_or(|host| host.to_str().is_ok_and(is_this_machine));
    is_here && !is_forwarded && peer.is_some_and(|peer| peer.ip().to_canonical().is_loopback())
}

/// Whether a host, with or without a port, is this machine by its loopback address or name.
fn is_this_machine(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}
