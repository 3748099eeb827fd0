//! CREATE EXTERNAL TABLE: a small CSV or JSON file whose content is part of the definitions that join it.
//!
//! CSV: the first line names the columns in their declared order unless `has_header` is 'false'; an empty field is
//! null. JSON: one object a line. Not here: reading the file; the caller hands in its bytes.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::csv;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::json;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use datafusion::datasource::MemTable;
use datafusion::sql::parser::CreateExternalTable;
use sha2::{Digest, Sha256};

use super::columns::read_columns;
use super::findings::Findings;
use super::options::{OptionValue, table_options};
use super::statements::Located;
use super::tables::{StaticTable, refuse_clauses};
use crate::declared::{default_of, holds_json};
use crate::source::ColumnMapping;
use crate::sql_name::in_sql_words;

/// The largest file of a static table: it is kept in memory by every process and hashed at each start.
pub const MAX_STATIC_BYTES: usize = 64 << 20;

/// The option that says that several rows of a key are meant.
const SEVERAL_ROWS: &str = "several_rows";

/// Reads a static table; `None` if anything is wrong with it.
pub(super) fn read_static(
    name: &str,
    table: &CreateExternalTable,
    statement: &Located,
    files: &BTreeMap<String, Bytes>,
    findings: &mut Findings,
) -> Option<StaticTable> {
    let before = findings.len();
    refuse_clauses(table, statement, findings);
    let is_csv = table.file_type.eq_ignore_ascii_case("csv");
    if !is_csv && !table.file_type.eq_ignore_ascii_case("json") {
        let line = statement.line_of(&table.file_type);
        findings.add(line, &table.file_type, "a static table is CSV or JSON", "write STORED AS CSV or STORED AS JSON");
    }
    let known: &[&str] = if is_csv { &["has_header", "delimiter", SEVERAL_ROWS] } else { &[SEVERAL_ROWS] };
    let settings = table_options(table, known, statement, findings);
    let layout = csv_layout(&settings, findings);
    let several = settings.iter().find(|setting| setting.name == SEVERAL_ROWS);
    let has_several_rows = several.and_then(|setting| setting.truth(findings)).unwrap_or(false);
    let location = checked_location(table, statement, findings);
    let columns = read_columns(&table.columns, statement, findings)?;
    if columns.mapping.iter().any(|mapping| *mapping != ColumnMapping::default()) {
        let hint = "name the columns as the file does, and leave their OPTIONS out";
        findings.add(statement.line, &statement.head(), "columns of a static table have no options", hint);
    }
    let schema: SchemaRef = Arc::new(columns.schema);
    refuse_columns_of_sources(&schema, statement, findings);
    let location = location?;
    let line = statement.line_of(&location);
    let Some(bytes) = files.get(&location) else {
        let hint = "put the file beside the pipeline file, or in a folder below it";
        findings.add(line, &location, "this file does not exist", hint);
        return None;
    };
    if bytes.len() > MAX_STATIC_BYTES {
        let hint = "load it as events, or keep only the columns that views need";
        findings.add(line, &location, format!("this file has more than {MAX_STATIC_BYTES} bytes"), hint);
        return None;
    }
    if findings.len() > before {
        return None;
    }
    let nullable = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    let nullable: SchemaRef = Arc::new(Schema::new(nullable.collect::<Vec<_>>()));
    let text = without_mark(bytes);
    let rows = if is_csv { read_csv(text, &nullable, layout) } else { read_json(text, &nullable) };
    let rows = rows.and_then(|rows| without_nulls(rows, &schema));
    let table = rows.and_then(|batches| {
        let rows = MemTable::try_new(Arc::clone(&schema), vec![batches.clone()]).map_err(|error| error.to_string())?;
        Ok((Arc::new(rows), batches))
    });
    match table {
        Ok((rows, batches)) => {
            let digest = Sha256::digest(bytes).into();
            Some(StaticTable { name: name.to_owned(), schema, rows, batches, digest, has_several_rows })
        }
        Err(message) => {
            let hint = "make the file fit the declared columns";
            let message = format!("this file cannot be read: {}", in_sql_words(&message));
            findings.add(line, &location, message, hint);
            None
        }
    }
}

