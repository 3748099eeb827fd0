//! CSV: what the fields of a row become, and rows that are none.

use super::{read, read_within, refusal};
use crate::collector::gzip;

/// The objects of rows under the header `id,time,n,is_new,extra`: text, timestamp, number, boolean, not declared.
fn objects(rows: &str) -> Vec<String> {
    let read = read(format!("id,time,n,is_new,extra\n{rows}"));
    read.into_iter().map(|line| line.split_once(": ").unwrap().1.to_owned()).collect()
}

#[test]
fn a_field_is_written_as_its_column_takes_it() {
    for (row, expected) in [
        // Whatever it looks like, a VARCHAR is a text.
        ("1,,,,", r#"{"id":"1"}"#),
        ("0012,,,,", r#"{"id":"0012"}"#),
        ("true,,,,", r#"{"id":"true"}"#),
        ("a,2026-01-31T12:00:00Z,,,", r#"{"id":"a","time":"2026-01-31T12:00:00Z"}"#),
        // Numbers are numbers, quoted or not, where a number is declared.
        ("a,,12,,", r#"{"id":"a","n":12}"#),
        ("a,,\"-12\",,", r#"{"id":"a","n":-12}"#),
        ("a,,1.5e+3,,", r#"{"id":"a","n":1.5e+3}"#),
        ("a,,012,,", r#"{"id":"a","n":"012"}"#),
        ("a,,1.,,", r#"{"id":"a","n":"1."}"#),
        ("a,,.5,,", r#"{"id":"a","n":".5"}"#),
        ("a,,1e,,", r#"{"id":"a","n":"1e"}"#),
        ("a,,-,,", r#"{"id":"a","n":"-"}"#),
        ("a,,NaN,,", r#"{"id":"a","n":"NaN"}"#),
        ("a,,,True,", r#"{"id":"a","is_new":true}"#),
        ("a,,,FALSE,", r#"{"id":"a","is_new":false}"#),
        ("a,,,yes,", r#"{"id":"a","is_new":"yes"}"#),
        // What nobody declared is judged by its look, and quotes make it a text.
        ("a,,,,12", r#"{"id":"a","extra":12}"#),
        ("a,,,,true", r#"{"id":"a","extra":true}"#),
        ("a,,,,True", r#"{"id":"a","extra":"True"}"#),
        ("a,,,,\"12\"", r#"{"id":"a","extra":"12"}"#),
        // An empty field is left out; an empty text is one.
        ("\"\",\"\",\"\",\"\",\"\"", r#"{"id":"","extra":""}"#),
        (",,,,", "{}"),
        ("\"a \"\"b\"\", c\\\",,,,\u{e4}", "{\"id\":\"a \\\"b\\\", c\\\\\",\"extra\":\"\u{e4}\"}"),
        ("\"a\nb\tc\",,,,", r#"{"id":"a\u000ab\u0009c"}"#),
    ] {
        assert_eq!(objects(row), [expected], "{row}");
    }
}

#[test]
fn rows_end_as_editors_end_them_and_are_known_by_their_first_line() {
    let expected = ["line 2: {\"id\":\"a\nb\",\"n\":1}", "line 5: {\"id\":\"c\",\"n\":2}"];
    let expected = expected.map(|line| line.replace('\n', "\\u000a"));
    assert_eq!(read("id,n\n\"a\nb\",1\n\nc,2\n"), expected);
    let expected = expected.map(|line| line.replace("\\u000a", "\\u000d\\u000a"));
    assert_eq!(read("\u{feff}id,n\r\n\"a\r\nb\",1\r\n\r\nc,2"), expected);
    assert_eq!(read("id; n ;\"x;y\"\na;1;z\n"), ["line 2: {\"id\":\"a\",\"n\":1,\"x;y\":\"z\"}"]);
    assert_eq!(read("id\tn\na,b\t1\n"), ["line 2: {\"id\":\"a,b\",\"n\":1}"]);
    // A column without a name, as some tools write row numbers, is left out.
    assert_eq!(read(",id,n\n0,a,1\n"), ["line 2: {\"id\":\"a\",\"n\":1}"]);
    assert!(read("id,n\n").is_empty() && read("id,n").is_empty());
}

#[test]
fn a_field_of_a_json_column_is_json_where_it_can_be() {
    for (field, expected) in [
        (r#""{""a"": [1, null]}""#, r#"{"doc":{"a": [1, null]}}"#),
        ("12.10", r#"{"doc":12.10}"#),
        ("null", r#"{"doc":null}"#),
        (r#""""text""""#, r#"{"doc":"text"}"#),
        ("text", r#"{"doc":"text"}"#),
        ("{a: 1}", r#"{"doc":"{a: 1}"}"#),
        ("\"{\n\"\"a\"\": 1\n}\"", r#"{"doc":{ "a": 1 }}"#),
        ("\"\"", "{}"),
    ] {
        // A second column, as an empty row is none.
        let read = read(format!("doc,n\n{field},\n"));
        assert_eq!(read, [format!("line 2: {expected}")], "{field}");
    }
}

#[test]
fn a_row_of_another_length_costs_itself_alone() {
    assert_eq!(
        read("id,n\na,1\nb\nc,2,3\nd,4\n"),
        [
            "line 2: {\"id\":\"a\",\"n\":1}",
            "line 3: 1 fields, where the header row has 2, left out",
            "line 4: 3 fields, where the header row has 2, left out",
            "line 5: {\"id\":\"d\",\"n\":4}"
        ]
    );
}

#[test]
fn bytes_that_are_no_text_are_passed_on_for_the_collector_to_reject() {
    assert_eq!(
        read(*b"id,n\ncaf\xe9,1\nb,2\n"),
        ["line 2: {\"id\":\"caf\u{fffd}\",\"n\":1}", "line 3: {\"id\":\"b\",\"n\":2}"]
    );
}

#[test]
fn a_quote_that_stays_open_ends_the_file_at_its_row() {
    let text = format!("id,n\na,1\n\"b,2\n{}", "c,3\n".repeat(10_000));
    let results = read_within(text, 1_000);
    assert_eq!(results[0], "line 2: {\"id\":\"a\",\"n\":1}");
    let end = "reading failed after line 2: the row at line 3 is longer than 1000 bytes: is a quote open in it?";
    assert_eq!(results[1..], [end]);
}

#[test]
fn a_header_must_name_each_key_once() {
    assert!(refusal("id,n,id\na,1,b\n").contains("names `id` twice"));
    assert!(refusal("1,2026-01-31,x\n2,2026-01-31,y\n").contains("the first row holds `1`"));
    assert!(refusal(*b"id,caf\xe9\na,1\n").contains("header row is not UTF-8"));
}

#[test]
fn a_torn_file_names_the_last_whole_row() {
    let packed = gzip(format!("id,n\n{}", (0..20_000).map(|at| format!("a{at},{at}\n")).collect::<String>()));
    let results = read(&packed[..packed.len() - 9]);
    let (last, whole) = results.split_last().unwrap();
    assert!(
        !whole.is_empty() && last.starts_with(&format!("reading failed after line {}: ", whole.len() + 1)),
        "{last}"
    );
}
