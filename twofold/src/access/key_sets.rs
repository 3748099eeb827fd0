//! The keys of token issuers: read from a file or an address.
//!
//! Guarantee: what is read of one is bounded in bytes and time, and an answer sends this process to no other address.
//! Not here: what is in a set (`edge::KeySet`), when it is read (`access.rs`).

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::io::AsyncReadExt as _;

use super::file::KeySetPlace;

/// The largest set.
const MAX_BYTES: usize = 1 << 20;
/// Longest time for a whole answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Reads key sets.
#[derive(Clone, Debug)]
pub struct KeySetReader {
    http: reqwest::Client,
}

impl KeySetReader {
    /// Nothing is read yet.
    ///
    /// # Errors
    /// If no HTTP client can be made on this machine.
    pub fn new() -> Result<Self> {
        let http = reqwest::Client::builder().timeout(TIMEOUT).redirect(reqwest::redirect::Policy::none()).build();
        Ok(Self { http: http.context("cannot make a client for the keys of issuers")? })
    }

    /// Reads the text of a set.
    ///
    /// # Errors
    /// If it is not to be had, too large, or no text.
    pub async fn read(&self, place: &KeySetPlace) -> Result<String> {
        match place {
            KeySetPlace::File(path) => read_bounded(path, MAX_BYTES).await,
            KeySetPlace::Url(url) => self.fetch(url).await,
        }
    }

    async fn fetch(&self, url: &str) -> Result<String> {
        let about = || format!("cannot read the keys at {url}");
        let mut answer = self.http.get(url).send().await.with_context(about)?;
        ensure!(answer.status().is_success(), "cannot read the keys at {url}: the answer is {}", answer.status());
        let mut bytes = Vec::new();
        while let Some(part) = answer.chunk().await.with_context(about)? {
            ensure!(bytes.len() + part.len() <= MAX_BYTES, "the keys at {url} have more than {MAX_BYTES} bytes");
            bytes.extend_from_slice(&part);
        }
        String::from_utf8(bytes).with_context(|| format!("the keys at {url} are not UTF-8"))
    }
}

/// Reads a file that holds text of so many bytes at most.
///
/// # Errors
/// If it cannot be read, or holds more, or no text.
pub async fn read_bounded(path: &Path, most: usize) -> Result<String> {
    let about = || format!("cannot read {}", path.display());
    let file = tokio::fs::File::open(path).await.with_context(about)?;
    let mut bytes = Vec::new();
    file.take(most as u64 + 1).read_to_end(&mut bytes).await.with_context(about)?;
    ensure!(bytes.len() <= most, "{} has more than {most} bytes", path.display());
    String::from_utf8(bytes).with_context(|| format!("{} is not UTF-8", path.display()))
}