/// What only events have, since they come without anybody who could fill them in.
fn refuse_columns_of_sources(schema: &Schema, statement: &Located, findings: &mut Findings) {
    for field in schema.fields() {
        let line = statement.line_of(field.name());
        if default_of(field).is_some() {
            let hint = "write the value into the file, or coalesce(column, value) in the view";
            findings.add(line, field.name(), "a column of a static table has no DEFAULT", hint);
        }
        if holds_json(field) {
            let hint = "declare it VARCHAR and keep the JSON in quotes: json_get_str and its like read any text";
            findings.add(line, field.name(), "a column of a static table cannot be JSON", hint);
        }
    }
}

/// The location of a static table, if it lies in the folder of the pipeline file.
pub(super) fn checked_location(
    table: &CreateExternalTable,
    statement: &Located,
    findings: &mut Findings,
) -> Option<String> {
    let location = table.locations.first()?;
    let line = statement.line_of(location);
    if location.starts_with("kafka://") {
        let hint = "write CREATE UNBOUNDED EXTERNAL TABLE for an event stream";
        findings.add(line, location, "a topic is not a static table", hint);
        return None;
    }
    let is_inside = !location.is_empty()
        && !location.contains("://")
        && !location.contains(['\\', '\0', ':'])
        && location.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
    if !is_inside || table.locations.len() != 1 {
        let hint = "name one file by its path from the folder of the pipeline file, without `..`";
        findings.add(line, location, "this file lies outside the folder of the pipeline file", hint);
        return None;
    }
    Some(location.clone())
}

#[derive(Clone, Copy)]
struct CsvLayout {
    has_header: bool,
    delimiter: u8,
}

fn csv_layout(settings: &[OptionValue], findings: &mut Findings) -> CsvLayout {
    let mut layout = CsvLayout { has_header: true, delimiter: b',' };
    for setting in settings {
        match (setting.name.as_str(), setting.value.to_lowercase().as_str()) {
            (SEVERAL_ROWS, _) => {}
            ("has_header", _) => layout.has_header = setting.truth(findings).unwrap_or(layout.has_header),
            (_, "\\t") => layout.delimiter = b'\t',
            (_, text) => match text.as_bytes() {
                [byte] if byte.is_ascii() && *byte != b'"' => layout.delimiter = *byte,
                _ => setting.refuse("one ASCII character, for example ';'", findings),
            },
        }
    }
    layout
}

/// The text behind the byte order mark that some editors begin a file with.
fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

/// The rows under their declared schema, unless a value is missing where it must not: told by row, since the reader
/// would tell the column alone.
fn without_nulls(batches: Vec<RecordBatch>, schema: &SchemaRef) -> Result<Vec<RecordBatch>, String> {
    let mut before = 0;
    for batch in &batches {
        for (field, column) in schema.fields().iter().zip(batch.columns()).filter(|(field, _)| !field.is_nullable()) {
            if let Some(row) = (0..column.len()).find(|row| column.is_null(*row)) {
                return Err(format!("row {} has no value for {}, which is NOT NULL", before + row + 1, field.name()));
            }
        }
        before += batch.num_rows();
    }
    let declared = |batch: RecordBatch| RecordBatch::try_new(Arc::clone(schema), batch.columns().to_vec());
    batches.into_iter().map(|batch| declared(batch).map_err(|error| error.to_string())).collect()
}

fn read_csv(bytes: &[u8], schema: &SchemaRef, layout: CsvLayout) -> Result<Vec<RecordBatch>, String> {
    let format = csv::reader::Format::default().with_header(layout.has_header).with_delimiter(layout.delimiter);
    if layout.has_header {
        let (found, _) = format.infer_schema(Cursor::new(bytes), Some(0)).map_err(|error| error.to_string())?;
        let found: Vec<&str> = found.fields().iter().map(|field| field.name().trim()).collect();
        let declared: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        if found != declared {
            return Err(format!("its header is {}, declared are {}", found.join(", "), declared.join(", ")));
        }
    }
    let reader = csv::ReaderBuilder::new(texts_of(schema.fields().iter())).with_format(format.clone());
    check_decimals(reader.build(Cursor::new(bytes)).map_err(|error| error.to_string())?, schema)?;
    let reader = csv::ReaderBuilder::new(Arc::clone(schema)).with_format(format);
    let reader = reader.build(Cursor::new(bytes)).map_err(|error| error.to_string())?;
    reader.collect::<Result<_, _>>().map_err(|error: ArrowError| count_from_one(&error.to_string()))
}

