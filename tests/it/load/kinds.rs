//! What a file is, told by its first bytes: each kind that is read, and each other one by its name.

use std::io::Cursor;

use indicatif::ProgressBar;
use twofold::load::open::open_stream;

use super::{bzip2, read, refusal, zstd};
use crate::collector::gzip;

fn kind(bytes: impl Into<Vec<u8>>) -> String {
    open_stream(Box::new(Cursor::new(bytes.into())), &ProgressBar::hidden()).unwrap().describe()
}

#[test]
fn text_is_told_by_how_its_first_object_stands() {
    let lines = "JSON lines";
    let objects = "JSON objects and arrays";
    let long = "x".repeat(100_000);
    for (text, expected) in [
        ("", lines),
        (" \n\n", lines),
        ("{\"a\":1}\n{\"a\":2}\n", lines),
        ("\u{feff}{\"a\":1}\r\n{\"a\":2}", lines),
        // A broken first line costs itself alone.
        ("{\"a\":1,\n{\"a\":2}\n", lines),
        ("\"a\":1}\n{\"a\":2}\n", lines),
        ("started, at noon\n{\"a\":2}\n", lines),
        ("{\"a\":1} and more\n{\"a\":2}\n", lines),
        (format!("{{\"a\":\"{long}\"}}\n{{\"a\":2}}\n").as_str(), lines),
        ("[{\"a\":1}]", objects),
        ("\u{1e}{\"a\":1}\n\u{1e}{\"a\":2}\n", objects),
        ("[\n  {\n    \"a\": 1\n  }\n]\n", objects),
        ("\u{feff} \n[]", objects),
        ("{\n  \"a\": 1\n}\n{\n  \"a\": 2\n}\n", objects),
        ("{ \"a\": 1,\r\n  \"b\": 2 }\r\n", objects),
        ("{\"a\":1}{\"a\":2}", objects),
        ("{\"a\":1} {\"a\":2}\n", objects),
        (format!("{{\n  \"a\": \"{long}\"\n}}\n").as_str(), objects),
        ("id,time\r\n1,2026-01-01\r\n", "CSV"),
        ("\u{feff}\"id\",\"ti;me\"\n", "CSV"),
        (",id,n\n0,a,1\n", "CSV"),
        ("id;time;n\n1;2;1,5\n", "CSV with semicolons"),
        ("id\ttime\n1\t2\n", "CSV with tabs"),
        // As some binary files begin.
        ("ORCID,PARENT\n1,2\n", "CSV"),
        ("PAR1,PAR2\n1,2\n", "CSV"),
        ("RIFF;n\n1;2\n", "CSV with semicolons"),
    ] {
        let begin: String = text.chars().take(60).collect();
        assert_eq!(kind(text), expected, "{begin:?}");
        assert_eq!(kind(gzip(text)), format!("{expected} in gzip"), "{begin:?}");
    }
}

#[test]
fn packed_text_is_read_whatever_packs_it() {
    let lines = "{\"a\":1}\n{\"a\":2}";
    let (first, second) = ("{\"a\":1}\n", "{\"a\":2}");
    let expected = ["line 1: {\"a\":1}", "line 2: {\"a\":2}"];
    for (bytes, name) in [
        (gzip(lines), "gzip"),
        (zstd(lines), "zstd"),
        (bzip2(lines), "bzip2"),
        // Members and frames one behind the other, as appending and parallel packers leave them.
        ([gzip(first), gzip(second)].concat(), "gzip"),
        ([zstd(first), zstd(second)].concat(), "zstd"),
        ([bzip2(first), bzip2(second)].concat(), "bzip2"),
    ] {
        assert_eq!(kind(bytes.clone()), format!("JSON lines in {name}"));
        assert_eq!(read(bytes), expected, "{name}");
    }
    for empty in [gzip(""), zstd(""), bzip2("")] {
        assert!(read(empty).is_empty());
    }
    let csv = "id,n\na,1\n";
    for bytes in [gzip(csv), zstd(csv), bzip2(csv)] {
        assert_eq!(read(bytes), ["line 2: {\"id\":\"a\",\"n\":1}"]);
    }
    let array = "[{\"a\":1},\n{\"a\":2}]";
    for bytes in [gzip(array), zstd(array), bzip2(array)] {
        assert_eq!(read(bytes), ["element 1 (line 1): {\"a\":1}", "element 2 (line 2): {\"a\":2}"]);
    }
}

#[test]
fn a_torn_stream_ends_with_an_error_after_what_was_whole() {
    let text = (0..50_000).map(|line| format!("{{\"line\":{line}}}\n")).collect::<String>();
    for packed in [gzip(&text), zstd(&text), bzip2(&text)] {
        let results = read(&packed[..packed.len() - 4]);
        let (last, whole) = results.split_last().unwrap();
        let expected = match whole.len() {
            0 => "reading failed before the first event: ".to_owned(),
            lines => format!("reading failed after line {lines}: "),
        };
        assert!(last.starts_with(&expected), "{last}");
    }
    // The head alone is torn.
    let results = read(&gzip("{}\n")[..5]);
    assert!(
        matches!(&results[..], [error] if error.starts_with("reading failed before the first event")),
        "{results:?}"
    );
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

#[test]
fn what_cannot_be_read_is_named_beside_what_can() {
    let mut tar = vec![b'a'; 512];
    tar[257..262].copy_from_slice(b"ustar");
    for (bytes, name) in [
        (b"\x89PNG\r\n\x1a\n".to_vec(), "an image (PNG)"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF".to_vec(), "an image (JPEG)"),
        (b"GIF89a\x01\0\x01\0".to_vec(), "an image (GIF)"),
        (b"PK\x03\x04\x14\0\0\0notes.txt".to_vec(), "a zip archive (unpack it first)"),
        (b"PK\x03\x04\x14\0[Content_Types].xml".to_vec(), "an Excel workbook or another Office document (export it"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0".to_vec(), "a document of Microsoft Office"),
        ([b"\xff\xfe".to_vec(), utf16("{\"a\":1}")].concat(), "text in UTF-16 (convert it first"),
        (utf16("{\"a\":1}\n"), "text in UTF-16"),
        (b"\xff\xfe\0\0{\0\0\0".to_vec(), "text in UTF-32"),
        (b"%PDF-1.7\n%\x01\x02".to_vec(), "a PDF document"),
        (b"\xfd7zXZ\0\0".to_vec(), "a file packed with xz (unpack it and pipe it in"),
        (b"\x04\x22\x4d\x18d@".to_vec(), "a file packed with lz4"),
        (b"Obj\x01\x04\x14avro.codec".to_vec(), "an Avro file"),
        (b"ORC\x00\x01".to_vec(), "an ORC file"),
        (b"SQLite format 3\0".to_vec(), "an SQLite database"),
        (tar.clone(), "a tar archive"),
        (gzip(&tar), "a tar archive"),
        (gzip(gzip("{}")), "packed twice (unpack it first)"),
        (zstd(bzip2("{}")), "packed twice (unpack it first)"),
        (b"<?xml version=\"1.0\"?>\n".to_vec(), "XML or HTML"),
        (b"\n <html>".to_vec(), "XML or HTML"),
        (b"dear diary\nit rained\n".to_vec(), "text that is neither JSON nor CSV"),
        (b"\x01\x02\x03,\x04".to_vec(), "data of an unknown kind"),
    ] {
        let error = refusal(bytes);
        assert!(error.contains(&format!("it is {name}")), "{name}: {error}");
        assert!(
            error.contains("what is read: JSON lines, JSON objects and arrays, CSV") && error.contains("zstd"),
            "{error}"
        );
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}
