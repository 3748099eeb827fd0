//! Origins as a setting lists them, held to what browsers write.
//!
//! Guarantee: pure; an origin that no browser ever sends is refused, with the one that was meant where it can be told.
//! Why so: origins are compared letter by letter, and one with a slash at its end would silently allow nothing.

use std::collections::BTreeMap;

use edge::{AllowedOrigins, Origins};
use url::Url;

/// Reads origins that stand behind commas, `*` for all, or nothing.
///
/// # Errors
/// A sentence that says what is expected.
pub(super) fn read_origins(text: &str) -> Result<AllowedOrigins, String> {
    read_list(&entries(text)).map(AllowedOrigins::everywhere)
}

/// The same, where an entry may begin with the name of a source and `=`: then it is for that source alone.
///
/// # Errors
/// As [`read_origins`].
pub(super) fn read_source_origins(text: &str) -> Result<AllowedOrigins, String> {
    let (mut everywhere, mut of_sources) = (Vec::new(), BTreeMap::<&str, Vec<&str>>::new());
    for entry in entries(text) {
        match entry.split_once('=').map(|(source, origin)| (source.trim(), origin.trim())) {
            None => everywhere.push(entry),
            Some(("", _)) => return Err(format!("must name a source in front of `=`, got `{entry}`")),
            Some((source, origin)) => of_sources.entry(source).or_default().push(origin),
        }
    }
    let allowed = AllowedOrigins::everywhere(read_list(&everywhere)?);
    let mut named = of_sources.into_iter();
    named.try_fold(allowed, |allowed, (source, origins)| Ok(allowed.and_of(source, read_list(&origins)?)))
}

fn entries(text: &str) -> Vec<&str> {
    text.split(',').map(str::trim).filter(|entry| !entry.is_empty()).collect()
}

fn read_list(origins: &[&str]) -> Result<Origins, String> {
    match origins {
        ["*"] => Ok(Origins::Any),
        origins => {
            let read = origins.iter().map(|origin| read_origin(origin));
            read.collect::<Result<_, _>>().map(Origins::These)
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
