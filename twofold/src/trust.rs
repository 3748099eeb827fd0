//! Whom the client of a system believes, and what it shows of itself, where they speak TLS.
//!
//! Guarantee: certificates are checked against the authorities of this machine and those that are named, and by the
//! name in the address.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use reqwest::{Certificate, ClientBuilder, Identity};

/// Whom to believe, and what to show.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct Trust {
    /// Believe certificates of these authorities, too, where the system speaks TLS (PEM).
    #[arg(long, env = "TWOFOLD_CA", value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Show this certificate where the system asks for one; the file also holds its key (PEM).
    #[arg(long, env = "TWOFOLD_CLIENT_CERTIFICATE", value_name = "FILE")]
    pub client_certificate: Option<PathBuf>,
}

impl Trust {
    /// A client with this trust.
    ///
    /// # Errors
    /// If a file cannot be read, or does not hold what it should.
    pub fn give_to(&self, mut client: ClientBuilder) -> Result<ClientBuilder> {
        if let Some(path) = &self.ca {
            let found = Certificate::from_pem_bundle(&read(path, "--ca")?);
            let found = found.with_context(|| format!("--ca {} is not PEM", path.display()))?;
            ensure!(!found.is_empty(), "--ca {} holds no certificate: name a PEM file with some", path.display());
            client = found.into_iter().fold(client, ClientBuilder::add_root_certificate);
        }
        if let Some(path) = &self.client_certificate {
            let identity = Identity::from_pem(&read(path, "--client-certificate")?);
            let identity = identity.map_err(|_| {
                let wanted = "a certificate and its key, both as PEM";
                anyhow::anyhow!("--client-certificate {} does not hold {wanted}", path.display())
            })?;
            client = client.identity(identity);
        }
        Ok(client)
    }
}

fn read(path: &Path, flag: &str) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {flag} {}", path.display()))
}

/// What keeps two sides of TLS from coming to terms, and the way out, where that is it; of a plain connection nothing.
pub fn explain_refusal(error: &(dyn std::error::Error + 'static), url: &str) -> Option<&'static str> {
    if !url.starts_with("https://") {
        return None;
    }
    let chain = std::iter::successors(Some(error), |error| error.source());
    let told = chain.map(ToString::to_string).collect::<Vec<_>>().join(": ");
    if told.contains("invalid peer certificate") {
        return Some(
            "its certificate is not believed here: name its authority with --ca FILE, and the system with --address as \
             its certificate names it (https://NAME:PORT)",
        );
    }
    let asks = ["CertificateRequired", "CertificateExpired", "CertificateUnknown", "UnknownCA", "BadCertificate"];
    if asks.iter().any(|sign| told.contains(sign)) {
        return Some("it wants a certificate of this client: name one that it believes with --client-certificate FILE");
    }
    // TLS 1.3 refuses behind the handshake: a client that sends its request meanwhile sees the end of the connection,
    // and not always why.
    let ends =
        ["connection was not ready", "connection closed before message completed", "reset by peer", "Broken pipe"];
    ends.iter().any(|sign| told.contains(sign)).then_some(
        "it ended the connection without an answer: if it wants a certificate of this client, name one that it believes \
         with --client-certificate FILE",
    )
}
