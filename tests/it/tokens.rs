//! Position tokens: what was encoded comes back, whatever else a client sends is refused with words or means one thing.

use positions::{Offset, PartitionId, PositionToken, SourceName};
use rand::Rng;
use rand::rngs::StdRng;

use crate::support::damage::damage;
use crate::support::seeds::for_each_seed;

fn token(random: &mut StdRng) -> PositionToken {
    let mut token = PositionToken::default();
    for _ in 0..random.random_range(0..6) {
        let source = ["edits", "Köln's \"hits\"", "", "\u{0}", "a.b"][random.random_range(0..5)];
        let offset = [0, 1, 17, i64::MAX, i64::MIN][random.random_range(0..5)];
        token.cover(&SourceName::new(source), PartitionId(random.random()), Offset(offset));
    }
    token
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Either one meaning, which its own text has again, or words.
fn check(text: &str) {
    match PositionToken::decode(text) {
        Ok(token) => {
            assert_eq!(PositionToken::decode(&token.encode()).unwrap(), token, "{text}");
            let mut twice = token.clone();
            twice.merge(&token);
            assert_eq!(twice, token, "{text}");
        }
        Err(error) => assert!(error.to_string().starts_with("not a position token: "), "{error}"),
    }
}

#[test]
fn a_token_comes_back_as_it_was_and_a_damaged_one_is_refused_or_means_one_thing() {
    for_each_seed(3_000, |mut random| {
        let (whole, other) = (token(&mut random), token(&mut random).encode());
        assert_eq!(PositionToken::decode(&whole.encode()).unwrap(), whole);
        // The text, and what it stands for.
        let mut text = whole.encode().into_bytes();
        damage(&mut text, other.as_bytes(), &mut random);
        check(&String::from_utf8_lossy(&text));
        let mut json = serde_json::to_vec(&whole).unwrap();
        damage(&mut json, br#"{"s":{"edits":{"0":[[[[-1e99,null,"\ud800"#, &mut random);
        check(&to_hex(&json));
    });
}

#[test]
fn a_token_that_is_nested_without_end_is_refused() {
    for part in ["[", "{\"s\":", "{\"s\":{\"edits\":{\"0\":["] {
        check(&to_hex(part.repeat(3_000).as_bytes()));
    }
}
