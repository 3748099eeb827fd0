//! TLS of a port: what it shows its clients, whom of them it believes, and how both are replaced while it runs.
//!
//! Guarantee: TLS 1.2 and 1.3 alone, and HTTP/1.1 alone; a certificate is never shown with the key of another one; what
//! is replaced holds for the connections that come, and what cannot be used replaces nothing.
//! Not here: reading files (the binary does), the handshake (`handshake.rs`), what a client's certificate says
//! (`client_certificate.rs`).
//! Why the library of cryptography is named: there are two in the tree of a build with tests, and where it is to
//! choose, rustls panics.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use positions::{Clock, TimestampMicros};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::time_provider::TimeProvider;
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig};
use webpki::{EndEntityCert, KeyUsage};

/// What a port speaks TLS with, as PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct TlsMaterial {
    /// Its certificate, and behind it those up to its authority.
    pub certificate: Vec<u8>,
    /// The key of that, not encrypted.
    pub key: Vec<u8>,
    /// The authorities of clients; `None`: clients are asked for no certificate.
    pub client_ca: Option<Vec<u8>>,
    /// Whether a client without a certificate is refused.
    pub is_client_required: bool,
}

impl fmt::Debug for TlsMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsMaterial(..)")
    }
}

/// Why a port cannot speak TLS; tells nothing of a key's content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// Another certificate is needed.
    #[error("the certificate cannot be used: {0}")]
    Certificate(String),
    /// Another form of the key is needed.
    #[error("the key cannot be used: {0}")]
    Key(String),
    /// The other half of one of the two is needed.
    #[error("the key is not that of the certificate")]
    Mismatch,
    /// Other authorities of clients are needed.
    #[error("the authorities of clients cannot be used: {0}")]
    ClientCa(String),
}

/// Whether a certificate is good at an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// It is.
    Good,
    /// Only from this instant on.
    NotYet(TimestampMicros),
    /// Only until this instant.
    Over(TimestampMicros),
}

/// The TLS of a port. Clones share what is replaced.
#[derive(Clone)]
pub struct Tls {
    clock: Arc<dyn Clock>,
    // Replaced by whoever follows the files, read at the beginning of each connection; held for a copy only.
    current: Arc<RwLock<Current>>,
}

struct Current {
    config: Arc<ServerConfig>,
    certificate: CertificateDer<'static>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

impl Tls {
    /// TLS with this material. Certificates of clients are judged by `clock`.
    ///
    /// # Errors
    /// Which part of the material must be another one.
    pub fn new(material: &TlsMaterial, clock: Arc<dyn Clock>) -> Result<Self, TlsError> {
        let current = Current::new(material, &clock)?;
        Ok(Self { clock, current: Arc::new(RwLock::new(current)) })
    }

    /// Speaks with this material from the next connection on.
    ///
    /// # Errors
    /// As for [`Self::new`]; then all stays as it is.
    pub fn replace(&self, material: &TlsMaterial) -> Result<(), TlsError> {
        let current = Current::new(material, &self.clock)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = current;
        Ok(())
    }

    /// Whether the certificate that is shown is good at an instant.
    pub fn validity(&self, at: TimestampMicros) -> Validity {
        let certificate = self.current.read().unwrap_or_else(PoisonError::into_inner).certificate.clone();
        // It was read when it was taken.
        let Ok(read) = EndEntityCert::try_from(&certificate) else { return Validity::Good };
        // Its span is looked at before its authority, of which none is known here.
        match read.verify_for_usage(&[], &[], &[], unix_time(at), KeyUsage::server_auth(), None, None) {
            Err(webpki::Error::CertNotValidYet { not_before, .. }) => Validity::NotYet(instant(not_before)),
            Err(webpki::Error::CertExpired { not_after, .. }) => Validity::Over(instant(not_after)),
            _ => Validity::Good,
        }
    }

    /// What a connection that begins now is served with.
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).config.clone()
    }
}

impl Current {
    fn new(material: &TlsMaterial, clock: &Arc<dyn Clock>) -> Result<Self, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let shown = shown_certificate(material, &provider)?;
        let verifier = match &material.client_ca {
            Some(pem) => client_verifier(pem, material.is_client_required, &provider)?,
            None => WebPkiClientVerifier::no_client_auth(),
        };
        let certificate =
            shown.cert.first().cloned().ok_or_else(|| TlsError::Certificate(NO_CERTIFICATE.to_owned()))?;
        let mut config = ServerConfig::builder_with_details(provider, Arc::new(ClockTime(clock.clone())))
            .with_protocol_versions(&[&TLS13, &TLS12])
            .expect("the provider has suites for both versions")
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(shown)));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(config), certificate })
    }
}

const NO_CERTIFICATE: &str = "it holds no `-----BEGIN CERTIFICATE-----`";

fn shown_certificate(material: &TlsMaterial, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let chain = certificates(&material.certificate).map_err(TlsError::Certificate)?;
    // What the parser says of a bad text quotes it.
    let key = PrivateKeyDer::from_pem_slice(&material.key).map_err(|_| {
        TlsError::Key("it holds no `-----BEGIN PRIVATE KEY-----`; an encrypted one must be decrypted before".to_owned())
    })?;
    CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => TlsError::Mismatch,
        rustls::Error::InvalidCertificate(reason) => TlsError::Certificate(format!("{reason:?}")),
        _ => TlsError::Key("it is none of RSA, ECDSA or Ed25519, or damaged".to_owned()),
    })
}

fn client_verifier(
    pem: &[u8],
    is_required: bool,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem).map_err(TlsError::ClientCa)? {
        roots.add(certificate).map_err(|error| TlsError::ClientCa(format!("{error:?}")))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let builder = if is_required { builder } else { builder.allow_unauthenticated() };
    builder.build().map_err(|error| TlsError::ClientCa(error.to_string()))
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    // What the parser says of a bad text quotes it, and keys get into wrong files.
    let found = found.map_err(|_| "it is not PEM".to_owned())?;
    if found.is_empty() { Err(NO_CERTIFICATE.to_owned()) } else { Ok(found) }
}

/// The clock of the process, for the TLS library.
struct ClockTime(Arc<dyn Clock>);

impl fmt::Debug for ClockTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClockTime(..)")
    }
}

impl TimeProvider for ClockTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(unix_time(self.0.now()))
    }
}

fn unix_time(at: TimestampMicros) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_micros(u64::try_from(at.0).unwrap_or(0)))
}

fn instant(at: UnixTime) -> TimestampMicros {
    TimestampMicros(i64::try_from(at.as_secs()).unwrap_or(i64::MAX).saturating_mul(1_000_000))
}
