//! The access file: grants, and the keys, tokens and certificates that have them.
//!
//! In: TOML. Out: what it says, or everything that is wrong with it, by its place.
//! Guarantee: pure; what a name or a grant is misspelled in is refused, and no problem quotes what may be a key.
//! Not here: reading the file, and the keys of issuers (`run.rs`, `key_sets.rs`).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use chrono::DateTime;
use edge::{
    AccessRules, CertificateMark, CertificateRule, Grants, KEY_PREFIX, KeyRule, KeySet, Names, Principal, Quotas,
    Sha256Sum, TokenRule, without_keys,
};
use positions::TimestampMicros;
use serde::Deserialize;
use url::{Host, Url};
use views::did_you_mean;

/// What an access file says.
#[derive(Clone, Debug, Default)]
pub struct AccessFile {
    grants: Arc<BTreeMap<String, Arc<Grants>>>,
    keys: HashMap<Sha256Sum, KeyRule>,
    tokens: Vec<Tokens>,
    certificates: Vec<CertificateRule>,
}

#[derive(Clone, Debug)]
struct Tokens {
    issuer: String,
    audience: String,
    claim: String,
    keys: KeySetPlace,
}

/// Where the keys of an issuer are read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeySetPlace {
    /// A file.
    File(PathBuf),
    /// An address.
    Url(String),
}

impl fmt::Display for KeySetPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Url(url) => f.write_str(url),
        }
    }
}

/// Everything that is wrong with an access file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub struct AccessFileError(pub Vec<String>);

