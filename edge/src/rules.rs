//! Whom keys, tokens and certificates stand for.
//!
//! In: rules, as an operator wrote them, and what a request shows. Out: a principal, or why there is none.
//! Guarantee: pure; the name of a principal tells what it was known by, and no two ways give the same name.
//! Not here: how a request shows something (`access.rs`), where rules are written (`twofold/src/access/file.rs`).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use positions::TimestampMicros;
use serde_json::Value;

use crate::certificate::{CertificateRule, principal_of};
use crate::client_certificate::ClientCertificate;
use crate::jwt::{Claims, KeySet, ShownToken, TokenRefusal};
use crate::keys::{KEY_PREFIX, Sha256Sum};
use crate::principal::{Grants, Principal};

/// Of a name that others chose, so much is kept.
const MAX_NAME_CHARS: usize = 128;

/// Everything that credentials are known by.
#[derive(Clone, Debug, Default)]
pub struct AccessRules {
    /// By the hash of the key.
    pub keys: HashMap<Sha256Sum, KeyRule>,
    /// By issuer; of several with one issuer the first whose audience a token is for counts.
    pub tokens: Vec<TokenRule>,
    /// The first that knows a certificate counts.
    pub certificates: Vec<CertificateRule>,
}

/// A key.
#[derive(Clone, Debug)]
pub struct KeyRule {
    /// Whom it stands for.
    pub principal: Principal,
    /// From when on it counts no more.
    pub expires: Option<TimestampMicros>,
}

/// Tokens of an issuer.
#[derive(Clone, Debug)]
pub struct TokenRule {
    /// The claim `iss`.
    pub issuer: String,
    /// What the claim `aud` must name.
    pub audience: String,
    /// The claim that names a grant: a text, or an array of which the first known one counts.
    pub claim: String,
    /// The grants by their names.
    pub grants: Arc<BTreeMap<String, Arc<Grants>>>,
    /// The keys of the issuer; `None`: they were not to be had yet.
    pub keys: Option<Arc<KeySet>>,
}

/// Why a request has no principal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// What it shows is not known, or nothing is shown.
    Unknown(String),
    /// The keys of this issuer have to be fetched, for the first time or again.
    KeysWanted { issuer: String, has_some: bool },
}

impl AccessRules {
    /// Whom a key or a token stands for at this time.
    pub(crate) fn of_bearer(&self, text: &str, now: TimestampMicros) -> Result<Principal, Refusal> {
        if text.starts_with(KEY_PREFIX) { self.of_key(text, now) } else { self.of_token(text, now) }
    }

    /// Whom a certificate stands for.
    pub(crate) fn of_certificate(&self, certificate: &ClientCertificate) -> Result<Principal, Refusal> {
        let found = principal_of(certificate, &self.certificates);
        found.ok_or_else(|| Refusal::Unknown("the certificate is not known here".to_owned()))
    }

    fn of_key(&self, text: &str, now: TimestampMicros) -> Result<Principal, Refusal> {
        let found = Sha256Sum::of_key(text).and_then(|sum| self.keys.get(&sum));
        let known = found.ok_or_else(|| Refusal::Unknown("the key is not known here".to_owned()))?;
        if known.expires.is_some_and(|end| now >= end) {
            return Err(Refusal::Unknown("the key has expired".to_owned()));
        }
        Ok(known.principal.clone())
    }

    fn of_token(&self, text: &str, now: TimestampMicros) -> Result<Principal, Refusal> {
        let shown = ShownToken::read(text).map_err(|refusal| refused(refusal, "", false))?;
        let mut told = None;
        for rule in self.tokens.iter().filter(|rule| rule.issuer == shown.issuer) {
            let keys = rule.keys.as_deref();
            let claims = match keys {
                Some(keys) => shown.verify(&rule.audience, keys, now.0 as f64 / 1e6),
                None => Err(TokenRefusal::KeyUnknown),
            };
            match claims {
                Ok(claims) => return rule.principal(&claims),
                // Another rule may be for its audience.
                Err(TokenRefusal::OtherAudience) => {}
                Err(why) => told = Some(refused(why, &rule.issuer, keys.is_some())),
            }
        }
        let unknown =
            || Refusal::Unknown("the token's issuer is not known here, or it is for another audience".to_owned());
        Err(told.unwrap_or_else(unknown))
    }
}

impl TokenRule {
    /// Whom claims stand for, which are believed by now.
    fn principal(&self, claims: &Claims) -> Result<Principal, Refusal> {
        let named = match claims.get(&self.claim) {
            Some(Value::String(name)) => vec![name.as_str()],
            Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let Some(grants) = named.iter().find_map(|name| self.grants.get(*name)) else {
            return Err(Refusal::Unknown(format!(
                "no grant that is known here is named by the claim `{}`",
                self.claim
            )));
        };
        let subject = claims.get("sub").and_then(Value::as_str).unwrap_or_default();
        let subject: String = subject.chars().filter(|letter| is_shown(*letter)).take(MAX_NAME_CHARS).collect();
        Ok(Principal::new(&format!("token:{subject} of {}", self.issuer), grants.clone()))
    }
}

/// Whether a letter stands in a log as itself: none that ends a line, turns the direction, or is not seen at all.
fn is_shown(letter: char) -> bool {
    letter.is_alphanumeric() || letter.is_ascii_graphic() || letter == ' '
}

fn refused(refusal: TokenRefusal, issuer: &str, has_some: bool) -> Refusal {
    match refusal {
        TokenRefusal::Bad(why) => Refusal::Unknown(why),
        TokenRefusal::OtherAudience => Refusal::Unknown("the token is for another audience".to_owned()),
        TokenRefusal::KeyUnknown => Refusal::KeysWanted { issuer: issuer.to_owned(), has_some },
    }
}
