//! Tokens (JWT) of an issuer: whether one is good, and what it says of whoever shows it.
//!
//! In: a token, what is expected of it, the issuer's keys, the time. Out: its claims, or why it is refused.
//! Guarantee: pure. Nothing that a token says is believed before its signature is: the issuer that it names chooses the
//! keys and no more. Of algorithms there are three, all with public keys; each key is used for its own alone.
//! Not here: where keys come from (`twofold/src/access/key_sets.rs`), which grant a claim names (`rules.rs`).
//! # Source
//! RFC 7515, 7517, 7519 and, for what is refused, 8725.

use jsonwebtoken::dangerous::insecure_decode;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde::Deserialize;
use serde_json::{Map, Value};

/// How far the clocks of an issuer and of this machine may be apart.
const LEEWAY_SECONDS: f64 = 60.0;
/// No token is longer.
const MAX_TOKEN_BYTES: usize = 16 << 10;
/// No set has more keys: a token that names none is tried on all of them.
const MAX_KEYS: usize = 64;

/// The claims of a token whose signature is good.
pub(crate) type Claims = Map<String, Value>;

/// The public keys of an issuer.
#[derive(Clone, Debug, Default)]
pub struct KeySet(Vec<PublicKey>);

#[derive(Clone, Debug)]
struct PublicKey {
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

#[derive(Deserialize)]
struct Written {
    keys: Vec<Value>,
}

impl KeySet {
    /// Reads a JWKS. Keys that no signature of a token can be checked with are passed over.
    ///
    /// # Errors
    /// Where it is none, or nothing is left of it.
    pub fn read(text: &str) -> Result<Self, String> {
        let written: Written = serde_json::from_str(text).map_err(|error| format!("is not a JWKS: {error}"))?;
        let keys: Vec<PublicKey> = written.keys.into_iter().filter_map(public_key).take(MAX_KEYS).collect();
        if keys.is_empty() {
            return Err("has no key for RS256, ES256 or EdDSA".to_owned());
        }
        Ok(Self(keys))
    }

    /// The keys that a token may have been signed with.
    fn fitting(&self, id: Option<&str>, algorithm: Algorithm) -> impl Iterator<Item = &PublicKey> {
        let is_named = move |key: &&PublicKey| id.is_none_or(|id| key.id.as_deref() == Some(id));
        self.0.iter().filter(is_named).filter(move |key| key.algorithm == algorithm)
    }
}

fn public_key(written: Value) -> Option<PublicKey> {
    let jwk: Jwk = serde_json::from_value(written).ok()?;
    let (algorithm, name) = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
        AlgorithmParameters::EllipticCurve(of) if of.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        AlgorithmParameters::OctetKeyPair(of) if of.curve == EllipticCurve::Ed25519 => {
            (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
        }
        _ => return None,
    };
    let is_for_signatures = jwk.common.public_key_use.as_ref().is_none_or(|of| *of == PublicKeyUse::Signature);
    let is_for_this = jwk.common.key_algorithm.is_none_or(|of| of == name);
    let key = DecodingKey::from_jwk(&jwk).ok().filter(|_| is_for_signatures && is_for_this)?;
    Some(PublicKey { id: jwk.common.key_id, algorithm, key })
}

/// Why a token does not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TokenRefusal {
    /// It is not good, and will not be.
    Bad(String),
    /// It is for others.
    OtherAudience,
    /// The issuer has no key of its name, as far as is known.
    KeyUnknown,
}

/// A token as it says of itself; nothing of it is believed yet.
#[derive(Debug)]
pub(crate) struct ShownToken<'a> {
    text: &'a str,
    algorithm: Algorithm,
    key_id: Option<String>,
    /// Who issued it, as it says.
    pub(crate) issuer: String,
}

impl<'a> ShownToken<'a> {
    /// Takes a token apart.
    ///
    /// # Errors
    /// Where it is none, or one of a kind that is not taken.
    pub(crate) fn read(text: &'a str) -> Result<Self, TokenRefusal> {
        let bad = |why: &str| TokenRefusal::Bad(why.to_owned());
        if text.len() > MAX_TOKEN_BYTES {
            return Err(bad("it is longer than a token may be"));
        }
        let shown = insecure_decode::<Claims>(text).map_err(|_| bad("it is neither a key nor a token (JWT)"))?;
        if ![Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA].contains(&shown.header.alg) {
            return Err(bad("tokens are signed with RS256, ES256 or EdDSA"));
        }
        if shown.header.crit.is_some() {
            return Err(bad("it demands extensions (`crit`) that are not known here"));
        }
        let Some(issuer) = shown.claims.get("iss").and_then(Value::as_str) else {
            return Err(bad("the token names no issuer (`iss`)"));
        };
        Ok(Self { text, algorithm: shown.header.alg, key_id: shown.header.kid, issuer: issuer.to_owned() })
    }

    /// The claims, where the token is good at this time, in seconds since 1970.
    ///
    /// # Errors
    /// [`TokenRefusal`].
    pub(crate) fn verify(&self, audience: &str, keys: &KeySet, now: f64) -> Result<Claims, TokenRefusal> {
        let mut validation = Validation::new(self.algorithm);
        // By the clock that is handed in, below.
        validation.validate_exp = false;
        validation.set_issuer(&[self.issuer.as_str()]);
        validation.set_audience(&[audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        let mut refused = TokenRefusal::KeyUnknown;
        for key in keys.fitting(self.key_id.as_deref(), self.algorithm) {
            match decode::<Claims>(self.text, &key.key, &validation) {
                Ok(token) => return check_times(&token.claims, now).map(|()| token.claims),
                Err(error) if matches!(error.kind(), ErrorKind::InvalidAudience) => {
                    return Err(TokenRefusal::OtherAudience);
                }
                Err(error) => refused = TokenRefusal::Bad(format!("the token is not good: {error}")),
            }
        }
        Err(refused)
    }
}

fn check_times(claims: &Claims, now: f64) -> Result<(), TokenRefusal> {
    let bad = |why: &str| Err(TokenRefusal::Bad(why.to_owned()));
    match claims.get("exp").and_then(Value::as_f64) {
        None => return bad("its `exp` is no number"),
        Some(end) if now >= end + LEEWAY_SECONDS => return bad("the token has expired"),
        Some(_) => {}
    }
    match claims.get("nbf").map(Value::as_f64) {
        Some(None) => bad("its `nbf` is no number"),
        Some(Some(begin)) if begin > now + LEEWAY_SECONDS => bad("the token does not count yet"),
        _ => Ok(()),
    }
}
