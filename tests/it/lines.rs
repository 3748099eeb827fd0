//! JSON lines in pieces: every line once, in order, within the limits, whatever the stream.

use std::io::{Cursor, Read};

use rand::Rng;
use twofold::load::lines::{Chunk, Chunks, LinesError};

use crate::collector::gzip;
use crate::support::seeds::for_each_seed;

/// Gives a few bytes at a time, as a pipe does.
struct Trickle<R>(R, usize);

impl<R: Read> Read for Trickle<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let most = buffer.len().min(self.1);
        self.0.read(&mut buffer[..most])
    }
}

fn chunks(bytes: impl AsRef<[u8]>, max_bytes: usize, max_lines: usize) -> Vec<Chunk> {
    Chunks::new(bytes.as_ref(), max_bytes, max_lines).map(Result::unwrap).collect()
}

#[test]
fn chunks_hold_whole_lines_within_both_limits() {
    let text = "{1}\n{2}\n\n{444}\n{5}";
    let of = |max_bytes, max_lines| -> Vec<(u64, usize, String)> {
        let shown = |chunk: Chunk| (chunk.first_line, chunk.lines, String::from_utf8(chunk.bytes.to_vec()).unwrap());
        chunks(text, max_bytes, max_lines).into_iter().map(shown).collect()
    };
    assert_eq!(of(100, 100), [(1, 5, text.to_owned())]);
    let by_two = [(1, 2, "{1}\n{2}\n".to_owned()), (3, 2, "\n{444}\n".to_owned()), (5, 1, "{5}".to_owned())];
    assert_eq!(of(100, 2), by_two);
    let by_bytes = [
        (1, 1, "{1}\n".to_owned()),
        (2, 2, "{2}\n\n".to_owned()),
        (4, 1, "{444}\n".to_owned()),
        (5, 1, "{5}".to_owned()),
    ];
    assert_eq!(of(6, 100), by_bytes);
    assert_eq!(chunks("", 10, 10), []);
    assert_eq!(chunks(gzip(""), 10, 10), []);
}

#[test]
fn a_line_too_long_is_named_and_its_neighbours_kept() {
    let text = format!("a\nb\n{}\nc\n{}", "x".repeat(1_000), "y".repeat(1_000));
    let results: Vec<_> = Chunks::new(text.as_bytes(), 10, 10).collect();
    let shown: Vec<String> = results
        .iter()
        .map(|result| match result {
            Ok(chunk) => format!("{}: {}", chunk.first_line, String::from_utf8_lossy(&chunk.bytes)),
            Err(error) => error.to_string(),
        })
        .collect();
    let too_long = |line| format!("line {line} is longer than 10 bytes and was left out");
    assert_eq!(shown, ["1: a\nb\n".to_owned(), too_long(3), "4: c\n".to_owned(), too_long(5)]);
}

#[test]
fn any_stream_gives_every_line_once_in_order() {
    for_each_seed(300, |mut random| {
        let lines: Vec<String> = (0..random.random_range(0..60))
            .map(|line| format!("{}{line}", "z".repeat(random.random_range(0..40))))
            .collect();
        let mut text = lines.join("\n");
        if random.random() {
            text.push('\n');
        }
        let bytes = if random.random() { gzip(&text) } else { text.clone().into_bytes() };
        let stream = Trickle(Cursor::new(bytes), random.random_range(1..20));
        let (max_bytes, max_lines) = (random.random_range(45..200), random.random_range(1..10));
        let mut whole = Vec::new();
        let mut next_line = 1;
        for chunk in Chunks::new(stream, max_bytes, max_lines) {
            let chunk = chunk.unwrap();
            assert!(chunk.bytes.len() <= max_bytes && (1..=max_lines).contains(&chunk.lines));
            assert_eq!(chunk.first_line, next_line);
            next_line += chunk.lines as u64;
            whole.extend_from_slice(&chunk.bytes);
        }
        assert_eq!(String::from_utf8(whole).unwrap(), text);
    });
}

#[test]
fn a_torn_gzip_ends_with_an_error_after_what_was_whole() {
    let text = "line\n".repeat(100_000);
    let packed = gzip(&text);
    let results: Vec<_> = Chunks::new(&packed[..packed.len() - 4], 1_000, 1_000).collect();
    let (last, before) = results.split_last().unwrap();
    assert!(matches!(last, Err(LinesError::Read { line: 100_000, .. })), "{last:?}");
    assert!(before.iter().all(Result::is_ok));
}
