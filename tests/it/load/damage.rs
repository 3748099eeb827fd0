//! Files of every kind that were damaged: named as what cannot be read, or read up to the damage; never the end of the
//! process, and where lines and rows stand apart, one of them costs itself alone.

use std::io::Cursor;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, ListArray, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::Int64Type;
use indicatif::ProgressBar;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use twofold::load::event::{Event, Place, ReadError};
use twofold::load::open::open_stream;

use super::columns::{arrow_of, arrow_stream_of, parquet_of};
use super::{Results, Trickle, bzip2, declared, read, try_read, zstd};
use crate::collector::gzip;
use crate::support::damage::damage;
use crate::support::seeds::{for_each_seed, seeds};

/// More rows than any file here has: what is damaged may claim any number.
const MOST_ROWS: usize = 10_000;

fn lines(count: usize) -> Vec<String> {
    (0..count).map(|number| format!(r#"{{"id":"e{number}","n":{number},"text":"{{ [ \" é"}}"#)).collect()
}

fn batch() -> RecordBatch {
    let time = TimestampMicrosecondArray::from(vec![1_769_860_799_500_000; 40]).with_timezone("+01:00");
    let lists = (0..40).map(|row| Some((0..row % 4).map(|item| Some(item as i64)).collect::<Vec<_>>()));
    let ids: StringArray = (0..40).map(|row| (row % 5 > 0).then(|| format!("e{row}"))).collect();
    RecordBatch::try_from_iter([
        ("id", Arc::new(ids) as ArrayRef),
        ("n", Arc::new(Int64Array::from_iter_values(0..40)) as ArrayRef),
        ("time", Arc::new(time) as ArrayRef),
        ("list", Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists)) as ArrayRef),
    ])
    .unwrap()
}

/// Whatever it holds, its events come in order, each on one line, and nothing comes behind its end.
fn check_order(results: &Results) {
    let number = |place: &Place| match place {
        Place::Line(number) | Place::Row(number) | Place::Element { number, .. } => *number,
    };
    let mut last = 0;
    for (at, result) in results.iter().enumerate() {
        let place = match result {
            Ok(Event { place, json }) => {
                assert!(!json.is_empty() && !json.contains(&b'\n'), "{place}: {json:?}");
                place
            }
            Err(ReadError::LeftOut { place, reason }) => {
                assert!(!reason.is_empty(), "{place}");
                place
            }
            Err(error) => {
                assert!(!error.to_string().is_empty() && at + 1 == results.len(), "{error} is not the end");
                return;
            }
        };
        // Rows may share a line, where a lone CR ends one.
        assert!(number(place) >= last, "{place} comes behind {last}");
        last = number(place);
    }
}

fn is_whole(results: &Results) -> bool {
    results.iter().all(Result::is_ok)
}

fn shown(results: Result<Results, String>) -> String {
    format!("{results:?}")
}

#[test]
fn damaged_text_is_read_alike_however_it_comes() {
    let csv = format!("id,time,n,is_new\n{}", "\"a \"\"b\"\"\",2026-01-31T12:00:00Z,1,true\r\n,,-2,\n".repeat(10));
    let array = format!("[\n{}\n]", lines(20).join(" ,\n  "));
    let texts = [lines(20).join("\n"), array, lines(20).join(""), csv, lines(20).join("\r\n\r\n")];
    for_each_seed(1_500, |mut random| {
        let pick = |random: &mut StdRng| texts[random.random_range(0..texts.len())].as_bytes();
        let (mut bytes, other) = (pick(&mut random).to_vec(), pick(&mut random));
        damage(&mut bytes, other, &mut random);
        let max_bytes = if random.random_bool(0.5) { 60 } else { 1_000_000 };
        let whole = try_read(Cursor::new(bytes.clone()), max_bytes);
        if let Ok(results) = &whole {
            check_order(results);
        }
        let at_a_time = random.random_range(1..50);
        let slowly = try_read(Trickle(Cursor::new(bytes), at_a_time), max_bytes);
        assert_eq!(shown(whole), shown(slowly), "{at_a_time} bytes at a time");
    });
}

