//! What certificates of clients are known by.
//!
//! In: a certificate that the listener found good. Out: whom it stands for.
//! Guarantee: pure; the first rule that knows a certificate counts.
//! Not here: what is read of a certificate (`client_certificate.rs`).

use std::sync::Arc;

use crate::client_certificate::ClientCertificate;
use crate::keys::Sha256Sum;
use crate::principal::{Grants, Principal};

/// By what a certificate is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateMark {
    /// The common name of its subject.
    CommonName(String),
    /// One of its further names (subject alternative names).
    Name(String),
    /// Its SHA-256.
    Fingerprint(Sha256Sum),
}

impl CertificateMark {
    /// Whether a certificate has it.
    fn is_of(&self, certificate: &ClientCertificate) -> bool {
        match self {
            Self::CommonName(name) => certificate.common_name.as_ref() == Some(name),
            Self::Name(name) => certificate.names.contains(name),
            Self::Fingerprint(sum) => *sum == certificate.fingerprint,
        }
    }
}

/// What certificates with a mark may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateRule {
    /// The mark.
    pub mark: CertificateMark,
    /// What they may do.
    pub grants: Arc<Grants>,
}

/// Whom a certificate stands for. Its hash is a part of the name: names in it are whatever an authority let pass.
pub(crate) fn principal_of(certificate: &ClientCertificate, rules: &[CertificateRule]) -> Option<Principal> {
    let rule = rules.iter().find(|rule| rule.mark.is_of(certificate))?;
    Some(Principal::new(&format!("certificate:{}", certificate.fingerprint), rule.grants.clone()))
}
