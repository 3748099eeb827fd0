//! Tokens: signed by their issuer, for us, in time, and with a claim that names a grant.

use std::collections::BTreeMap;
use std::sync::Arc;

use edge::{Access, KeySet, ProblemKind};
use serde_json::{Value, json};
use twofold::access::file::{AccessFile, KeySetPlace};

use super::signer::{Signer, encode, key_set};
use super::{NOW_SECONDS, Port, keyring_of};

const ISSUER: &str = "https://issuer.example";

const FILE: &str = "
[grants.readers]
read = ['*']
[grants.operators]
operate = true
[[tokens]]
issuer = 'https://issuer.example'
audience = 'twofold'
jwks = 'keys.json'
claim = 'groups'
[[tokens]]
issuer = 'https://issuer.example'
audience = 'twofold-too'
jwks = 'keys.json'
claim = 'role'
";

fn rules(sets: Option<&str>) -> edge::AccessRules {
    let set = sets.map(|text| (KeySetPlace::File("keys.json".into()), Arc::new(KeySet::read(text).unwrap())));
    AccessFile::read(FILE).unwrap().rules(&BTreeMap::from_iter(set))
}

fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": "twofold", "sub": "ann", "exp": NOW_SECONDS + 60, "groups": ["staff", "operators", "readers"],
    })
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

fn without(name: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(name);
    claims
}

/// A port that knows these keys of the issuer.
async fn port(keys: &[Value]) -> Port {
    Port::open(Access::Keys(keyring_of(rules(Some(&key_set(keys)))).0)).await
}

#[tokio::test]
async fn tokens_of_each_algorithm_count_by_the_key_that_they_name() {
    let signers = [Signer::rsa(), Signer::ec(), Signer::ed()];
    let keys: Vec<Value> = (0..).zip(&signers).map(|(at, signer): (usize, _)| signer.public(&at.to_string())).collect();
    let port = port(&keys).await;
    for (at, signer) in signers.iter().enumerate() {
        let id = at.to_string();
        let answer = port.who(&signer.token(Some(&id), &claims())).await;
        assert_eq!(answer.text, format!("token:ann of {ISSUER}"), "{answer:?}");
        // Without a name every key of its algorithm is tried.
        assert_eq!(port.who(&signer.token(None, &claims())).await.status, 200);
        let other = (at + 1) % signers.len();
        let misnamed = port.who(&signer.token(Some(&other.to_string()), &claims())).await;
        misnamed.check_problem(ProblemKind::Unauthenticated, "not known here");
    }
}

#[tokio::test]
async fn a_token_is_for_us_in_time_and_names_a_grant() {
    let signer = Signer::ed();
    let port = port(&[signer.public("k")]).await;
    let grants = |name: &str| with("groups", json!(name));
    for (claims, told) in [
        (claims(), None),
        (grants("readers"), None),
        (with("aud", json!(["other", "twofold"])), None),
        // Within the minute by which clocks may be apart.
        (with("exp", json!(NOW_SECONDS - 59)), None),
        (with("nbf", json!(NOW_SECONDS + 60)), None),
        (with("exp", json!(NOW_SECONDS as f64 + 0.5)), None),
        (with("exp", json!(NOW_SECONDS - 60)), Some("expired")),
        (with("nbf", json!(NOW_SECONDS + 61)), Some("not count yet")),
        (with("nbf", json!("soon")), Some("`nbf` is no number")),
        (with("exp", json!("never")), Some("exp")),
        (without("exp"), Some("exp")),
        (with("aud", json!("other")), Some("another audience")),
        (without("aud"), Some("aud")),
        (with("iss", json!("https://other.example")), Some("issuer")),
        (with("iss", json!([ISSUER])), Some("no issuer")),
        (without("iss"), Some("no issuer")),
        (grants("staff"), Some("`groups`")),
        (with("groups", json!({ "readers": true })), Some("`groups`")),
        (without("groups"), Some("`groups`")),
    ] {
        let answer = port.who(&signer.token(Some("k"), &claims)).await;
        match told {
            None => assert_eq!(answer.status, 200, "{claims}: {answer:?}"),
            Some(told) => answer.check_problem(ProblemKind::Unauthenticated, told),
        }
    }
    // The first grant that is known counts: operators.
    assert_eq!(super::Answer::of(port.get("/operate").bearer_auth(signer.token(None, &claims()))).await.text, "done");
    // Another audience of the same issuer has another claim.
    let too = json!({ "iss": ISSUER, "aud": "twofold-too", "exp": NOW_SECONDS + 60, "role": "readers" });
    assert_eq!(port.who(&signer.token(None, &too)).await.text, format!("token: of {ISSUER}"));
}

