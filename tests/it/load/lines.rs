//! JSON lines and pieces: every line once, in order, within the limits, whatever the stream.

use std::io::Cursor;

use rand::Rng;
use twofold::load::chunk::Chunks;
use twofold::load::event::{Event, Place};

use super::{Trickle, read, read_within, try_read};
use crate::collector::gzip;
use crate::support::seeds::for_each_seed;

#[test]
fn lines_end_as_editors_end_them() {
    let expected = ["line 1: {\"a\":1}", "line 3: {\"a\":2}", "line 5: {\"a\":3}"];
    assert_eq!(read("{\"a\":1}\n\n{\"a\":2}\n  \n{\"a\":3}\n"), expected);
    assert_eq!(read("\u{feff}{\"a\":1}\r\n\r\n{\"a\":2}\r\n\r\n{\"a\":3}"), expected);
    // What a line holds is for the collector to judge.
    assert_eq!(read("{\"a\":1}\nnull\n{]\n"), ["line 1: {\"a\":1}", "line 2: null", "line 3: {]"]);
}

#[test]
fn a_line_too_long_is_named_and_its_neighbours_kept() {
    let text = format!("{{\"a\":1}}\n{{}}\n{}\n{{}}\n{}", "x".repeat(1_000), "y".repeat(1_000));
    let too_long = |line| format!("line {line}: longer than 10 bytes, left out");
    let expected =
        ["line 1: {\"a\":1}".to_owned(), "line 2: {}".to_owned(), too_long(3), "line 4: {}".to_owned(), too_long(5)];
    assert_eq!(read_within(text, 10), expected);
}

/// Pieces as the places and texts of their events.
fn pieces(lines: &[&str], max_bytes: usize, max_events: usize) -> Vec<Vec<String>> {
    let events: Vec<_> = (1..)
        .zip(lines)
        .map(|(line, text)| Ok(Event { place: Place::Line(line), json: text.as_bytes().to_vec() }))
        .collect();
    let mut chunks = Chunks::new(Box::new(events.into_iter()), max_bytes);
    let mut found = Vec::new();
    while let Some(chunk) = chunks.next_chunk(max_events) {
        found.push(match chunk {
            Ok(events) => events.into_iter().map(|event| String::from_utf8(event.json).unwrap()).collect(),
            Err(error) => vec![error.to_string()],
        });
    }
    found
}

#[test]
fn pieces_hold_whole_events_within_both_limits() {
    let lines = ["{1}", "{2}", "{444}", "{5}"];
    assert_eq!(pieces(&lines, 100, 100), [lines]);
    assert_eq!(pieces(&lines, 100, 3), [&lines[..3], &lines[3..]]);
    assert_eq!(pieces(&lines, 8, 100), [&lines[..2], &lines[2..3], &lines[3..]]);
    assert_eq!(pieces(&lines, 100, 0), [&lines[..1], &lines[1..2], &lines[2..3], &lines[3..]]);
    assert_eq!(
        pieces(&lines, 5, 100),
        [&lines[..1], &lines[1..2], &["line 3: longer than 5 bytes, left out"][..], &lines[3..]]
    );
    assert!(pieces(&[], 10, 10).is_empty());
}

#[test]
fn any_stream_gives_every_line_once_in_order() {
    for_each_seed(300, |mut random| {
        let lines: Vec<String> = (0..random.random_range(0..60))
            .map(|line| format!("{{\"{}\":{line}}}", "z".repeat(random.random_range(0..40))))
            .collect();
        let end = if random.random() { "\r\n" } else { "\n" };
        let mut text = lines.join(end);
        if random.random() {
            text.push_str(end);
        }
        let bytes = if random.random() { gzip(&text) } else { text.into_bytes() };
        let stream = Trickle(Cursor::new(bytes), random.random_range(1..20));
        let events = try_read(stream, 1_000).unwrap().into_iter().map(Result::unwrap);
        let found: Vec<_> = events.map(|event| (event.place, String::from_utf8(event.json).unwrap())).collect();
        assert_eq!(found, (1..).map(Place::Line).zip(lines).collect::<Vec<_>>());
    });
}
