//! Whom a client of mutual TLS says that it is: what its certificate tells, for whoever looks up a principal by it.
//!
//! In: a certificate that the listener has verified. Out: an extension of each request of the connection.
//! Not here: whether the certificate is believed (the listener), and what its holder may do (`certificate.rs`).

/// The certificate that a client has proved to hold; in the extensions of its requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificate as it was sent.
    pub der: Vec<u8>,
    /// SHA-256 of that, as 64 hexadecimal digits in lower case.
    pub fingerprint_sha256: String,
    /// The common name of its subject, where it has exactly one.
    pub common_name: Option<String>,
    /// The DNS names of its subjectAltName, then its URIs.
    pub names: Vec<String>,
}