#[tokio::test]
async fn a_token_that_was_tampered_with_counts_for_nothing() {
    let (rsa, ec, other) = (Signer::rsa(), Signer::ec(), Signer::ec());
    let port = port(&[rsa.public("r"), ec.public("e")]).await;
    let good = ec.token(Some("e"), &claims());
    let parts: Vec<&str> = good.split('.').collect();
    let header = |alg: &str| encode(json!({ "alg": alg, "kid": "e" }).to_string());
    let changed = encode(with("sub", json!("bob")).to_string());
    let strange = json!({ "alg": "ES256", "kid": "e", "crit": ["exp"] });
    for token in [
        format!("{}.{changed}.{}", parts[0], parts[2]),
        format!("{}.{}.", parts[0], parts[1]),
        format!("{}.{}.{}", header("none"), parts[1], parts[2]),
        format!("{}.{}.", header("none"), parts[1]),
        format!("{}.{}.{}", header("HS256"), parts[1], parts[2]),
        format!("{}.{}.{}", header("RS256"), parts[1], parts[2]),
        format!("{good}.{}", parts[2]),
        format!("{}.{}", parts[0], parts[1]),
        other.token(Some("e"), &claims()),
        other.token(None, &claims()),
        rsa.token(Some("e"), &claims()),
        ec.sign(&strange, &claims()),
        format!("{good}{}", "A".repeat(20_000)),
    ] {
        port.who(&token).await.check_problem(ProblemKind::Unauthenticated, "detail");
    }
    assert_eq!(port.who(&good).await.status, 200);
}

#[test]
fn keys_that_no_token_can_be_checked_with_are_passed_over() {
    let good = Signer::ed().public("k");
    let (mut for_secrets, mut of_other_use) = (Signer::rsa().public("s"), Signer::rsa().public("o"));
    for_secrets["use"] = json!("enc");
    of_other_use["alg"] = json!("PS256");
    let shared = json!({ "kty": "oct", "k": "AAAA", "kid": "h" });
    let unknown = json!({ "kty": "OKP", "crv": "X25519", "x": "AAAA" });
    let useless = [for_secrets, of_other_use, shared, unknown, json!(5)];
    assert!(KeySet::read(&key_set(&useless)).unwrap_err().contains("RS256"));
    assert!(KeySet::read(&key_set(&[useless.to_vec(), vec![good]].concat())).is_ok());
    for text in ["", "{}", "[]", r#"{"keys": {}}"#] {
        assert!(KeySet::read(text).unwrap_err().contains("not a JWKS"), "{text}");
    }
}

#[tokio::test]
async fn an_unknown_key_is_asked_for_once_and_waited_for() {
    let (before, after) = (Signer::ec(), Signer::ec());
    let (keyring, mut wanted) = keyring_of(rules(Some(&key_set(&[before.public("old")]))));
    let port = Port::open(Access::Keys(keyring.clone())).await;
    let token = after.token(Some("new"), &claims());
    let fetch = async {
        let question = wanted.recv().await.unwrap();
        assert_eq!(question.issuer, ISSUER);
        keyring.replace(rules(Some(&key_set(&[before.public("old"), after.public("new")]))));
        question.done.send(()).unwrap();
        // The same key once more is known now.
        wanted
    };
    let (answer, mut wanted) = tokio::join!(port.who(&token), fetch);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(port.who(&token).await.status, 200);
    assert!(wanted.try_recv().is_err(), "nobody asks for what is there");
    // Nothing more is done for the question: the token is refused.
    let unknown = before.token(Some("newer"), &claims());
    let drop_it = async { drop(wanted.recv().await.unwrap()) };
    let (refused, ()) = tokio::join!(port.who(&unknown), drop_it);
    refused.check_problem(ProblemKind::Unauthenticated, "a key that is not known here");
}

#[tokio::test]
async fn without_the_keys_of_an_issuer_its_tokens_wait() {
    let port = Port::open(Access::Keys(keyring_of(rules(None)).0)).await;
    let answer = port.who(&Signer::ed().token(Some("k"), &claims())).await;
    answer.check_problem(ProblemKind::Unavailable, ISSUER);
    assert_eq!(answer.header("retry-after"), Some("5"));
}

#[tokio::test]
async fn a_name_that_others_chose_is_one_word_in_a_log() {
    let signer = Signer::ec();
    let port = port(&[signer.public("1")]).await;
    let subject = "a\r\nroot\u{1b}[31m \u{2028}\u{202e}\u{200b}\u{85}b@x.example M\u{fc}ller";
    let answer = port.who(&signer.token(Some("1"), &with("sub", json!(subject)))).await;
    assert_eq!(answer.text, format!("token:aroot[31m b@x.example M\u{fc}ller of {ISSUER}"));
}
