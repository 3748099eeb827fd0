//! Addresses of HTTP servers, as settings write them.

use url::Url;

/// Whether a text is the address of an HTTP server: `http://host:port` or `https://...`.
pub(crate) fn is_http_url(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| ["http", "https"].contains(&url.scheme()) && url.has_host())
}
