//! Whom a client of mutual TLS says that it is: what its certificate tells, for whoever looks up a principal by it.
//!
//! In: a certificate that the handshake has verified. Out: an extension of each request of the connection.
//! Guarantee: pure; a subject with several common names has none, as it would be chance which of them counts.
//! Not here: whether the certificate is believed (`tls.rs`), and what its holder may do (`certificate.rs`).

use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

use crate::keys::Sha256Sum;

/// The certificate that a client has proved to hold; in the extensions of its requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// SHA-256 of the certificate as it was sent.
    pub fingerprint: Sha256Sum,
    /// The common name of its subject, where it has exactly one.
    pub common_name: Option<String>,
    /// The DNS names of its subjectAltName, then its URIs.
    pub names: Vec<String>,
}

impl ClientCertificate {
    /// Reads a certificate that was verified before; of one that cannot be read, the fingerprint alone is told.
    pub fn read(der: &[u8]) -> Self {
        let certificate = CertificateDer::from(der);
        let (common_name, names) = match EndEntityCert::try_from(&certificate) {
            Ok(read) => {
                let names = read.valid_dns_names().chain(read.valid_uri_names()).map(str::to_owned);
                (common_name(read.subject()), names.collect())
            }
            Err(_) => (None, Vec::new()),
        };
        Self { fingerprint: Sha256Sum::of(der), common_name, names }
    }
}

/// Tag of an object identifier in DER.
const OBJECT_ID: u8 = 0x06;
/// 2.5.4.3, `id-at-commonName`.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
/// Tags of the texts that are UTF-8 as they stand: UTF8String, PrintableString, IA5String.
const TEXTS: [u8; 3] = [0x0c, 0x13, 0x16];

/// The common name of a subject: a sequence of sets of attributes, each a type and a value.
///
/// # Source
/// RFC 5280, section 4.1.2.4.
fn common_name(subject: &[u8]) -> Option<String> {
    let attributes = values(subject).flat_map(|(_, set)| values(set));
    let names = attributes.filter_map(|(_, attribute)| {
        let mut parts = values(attribute);
        let (kind, value) = (parts.next()?, parts.next()?);
        (kind == (OBJECT_ID, COMMON_NAME)).then_some(value)
    });
    match names.collect::<Vec<_>>().as_slice() {
        [(tag, text)] if TEXTS.contains(tag) => String::from_utf8(text.to_vec()).ok(),
        _ => None,
    }
}

/// The values that stand one after another in a DER text, each with its tag, as far as they can be read.
fn values(mut der: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let (tag, content, rest) = first_value(der)?;
        der = rest;
        Some((tag, content))
    })
}

/// The first value: its tag, its content, and what is behind it. Lengths of more than two bytes are those of no name.
fn first_value(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = der.split_first()?;
    let (length, rest) = rest.split_first()?;
    let (length, rest) = match *length {
        short @ 0..=0x7f => (usize::from(short), rest),
        0x81 => {
            let (length, rest) = rest.split_first()?;
            (usize::from(*length), rest)
        }
        0x82 => {
            let (length, rest) = rest.split_first_chunk::<2>()?;
            (usize::from(u16::from_be_bytes(*length)), rest)
        }
        _ => return None,
    };
    Some((*tag, rest.get(..length)?, rest.get(length..)?))
}
