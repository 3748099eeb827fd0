//! Certificates for Redis over TLS.
//!
//! Guarantee: what cannot be used is told by the name of its setting before anything is connected.

use redis::{ClientTlsConfig, TlsCertificates};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::config::RedisTls;

/// The certificates, in the form of the client; `None`: the system's authorities, and none of our own to show.
pub(super) fn read_certificates(tls: &RedisTls) -> Result<Option<TlsCertificates>, String> {
    choose_cryptography();
    if let Some(authority) = &tls.authority {
        check_authority(authority).map_err(|reason| format!("`realtime.tls_ca` {reason}"))?;
    }
    if let Some((certificate, key)) = &tls.identity {
        check_identity(certificate, key)?;
    }
    let client_tls = tls.identity.clone().map(|(client_cert, client_key)| ClientTlsConfig { client_cert, client_key });
    let is_needed = tls.authority.is_some() || client_tls.is_some();
    Ok(is_needed.then(|| TlsCertificates { client_tls, root_cert: tls.authority.clone() }))
}

/// The client takes the cryptography of the process, and panics where there are two and none was chosen, as in a build
/// with tests. Whoever chose before us chose for us too.
fn choose_cryptography() {
    if CryptoProvider::get_default().is_none() {
        // An error means that another thread was first.
        drop(ring::default_provider().install_default());
    }
}

fn check_authority(pem: &[u8]) -> Result<(), String> {
    let mut roots = RootCertStore::empty();
    for certificate in read_chain(pem)? {
        roots.add(certificate).map_err(|error| format!("holds a certificate that cannot be used: {error}"))?;
    }
    Ok(())
}

fn check_identity(certificate: &[u8], key: &[u8]) -> Result<(), String> {
    let chain = read_chain(certificate).map_err(|reason| format!("`realtime.tls_certificate` {reason}"))?;
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|error| format!("`realtime.tls_key` holds no private key in PEM ({error})"))?;
    let config = ClientConfig::builder().with_root_certificates(RootCertStore::empty());
    let fits = config.with_client_auth_cert(chain, key);
    fits.map(drop).map_err(|error| format!("`realtime.tls_certificate` and `realtime.tls_key` do not fit: {error}"))
}

fn read_chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let chain = chain.map_err(|error| format!("is no PEM ({error})"))?;
    if chain.is_empty() { Err("holds no certificate in PEM".to_owned()) } else { Ok(chain) }
}