#[test]
fn a_damaged_line_or_row_costs_itself_alone() {
    let of_lines = lines(12);
    let header = std::iter::once("id,n".to_owned());
    let rows: Vec<String> = header.chain((0..12).map(|row| format!("e{row},{row}"))).collect();
    for_each_seed(1_000, |mut random| {
        for (texts, is_csv) in [(&of_lines, false), (&rows, true)] {
            // The first line tells what the file is.
            let at = random.random_range(1..texts.len());
            let mut damaged = texts[at].clone().into_bytes();
            damage(&mut damaged, texts[1].as_bytes(), &mut random);
            // Neither another line nor a text that spans lines; a table with control characters is none.
            damaged.retain(|byte| !(b"\r\n\"".contains(byte) || is_csv && *byte < b' '));
            let mut file: Vec<&[u8]> = texts.iter().map(|line| line.as_bytes()).collect();
            file[at] = &damaged;
            let of_damaged = format!("line {}: ", at + 1);
            let mut found = read(file.join(&b'\n'));
            let mut whole = read(texts.join("\n"));
            for lines in [&mut found, &mut whole] {
                lines.retain(|line| !line.starts_with(&of_damaged));
            }
            assert_eq!(found, whole, "{}", String::from_utf8_lossy(&damaged));
        }
    });
}

/// Whether the head of a stream is still that of packed data.
fn is_packed(bytes: &[u8]) -> bool {
    let opened = open_stream(Box::new(Cursor::new(bytes.to_vec())), &ProgressBar::hidden());
    opened.is_ok_and(|opened| opened.compression.is_some())
}

#[test]
fn a_damaged_packed_file_is_not_read_as_whole_without_being_it() {
    let text = lines(300).join("\n");
    let whole = shown(try_read(Cursor::new(text.clone()), 1_000_000));
    let packed = [gzip(&text), bzip2(&text), zstd(&text)];
    for_each_seed(1_000, |mut random| {
        let kind = random.random_range(0..packed.len());
        let mut bytes = packed[kind].clone();
        damage(&mut bytes, &packed[(kind + 1) % packed.len()], &mut random);
        let has_checksum = kind < 2 && is_packed(&bytes);
        let Ok(results) = try_read(Cursor::new(bytes), 1_000_000) else { return };
        check_order(&results);
        if has_checksum && is_whole(&results) {
            assert_eq!(shown(Ok(results)), whole);
        }
    });
}

/// Of a file whose end was cut off, all that comes are its first events.
#[test]
fn a_torn_packed_file_gives_a_beginning_of_its_events() {
    let text = lines(2_000).join("\n");
    let expected = read(text.clone());
    for packed in [gzip(&text), bzip2(&text), zstd(&text)] {
        for seed in seeds(40) {
            let length = StdRng::seed_from_u64(seed).random_range(20..packed.len());
            let results = read(&packed[..length]);
            let (end, before) = results.split_last().unwrap();
            assert!(end.starts_with("reading failed "), "TWOFOLD_SEED={seed}: {end}");
            assert_eq!(before, &expected[..before.len()], "TWOFOLD_SEED={seed}");
        }
    }
}

#[test]
fn a_damaged_file_of_columns_is_refused_or_ends() {
    let batches = [batch(), batch()];
    let files = [parquet_of(&batches), arrow_of(&batches), arrow_stream_of(&batches)];
    for_each_seed(1_000, |mut random| {
        let kind = random.random_range(0..files.len());
        let mut bytes = files[kind].clone();
        damage(&mut bytes, &files[random.random_range(0..files.len())], &mut random);
        let opened = open_stream(Box::new(Cursor::new(bytes)), &ProgressBar::hidden());
        match opened.and_then(|opened| opened.events(&declared(), 1_000_000)) {
            Ok(events) => check_order(&events.take(MOST_ROWS).collect()),
            Err(error) => assert!(!format!("{error:#}").is_empty()),
        }
    });
}

/// The reader of Arrow files would make room for as much as the footer says, whatever memory there is.
#[test]
fn an_arrow_file_whose_footer_lies_about_a_block_is_refused() {
    let file = arrow_of(&[batch()]);
    let end = file.len() - 10;
    let footer = end - i32::from_le_bytes(file[end..end + 4].try_into().unwrap()) as usize;
    let mut lies = 0;
    // Wherever in the footer a length stands: its highest bytes say terabytes.
    for at in footer..end {
        let mut damaged = file.clone();
        damaged[at] ^= 0x40;
        let results = try_read(Cursor::new(damaged), 1_000_000);
        lies += usize::from(results.as_ref().is_err_and(|error| error.contains("a block that its footer names")));
        if let Ok(results) = results {
            check_order(&results);
        }
    }
    assert!(lies >= 8, "{lies} bytes of the footer are those of lengths");
}
