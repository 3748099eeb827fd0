//! CloudEvents in binary mode as one object: what their data become, and what never passes for an attribute.

use ::event_log::cloud_event::{is_structured, structured};
use serde_json::{Value, json};

/// The object of an event with an id.
#[track_caller]
fn object(content_type: Option<&str>, data: &[u8]) -> Value {
    let text = structured(vec![("specversion", "1.0"), ("id", "7")], content_type, data).unwrap();
    serde_json::from_slice(&text).unwrap()
}

#[test]
fn data_stand_in_the_object_as_their_type_says() {
    let xml = "<a b=\"c\">\n\u{fc}</a>";
    let cases: [(Option<&str>, &[u8], Value); 14] = [
        (Some("application/json"), br#"{"amount": 1.50}"#, json!({"data": {"amount": 1.50}})),
        (Some("Application/JSON; charset=utf-8"), b" [1] \n", json!({"data": [1]})),
        (Some("text/json"), b"7", json!({"data": 7})),
        (Some("application/vnd.shop+json"), b"\"text\"", json!({"data": "text"})),
        (Some("application/json"), b"\xef\xbb\xbfnull", json!({"data": null})),
        // Without a type they are JSON, as the format says.
        (None, b"true", json!({"data": true})),
        (Some(" "), b"true", json!({"data": true})),
        (Some("text/plain"), b"{\"not\": parsed", json!({"data": "{\"not\": parsed"})),
        (Some("application/xml"), xml.as_bytes(), json!({"data": xml})),
        (Some("image/svg+xml"), xml.as_bytes(), json!({"data": xml})),
        (Some("text/plain; charset=latin1"), b"\xfc", json!({"data_base64": "/A=="})),
        (Some("application/octet-stream"), b"\0\xff", json!({"data_base64": "AP8="})),
        (Some("nonsense"), b"{}", json!({"data_base64": "e30="})),
        (Some("application/json"), b"", json!({})),
    ];
    for (content_type, data, mut expected) in cases {
        expected["specversion"] = json!("1.0");
        expected["id"] = json!("7");
        if let Some(content_type) = content_type.filter(|content_type| *content_type != " ") {
            expected["datacontenttype"] = json!(content_type);
        }
        assert_eq!(object(content_type, data), expected, "{content_type:?}");
    }
}

#[test]
fn json_stands_there_as_it_was_written() {
    let text =
        structured(vec![("specversion", "1.0")], None, b"{\"amount\": 12.10, \"id\":\"\\u00fc\", \"id\": 1e400}");
    let expected = r#"{"specversion":"1.0","data":{"amount": 12.10, "id":"\u00fc", "id": 1e400}}"#;
    assert_eq!(text.unwrap(), expected.as_bytes());
}

#[test]
fn the_same_event_gives_the_same_bytes_in_whatever_order_its_attributes_come() {
    let attributes = [("type", "paid"), ("id", "a\"b\\\n\u{fc}"), ("source", "/shop"), ("specversion", "1.0")];
    let expected = "{\"datacontenttype\":\"text/plain\",\"id\":\"a\\\"b\\\\\\n\u{fc}\",\"source\":\"/shop\",\
                    \"specversion\":\"1.0\",\"type\":\"paid\",\"data\":\"x\"}";
    let mut reversed = attributes.to_vec();
    reversed.reverse();
    for attributes in [attributes.to_vec(), reversed] {
        assert_eq!(structured(attributes, Some("text/plain"), b"x").unwrap(), expected.as_bytes());
    }
    // Which of the two was meant nobody knows: the decoder is shown both.
    let doubled = structured(vec![("id", "8"), ("id", "7")], None, b"").unwrap();
    assert_eq!(doubled, r#"{"id":"8","id":"7"}"#.as_bytes());
}

#[test]
fn data_that_are_not_one_json_value_are_refused() {
    for data in [
        &b"{"[..],
        b"{} {}",
        // What would be an attribute, were it taken as it is.
        b"1,\"id\":\"8\"",
        b"1} , {\"id\":\"8\"",
        b"01",
        b"'text'",
        b"\"\xff\"",
        b" ",
    ] {
        for content_type in [Some("application/json"), None] {
            let error = structured(vec![("id", "7")], content_type, data).unwrap_err().to_string();
            assert!(error.contains("are not JSON") && error.contains(content_type.unwrap_or("the lack")), "{error}");
        }
    }
}

#[test]
fn the_type_tells_what_is_structured_already() {
    for content_type in [
        "application/cloudevents+json",
        "Application/CloudEvents+JSON; charset=utf-8",
        "application/cloudevents-batch+json",
        " application/cloudevents",
    ] {
        assert!(is_structured(content_type), "{content_type}");
    }
    for content_type in ["application/json", "", "text/application/cloudevents", "application/cloud", "\u{fc}\u{fc}"] {
        assert!(!is_structured(content_type), "{content_type}");
    }
}
