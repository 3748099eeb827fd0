//! JSON arrays and objects in whatever lines: each element once, and a broken one named by its place.

use std::io::Cursor;

use rand::Rng;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use super::{Trickle, read, read_within, try_read};
use crate::collector::gzip;
use crate::support::seeds::for_each_seed;

#[test]
fn elements_in_one_line_are_given_byte_for_byte() {
    assert_eq!(
        read(r#"[{"a": 1}, {"b":"],}\"{"} ,{}]"#),
        ["element 1 (line 1): {\"a\": 1}", r#"element 2 (line 1): {"b":"],}\"{"}"#, "element 3 (line 1): {}"]
    );
    assert_eq!(read(r#"{"a":1}{"a": [2, 3]}  {"a":4}"#).len(), 3);
    assert_eq!(read("\u{1e}{\"a\": 1}\n\u{1e}{\n\"a\": 2}\n").len(), 2);
    assert!(read("[]").is_empty() && read("[ ]\n[\n]").is_empty());
}

#[test]
fn elements_over_lines_become_one_line() {
    let array = "\u{feff}[\r\n  {\r\n    \"a\": \"x  y\",\r\n\r\n    \"b\": [\r\n      1\r\n    ]\r\n  },\r\n  {}\r\n]";
    assert_eq!(read(array), ["element 1 (line 2): { \"a\": \"x  y\", \"b\": [ 1 ] }", "element 2 (line 9): {}"]);
    let sequence = "{\n  \"a\": 1\n}\n{\n\t\"a\": 2\n}";
    assert_eq!(read(sequence), ["element 1 (line 1): { \"a\": 1 }", "element 2 (line 4): { \"a\": 2 }"]);
    // A line end parts what it parts in the file.
    assert_eq!(read("[{\"a\": 1\n2}]"), ["element 1 (line 1): {\"a\": 1 2}"]);
}

#[test]
fn arrays_may_follow_each_other_and_hold_what_is_no_object() {
    assert_eq!(
        read("[{\"a\":1}]\n[{\"a\":2},3, \"b\", null]\n"),
        [
            "element 1 (line 1): {\"a\":1}",
            "element 2 (line 2): {\"a\":2}",
            "element 3 (line 2): 3",
            "element 4 (line 2): \"b\"",
            "element 5 (line 2): null"
        ]
    );
    // Arrays inside of an array are its elements, for the collector to reject.
    assert_eq!(read("[[{\"a\":1}, {}], [2]]"), ["element 1 (line 1): [{\"a\":1}, {}]", "element 2 (line 1): [2]"]);
}

#[test]
fn a_comma_with_nothing_beside_it_is_named_and_costs_no_event() {
    let missing = |place| format!("{place}: nothing stands beside a comma of the array, left out");
    assert_eq!(
        read("[{\"a\":1},\n{\"a\":2},\n]"),
        [
            "element 1 (line 1): {\"a\":1}".to_owned(),
            "element 2 (line 2): {\"a\":2}".to_owned(),
            missing("element 3 (line 3)")
        ]
    );
    assert_eq!(read("[,{}]"), [missing("element 1 (line 1)"), "element 2 (line 1): {}".to_owned()]);
    assert_eq!(
        read("[{},,{}]"),
        ["element 1 (line 1): {}".to_owned(), missing("element 2 (line 1)"), "element 3 (line 1): {}".to_owned()]
    );
}

#[test]
fn a_broken_array_ends_where_it_is_broken() {
    for (text, end) in [
        (
            "[{\"a\":1},\n{\"a\":[2}, {}]",
            "element 2 (line 2) is broken: a bracket closes another one than was opened, at line 2",
        ),
        ("[{\"a\":1},\n{\"a\":\"2}, {}\n]", "element 2 (line 2) is broken: a text does not end in its line, at line 2"),
        ("[{\"a\":1},\n{\"a\":2", "the file ends inside of element 2 (line 2), at line 2"),
        ("[{\"a\":1},\n", "the file ends inside of an array, at line 2"),
        ("[{\"a\":1}\n}]", "`}` closes nothing, at line 2"),
    ] {
        let expected =
            ["element 1 (line 1): {\"a\":1}".to_owned(), format!("reading failed after element 1 (line 1): {end}")];
        assert_eq!(read(text), expected);
    }
    let deep = format!("[{{\"a\":1}},{}", "[".repeat(10_000));
    assert!(read(deep)[1].contains("nested too deep"));
}

#[test]
fn a_broken_object_among_others_costs_itself_alone() {
    let text = "{\n  \"a\": 1\n}\n{\n  \"a\": [1}\n}\n{\n  \"a\": \"2\n}\nrubbish\n{\n  \"a\": 3\n}\n";
    assert_eq!(
        read(text),
        [
            "element 1 (line 1): { \"a\": 1 }",
            "element 2 (line 4): a bracket closes another one than was opened, left out",
            "element 3 (line 7): a text does not end in its line, left out",
            "element 4 (line 11): { \"a\": 3 }"
        ]
    );
    assert_eq!(
        read("{\n}\nrubbish, \"and more\n{\n}\n{\n"),
        [
            "element 1 (line 1): { }",
            "element 2 (line 3): rubbish, \"and more",
            "element 3 (line 4): { }",
            "reading failed after element 3 (line 4): the file ends inside of element 4 (line 6), at line 7"
        ]
    );
}

#[test]
fn an_element_too_long_is_named_and_its_neighbours_kept() {
    let text = format!("[{{\"a\":1}},\n{{\"a\":\"{}\",\n\"b\":[{{}}]}},\n{{\"a\":2}}]", "x".repeat(100_000));
    assert_eq!(
        read_within(text, 20),
        [
            "element 1 (line 1): {\"a\":1}",
            "element 2 (line 2): longer than 20 bytes, left out",
            "element 3 (line 4): {\"a\":2}"
        ]
    );
}

#[test]
fn a_torn_array_names_the_last_whole_element() {
    let elements: Vec<String> = (0..20_000).map(|at| format!("{{\"a\":{at}}}")).collect();
    let packed = gzip(format!("[{}]", elements.join(",\n")));
    let results = read(&packed[..packed.len() - 9]);
    let (last, whole) = results.split_last().unwrap();
    let expected = format!("reading failed after element {0} (line {0}): ", whole.len());
    assert!(!whole.is_empty() && last.starts_with(&expected), "{last}");
}

fn value(random: &mut StdRng, depth: u32) -> Value {
    match random.random_range(0..if depth == 0 { 4 } else { 6 }) {
        0 => json!(null),
        1 => json!(random.random_range(-1_000_i64..1_000)),
        2 => json!(random.random::<bool>()),
        3 => {
            let letters: Vec<char> = "a{}[],:\"\\\n\u{e4} ".chars().collect();
            let length = random.random_range(0..8);
            json!((0..length).map(|_| letters[random.random_range(0..letters.len())]).collect::<String>())
        }
        4 => (0..random.random_range(0..4)).map(|_| value(random, depth - 1)).collect::<Vec<_>>().into(),
        _ => object(random, depth - 1),
    }
}

fn object(random: &mut StdRng, depth: u32) -> Value {
    // Never empty: an object in one line, and first, would say that all of them are.
    let members = (0..random.random_range(1..4)).map(|at| (format!("k{at}"), value(random, depth)));
    Value::Object(members.collect())
}

#[test]
fn any_objects_are_read_back_however_they_are_written() {
    for_each_seed(300, |mut random| {
        let objects: Vec<Value> = (0..random.random_range(1..20)).map(|_| object(&mut random, 3)).collect();
        let is_pretty: bool = random.random();
        let write = |value: &Value| if is_pretty { format!("{value:#}") } else { value.to_string() };
        let text = match random.random_range(0..4) {
            0 => write(&Value::Array(objects.clone())),
            1 => objects.iter().map(write).collect::<Vec<_>>().join("\r\n"),
            2 => objects.iter().map(write).collect::<String>(),
            // Several arrays, as pages of an answer that were put into one file.
            _ => objects.iter().map(|object| format!("[{}]\n", write(object))).collect(),
        };
        let stream = Trickle(Cursor::new(text.clone().into_bytes()), random.random_range(1..50));
        let events = try_read(stream, 1_000_000).unwrap().into_iter().map(Result::unwrap);
        let found: Vec<Value> = events
            .map(|event| {
                assert!(!event.json.contains(&b'\n'));
                serde_json::from_slice(&event.json).unwrap()
            })
            .collect();
        assert_eq!(found, objects, "{text}");
    });
}
