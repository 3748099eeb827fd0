//! Pipeline files: what is read from good ones, every finding in bad ones as a reader sees it, the ways out that hints
//! name, also where a name needs quotes, what the documentation shows, what a definition hash depends on, the catalogue
//! of aggregates, the order of operators, how two files differ, what two definitions of a view can be compared by, and
//! the words that types have everywhere.

mod catalogue;
mod changes;
mod comparable;
mod dialect;
mod difference;
mod documented;
mod examples;
mod findings;
mod fuzz;
mod good;
mod hashes;
mod quotes;
mod ways_out;
mod words;

use std::collections::BTreeMap;

use bytes::Bytes;
use views::Pipeline;

/// A source that most files here start with.
const EDITS: &str = "CREATE UNBOUNDED EXTERNAL TABLE edits (time TIMESTAMP NOT NULL, page VARCHAR, channel VARCHAR, \
                     \"user\" VARCHAR, added BIGINT, deleted BIGINT) STORED AS JSON LOCATION 'kafka://edits' \
                     OPTIONS (event_time 'time');\n";

fn no_files() -> BTreeMap<String, Bytes> {
    BTreeMap::new()
}

fn files(files: &[(&str, &'static str)]) -> BTreeMap<String, Bytes> {
    files.iter().map(|(name, text)| (name.to_string(), Bytes::from_static(text.as_bytes()))).collect()
}

/// Reads a file that is right.
fn read(sql: &str) -> Pipeline {
    Pipeline::read(sql, &no_files()).unwrap_or_else(|error| panic!("{error}"))
}

/// The source `edits` and one view over it that is right.
fn edits_view(view: &str) -> Pipeline {
    read(&format!("{EDITS}{view}"))
}