impl AccessFileError {
    /// A key may stand in the place of a name.
    fn of(problems: &[String]) -> Self {
        Self(problems.iter().map(|problem| without_keys(problem)).collect())
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Written {
    grants: BTreeMap<String, WrittenGrant>,
    keys: Vec<WrittenKey>,
    tokens: Vec<WrittenTokens>,
    certificates: Vec<WrittenCertificate>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct WrittenGrant {
    read: Vec<String>,
    write: Vec<String>,
    operate: bool,
    rows: BTreeMap<String, BTreeSet<String>>,
    requests_per_second: Option<u64>,
    sql_per_minute: Option<u64>,
    events_per_second: Option<u64>,
    bytes_per_second: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenKey {
    name: String,
    hash: String,
    grant: String,
    expires: Option<toml::value::Datetime>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenTokens {
    issuer: String,
    audience: String,
    jwks: String,
    claim: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenCertificate {
    common_name: Option<String>,
    san: Option<String>,
    fingerprint: Option<String>,
    grant: String,
}

impl AccessFile {
    /// Reads the text of a file.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn read(text: &str) -> Result<Self, AccessFileError> {
        let written: Written = toml::from_str(text).map_err(|error| AccessFileError::of(&[not_read(text, &error)]))?;
        let mut problems = Vec::new();
        let grants = written.grants.into_iter().map(|(name, grant)| {
            let found = grant.read(&name, &mut problems);
            (name, Arc::new(found))
        });
        let mut file = Self { grants: Arc::new(grants.collect()), ..Self::default() };
        let mut names = BTreeSet::new();
        for key in written.keys {
            if !names.insert(key.name.clone()) {
                problems.push(format!("there are two keys of the name `{}`", key.name));
            }
            file.take_key(&key).unwrap_or_else(|problem| problems.push(format!("key `{}` {problem}", key.name)));
        }
        for tokens in written.tokens {
            match Tokens::read(tokens) {
                Ok(tokens) => file.tokens.push(tokens),
                Err(problem) => problems.push(problem),
            }
        }
        for (at, certificate) in written.certificates.into_iter().enumerate() {
            match file.certificate_rule(certificate) {
                Ok(rule) => file.certificates.push(rule),
                Err(problem) => problems.push(format!("certificate {} {problem}", at + 1)),
            }
        }
        if problems.is_empty() { Ok(file) } else { Err(AccessFileError::of(&problems)) }
    }

    /// Where the keys of issuers are read, by the issuer.
    pub fn key_sets(&self) -> impl Iterator<Item = (&str, &KeySetPlace)> {
        self.tokens.iter().map(|tokens| (tokens.issuer.as_str(), &tokens.keys))
    }

    /// The rules, with the key sets that are there.
    pub fn rules(&self, sets: &BTreeMap<KeySetPlace, Arc<KeySet>>) -> AccessRules {
        let tokens = self.tokens.iter().map(|tokens| TokenRule {
            issuer: tokens.issuer.clone(),
            audience: tokens.audience.clone(),
            claim: tokens.claim.clone(),
            grants: self.grants.clone(),
            keys: sets.get(&tokens.keys).cloned(),
        });
        AccessRules { keys: self.keys.clone(), tokens: tokens.collect(), certificates: self.certificates.clone() }
    }

    /// Whether there is a grant of this name.
    ///
    /// # Errors
    /// The grants that there are.
    pub fn check_grant(&self, name: &str) -> Result<(), String> {
        self.grant(name).map(drop)
    }

    fn grant(&self, name: &str) -> Result<Arc<Grants>, String> {
        let unknown = || {
            let known: Vec<&str> = self.grants.keys().map(String::as_str).collect();
            let hint = did_you_mean(name, &known).unwrap_or_else(|| format!("there are: {}", known.join(", ")));
            format!("names the grant `{name}`, which the file does not have; {hint}")
        };
        self.grants.get(name).cloned().ok_or_else(unknown)
    }

    fn take_key(&mut self, key: &WrittenKey) -> Result<(), String> {
        check_name(&key.name)?;
        if key.hash.starts_with(KEY_PREFIX) {
            return Err(
                "has the key itself as `hash`: take it out of use, it was written down; `twofold key new` makes \
                        another one and prints its hash"
                    .to_owned(),
            );
        }
        let sum = Sha256Sum::read(&key.hash).ok_or(
            "has a `hash` that is no SHA-256, 64 hexadecimal digits or base64, as `twofold key new` prints it",
        )?;
        let principal = Principal::new(&key.name, self.grant(&key.grant)?);
        let expires = key.expires.map(read_instant).transpose()?;
        match self.keys.insert(sum, KeyRule { principal, expires }) {
            Some(before) => Err(format!("has the same hash as `{}`", before.principal.name())),
            None => Ok(()),
        }
    }

    fn certificate_rule(&self, written: WrittenCertificate) -> Result<CertificateRule, String> {
        let grants = self.grant(&written.grant)?;
        let mark = match (written.common_name, written.san, written.fingerprint) {
            (Some(name), None, None) => CertificateMark::CommonName(name),
            (None, Some(name), None) => CertificateMark::Name(name),
            (None, None, Some(sum)) => {
                let sum = Sha256Sum::read(&sum).ok_or("has a `fingerprint` that is no SHA-256")?;
                CertificateMark::Fingerprint(sum)
            }
            _ => return Err("needs one of `common_name`, `san` and `fingerprint`, and only one".to_owned()),
        };
        Ok(CertificateRule { mark, grants })
    }
}

impl WrittenGrant {
    fn read(self, name: &str, problems: &mut Vec<String>) -> Grants {
        let numbers = [
            ("requests_per_second", self.requests_per_second),
            ("sql_per_minute", self.sql_per_minute),
            ("events_per_second", self.events_per_second),
            ("bytes_per_second", self.bytes_per_second),
        ];
        let is_nothing = |number: &Option<u64>| *number == Some(0);
        let none = numbers.iter().filter(|(_, number)| is_nothing(number));
        problems.extend(none.map(|(key, _)| format!("grant `{name}` has `{key} = 0`: leave out what it may not do")));
        let shut = self.rows.iter().filter(|(_, values)| values.is_empty());
        problems.extend(shut.map(|(dimension, _)| format!("grant `{name}` has no value of `{dimension}` in `rows`")));
        if self.operate && !self.rows.is_empty() {
            problems.push(format!(
                "grant `{name}` has `operate` and `rows`: logs, metrics and rejected records are of all rows, so leave out one \
                 of the two, or make two grants"
            ));
        }
        Grants {
            read: read_names(self.read),
            write: read_names(self.write),
            operate: self.operate,
            rows: self.rows,
            quotas: Quotas {
                requests_per_second: self.requests_per_second,
                sql_per_minute: self.sql_per_minute,
                events_per_second: self.events_per_second,
                bytes_per_second: self.bytes_per_second,
            },
        }
    }
}

impl Tokens {
    fn read(written: WrittenTokens) -> Result<Self, String> {
        let of = format!("tokens of issuer `{}`", written.issuer);
        let empty = [("issuer", &written.issuer), ("audience", &written.audience), ("claim", &written.claim)];
        if let Some((key, _)) = empty.iter().find(|(_, text)| text.is_empty()) {
            return Err(format!("{of} have an empty `{key}`"));
        }
        let keys = match Url::parse(&written.jwks) {
            Ok(url) if ["http", "https"].contains(&url.scheme()) && url.has_host() => {
                if !url.username().is_empty() || url.password().is_some() {
                    return Err(format!("{of} have a `jwks` with a user or a password, which is no place for them"));
                }
                if url.scheme() == "http" && !is_this_machine(&url) {
                    return Err(format!(
                        "{of} have a `jwks` over plain http: whoever is on the way could put in keys of their own; write \
                         `https://...`, or the path of a file"
                    ));
                }
                KeySetPlace::Url(url.to_string())
            }
            _ if written.jwks.is_empty() || written.jwks.contains("://") => {
                return Err(format!("{of} need `jwks`: the path of a file, or `https://...`"));
            }
            _ => KeySetPlace::File(PathBuf::from(written.jwks)),
        };
        Ok(Self { issuer: written.issuer, audience: written.audience, claim: written.claim, keys })
    }
}

/// Whether nobody is on the way to an address.
fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

/// Refuses what would not be one word in a log, could be taken for the name of a token or a certificate, or is a key.
///
/// # Errors
/// What a name is like.
pub fn check_name(name: &str) -> Result<(), String> {
    if Sha256Sum::of_key(name).is_some() {
        return Err("has a key as its name, which logs would tell: take it out of use, it was written down".to_owned());
    }
    let is_good = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    if (1..=64).contains(&name.len()) && name.chars().all(is_good) {
        return Ok(());
    }
    Err("has a name that is not made of 1 to 64 letters, digits and `.`, `_`, `-`".to_owned())
}

fn read_names(names: Vec<String>) -> Names {
    if names.iter().any(|name| name == "*") { Names::All } else { Names::These(names.into_iter().collect()) }
}

fn read_instant(written: toml::value::Datetime) -> Result<TimestampMicros, String> {
    let at = DateTime::parse_from_rfc3339(&written.to_string());
    let at = at.map_err(|_| format!("has `expires = {written}`: write an instant such as 2027-01-31T00:00:00Z"))?;
    Ok(TimestampMicros(at.timestamp_micros()))
}

/// Without the line itself, which may hold a key by mistake.
fn not_read(text: &str, error: &toml::de::Error) -> String {
    let at = error.span().map_or(0, |span| span.start);
    let line = text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1;
    // Serde quotes the value of a wrong type behind a colon; what is expected stands behind the comma.
    let told = error.message().lines().next().unwrap_or_default();
    let told = match told.strip_prefix("invalid type: ").and_then(|rest| rest.rsplit_once(", ")) {
        Some((_, expected)) => format!("a value has another type: {expected}"),
        None => told.to_owned(),
    };
    format!("line {line}: {told}")
}