/// What the reader says of a value: it counts their lines from 0, and all others from 1.
fn count_from_one(told: &str) -> String {
    const LINE: &str = " at line ";
    let is_of_value = ["Error while parsing value", "Error parsing column"].iter().any(|start| told.contains(start));
    let parts = told.split_once(LINE).filter(|_| is_of_value);
    let parts = parts.and_then(|(before, rest)| {
        let behind = rest.trim_start_matches(|sign: char| sign.is_ascii_digit());
        let line: usize = rest[..rest.len() - behind.len()].parse().ok()?;
        Some((before, line + 1, behind))
    });
    parts.map_or_else(|| told.to_owned(), |(before, line, behind)| format!("{before}{LINE}{line}{behind}"))
}

fn read_json(bytes: &[u8], schema: &SchemaRef) -> Result<Vec<RecordBatch>, String> {
    check_whole_numbers(bytes, schema)?;
    let decimals: Vec<_> = schema.fields().iter().filter(|field| field.data_type().is_decimal()).collect();
    if !decimals.is_empty() {
        let reader = json::ReaderBuilder::new(texts_of(decimals.into_iter())).with_coerce_primitive(true);
        check_decimals(reader.build(Cursor::new(bytes)).map_err(|error| error.to_string())?, schema)?;
    }
    let reader = json::ReaderBuilder::new(Arc::clone(schema)).with_strict_mode(true);
    let reader = reader.build(Cursor::new(bytes)).map_err(|error| error.to_string())?;
    reader.collect::<Result<_, _>>().map_err(|error| error.to_string())
}

/// Refuses fractions where whole numbers are declared: the reader would cut them off without a word.
fn check_whole_numbers(bytes: &[u8], schema: &SchemaRef) -> Result<(), String> {
    let whole: Vec<_> = schema.fields().iter().filter(|field| field.data_type().is_integer()).collect();
    if whole.is_empty() {
        return Ok(());
    }
    let reader = json::ReaderBuilder::new(texts_of(whole.iter().copied())).with_coerce_primitive(true);
    let reader = reader.build(Cursor::new(bytes)).map_err(|error| error.to_string())?;
    let mut before = 0;
    for batch in reader {
        let batch = batch.map_err(|error| error.to_string())?;
        for (field, texts) in whole.iter().zip(batch.columns()) {
            let numbers = cast(texts, field.data_type()).map_err(|error| error.to_string())?;
            if let Some(row) = (0..texts.len()).find(|row| texts.is_valid(*row) && numbers.is_null(*row)) {
                let name = field.name();
                return Err(format!("row {}: {name} is no whole number that fits its type", before + row + 1));
            }
        }
        before += batch.num_rows();
    }
    Ok(())
}

/// The columns as texts, as they stand in the file.
fn texts_of<'a>(fields: impl Iterator<Item = &'a FieldRef>) -> SchemaRef {
    let texts = fields.map(|field| Field::new(field.name(), DataType::Utf8, true));
    Arc::new(Schema::new(texts.collect::<Vec<_>>()))
}

/// Refuses decimals of more digits than are declared, as in events: the readers would cut them off without a word.
fn check_decimals(
    texts: impl Iterator<Item = Result<RecordBatch, ArrowError>>,
    schema: &SchemaRef,
) -> Result<(), String> {
    let mut before = 0;
    for batch in texts {
        let batch = batch.map_err(|error| error.to_string())?;
        for field in schema.fields() {
            let DataType::Decimal128(_, scale) = field.data_type() else { continue };
            let Some(texts) = batch.column_by_name(field.name()) else { continue };
            let texts = texts.as_string::<i32>();
            if let Some(row) = texts.iter().position(|text| text.is_some_and(|text| is_cut_off(text, *scale))) {
                let name = field.name();
                return Err(format!("row {}: {name} has more than {scale} digits behind the point", before + row + 1));
            }
        }
        before += batch.num_rows();
    }
    Ok(())
}

/// Whether a number has other digits than zeros behind the places of `scale`.
fn is_cut_off(text: &str, scale: i8) -> bool {
    let (digits, exponent) = text.trim().split_once(['e', 'E']).unwrap_or((text.trim(), "0"));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let (whole, fraction) = (whole.trim_start_matches(['+', '-', '0']), fraction.trim_end_matches('0'));
    let places = match (whole.trim_end_matches('0'), fraction) {
        ("", "") => return false,
        (significant, "") => -i64::try_from(whole.len() - significant.len()).unwrap_or(0),
        _ => i64::try_from(fraction.len()).unwrap_or(i64::MAX),
    };
    // What is no exponent is told by the reader.
    places.saturating_sub(exponent.parse().unwrap_or(0)) > i64::from(scale)
}
