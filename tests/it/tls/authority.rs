//! Authorities made for one test, and what they sign.

use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair};

/// An authority.
pub struct Authority {
    /// Its certificate, as PEM.
    pub pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, as PEM.
pub struct Pair {
    pub certificate: String,
    pub key: String,
    pub der: Vec<u8>,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = params("an authority of a test", &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// What a server on this machine shows.
    pub fn server(&self) -> Pair {
        self.sign(&params("server", &["127.0.0.1", "localhost"]))
    }

    /// The same, until the year 2020.
    pub fn expired(&self) -> Pair {
        let mut params = params("server", &["127.0.0.1", "localhost"]);
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
        self.sign(&params)
    }

    /// What a client shows.
    pub fn client(&self, common_name: &str, names: &[&str]) -> Pair {
        self.sign(&params(common_name, names))
    }

    /// A client of this authority's servers, that believes nobody else.
    pub fn trusted_by(&self) -> reqwest::ClientBuilder {
        let trusted = reqwest::Certificate::from_pem(self.pem.as_bytes()).unwrap();
        reqwest::Client::builder().tls_built_in_root_certs(false).add_root_certificate(trusted)
    }

    fn sign(&self, params: &CertificateParams) -> Pair {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Pair { certificate: certificate.pem(), key: key.serialize_pem(), der: certificate.der().to_vec() }
    }
}

impl Pair {
    /// Both in one text.
    pub fn both(&self) -> String {
        format!("{}{}", self.certificate, self.key)
    }

    /// As a client shows it.
    pub fn identity(&self) -> reqwest::Identity {
        reqwest::Identity::from_pem(self.both().as_bytes()).unwrap()
    }
}

fn params(common_name: &str, names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Tests & Sons");
    params.distinguished_name.push(DnType::CommonName, common_name);
    params
}
