//! Addresses of HTTP servers and brokers, and names of an object store, as settings write them.
//!
//! Why so strict: the client of the store ends the process at an address or a header that it cannot form.

use axum::http::Uri;
use url::Url;

/// Whether a text is the address of an HTTP server: `http://host:port` or `https://...`, without a user in it.
pub(crate) fn is_http_url(text: &str) -> bool {
    let is_address = |url: &Url| ["http", "https"].contains(&url.scheme()) && url.has_host();
    let is_alone = |url: &Url| url.username().is_empty() && url.password().is_none() && url.query().is_none();
    // One of the two mends what it reads (`http:host`, spaces, letters of other alphabets), the other does not.
    let is_written_out = text.parse::<Uri>().is_ok_and(|uri| uri.authority().is_some());
    is_written_out && Url::parse(text).is_ok_and(|url| is_address(&url) && is_alone(&url) && url.fragment().is_none())
}

/// Whether a text can be a part of an HTTP header: a key id, or the token of a session.
pub(crate) fn is_header_text(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Whether a text can be a part of a host name or a path without being written otherwise: a region, a bucket.
pub(super) fn is_plain_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
}

/// Protocols that an address of brokers may begin with.
const BROKER_PROTOCOLS: [&str; 4] = ["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"];

/// Whether a text is the address of a broker: a host, mostly with its port, behind a protocol or not.
pub(super) fn is_broker(text: &str) -> bool {
    let address = match text.split_once("://") {
        Some((protocol, address)) if BROKER_PROTOCOLS.contains(&protocol.to_lowercase().as_str()) => address,
        _ => text,
    };
    let is_port = |port: &str| port.ends_with(']') || port.parse::<u16>().is_ok();
    // Behind a user and a password the client would look for the whole of it, and tell it.
    let is_foreign = |sign: char| ['/', '@'].contains(&sign) || sign.is_whitespace();
    let is_plain = !address.is_empty() && !address.contains(is_foreign);
    is_plain && address.rsplit_once(':').is_none_or(|(host, port)| !host.is_empty() && is_port(port))
}
