//! Origins as a setting lists them, held to what browsers write.
//!
//! Guarantee: pure; an origin that no browser ever sends is refused, with the one that was meant where it can be told.
//! Why so: origins are compared letter by letter, and one with a slash at its end would silently allow nothing.

use edge::AllowedOrigins;
use url::Url;

/// Reads origins that stand behind commas, `*` for all, or nothing.
///
/// # Errors
/// A sentence that says what is expected.
pub(super) fn read_origins(text: &str) -> Result<AllowedOrigins, String> {
    let origins: Vec<&str> = text.split(',').map(str::trim).filter(|origin| !origin.is_empty()).collect();
    match origins.as_slice() {
        ["*"] => Ok(AllowedOrigins::Any),
        origins => {
            let read = origins.iter().map(|origin| read_origin(origin));
            read.collect::<Result<_, _>>().map(AllowedOrigins::These)
        }
    }
}

fn read_origin(text: &str) -> Result<String, String> {
    if text == "*" {
        return Err("must be `*` alone or a list of origins, got `*` among others".to_owned());
    }
    let expected = || format!("must hold origins such as `https://shop.example`, got `{text}`");
    if text.contains('*') {
        return Err(format!("{}: each origin is written out, or `*` alone allows all", expected()));
    }
    let url = Url::parse(text).map_err(|_| expected())?;
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(expected)?;
    let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
    let origin = format!("{}://{host}{port}", url.scheme());
    if origin == text { Ok(origin) } else { Err(format!("{}: browsers write `{origin}`", expected())) }
}
