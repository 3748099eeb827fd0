//! Keys that may be meant for a column which a payload gives nothing: which come near, and which do not.

use std::collections::BTreeSet;

use ::records::decode::near_keys;
use arrow::datatypes::{DataType, Field};

use super::source_with;

const COLUMNS: [&str; 6] = ["user_id", "referrer", "line1", "ip", "color", "colors"];

/// The keys of a payload that come near to columns, each as `column: key`; only `missing` ones are asked for.
fn near(missing: &[&str], payload: impl AsRef<[u8]>) -> Vec<String> {
    let source = source_with(COLUMNS.map(|name| Field::new(name, DataType::Utf8, true)).to_vec());
    let place = |name: &&str| source.declared.index_of(name).unwrap();
    let wanted: BTreeSet<usize> = missing.iter().map(place).collect();
    let found = near_keys(&source, &wanted, payload.as_ref());
    found.into_iter().map(|(at, key)| format!("{}: {key}", source.declared.field(at).name())).collect()
}

/// An object with these keys, all of them null.
fn keys(keys: &[&str]) -> String {
    let members: Vec<String> = keys.iter().map(|key| format!("\"{key}\": null")).collect();
    format!("{{{}}}", members.join(", "))
}

#[test]
fn names_that_differ_in_marks_and_case_come_near() {
    for key in ["userId", "userID", "user-id", "user.id", "User Id", "USERID", "_user__id"] {
        assert_eq!(near(&COLUMNS, keys(&["time", key, "other"])), [format!("user_id: {key}")]);
    }
    assert_eq!(near(&COLUMNS, keys(&["i_p"])), ["ip: i_p"], "also short ones");
    assert_eq!(near(&COLUMNS, r#"{"user\u0049d": {"user_id": 1}}"#), ["user_id: userId"], "as the key is meant");
}

#[test]
fn of_keys_that_differ_in_case_alone_none_is_taken_and_all_are_told() {
    assert_eq!(near(&COLUMNS, keys(&["User_ID", "USER_id"])), ["user_id: USER_id", "user_id: User_ID"]);
    assert_eq!(near(&COLUMNS, keys(&["User_ID"])), [""; 0], "the only one is taken");
}

#[test]
fn a_letter_apart_is_near_in_long_names_and_a_digit_is_not() {
    for key in ["referer", "Refferrer", "re-ferrers"] {
        assert_eq!(near(&COLUMNS, keys(&[key])), [format!("referrer: {key}")]);
    }
    for key in ["refferer", "refer", "line2", "line12", "line", "ipv", "ic"] {
        assert_eq!(near(&COLUMNS, keys(&[key])), [""; 0], "{key}");
    }
}

#[test]
fn a_column_that_is_given_and_a_key_that_is_taken_do_not_count() {
    assert_eq!(near(&COLUMNS, keys(&["user_id", "userId"])), [""; 0], "given, if only as null");
    assert_eq!(near(&["color"], keys(&["colors"])), [""; 0], "it belongs to another column");
    assert_eq!(near(&["color"], keys(&["colour"])), ["color: colour"]);
    assert_eq!(near(&[], keys(&["userId"])), [""; 0], "nothing is asked for");
}

#[test]
fn whatever_the_bytes_the_answer_is_bounded() {
    for payload in ["", "[", "7", r#"["userId"]"#, r#"{"userId": }"#, r#"{"userId": 1"#, r#"{"userId"#] {
        assert_eq!(near(&COLUMNS, payload), [""; 0], "{payload}");
    }
    assert_eq!(near(&COLUMNS, b"{\"userId\": \"\xff\"}"), [""; 0]);
    assert_eq!(near(&COLUMNS, keys(&[&format!("user{}id", "_".repeat(300))])), [""; 0], "too long");
    assert_eq!(near(&COLUMNS, r#"{"user'id": 1, "user\"id": 1, "user\nid": 1}"#), [""; 0], "nobody writes such a path");
    let many: Vec<String> = (0..1_000).map(|number| format!("k{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).chain(["userId"]).collect();
    assert_eq!(near(&COLUMNS, keys(&many)), [""; 0], "beyond the keys that are looked at");
    assert_eq!(near(&COLUMNS, keys(&many[1..])), ["user_id: userId"]);
}
