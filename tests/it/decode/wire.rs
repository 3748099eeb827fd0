//! Payloads that name their schema: what each type of Avro and Protobuf reads as, and what no payload can do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ::records::RecordsError;
use ::records::decode::reading_of;
use ::records::decode::wire::{Schema, SchemaKind, SchemaReference, Schemas, StoredSchema, Waiting, split_readable};
use apache_avro::types::Value as Avro;
use apache_avro::writer::datum::GenericDatumWriter;
use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use event_log::Record;
use positions::{Offset, PartitionId, SchemaId};
use protox::file::{File, FileResolver, GoogleFileResolver};
use protox::prost::Message;
use protox::prost_reflect::{DynamicMessage, MessageDescriptor};
use rand::Rng;
use serde_json::{Value, json};
use views::{SourceDefinition, SourceFormat};

use super::{decode_with, error, record, source_with};
use crate::support::seeds::for_each_seed;

fn avro(text: &str) -> StoredSchema {
    StoredSchema { kind: SchemaKind::Avro, text: text.to_owned(), references: Vec::new() }
}

fn protobuf(text: &str) -> StoredSchema {
    StoredSchema { kind: SchemaKind::Protobuf, text: text.to_owned(), references: Vec::new() }
}

/// A payload as serializers write it.
pub fn framed(id: u32, body: &[u8]) -> Vec<u8> {
    [[0].as_slice(), id.to_be_bytes().as_slice(), body].concat()
}

/// An Avro datum.
pub fn datum(schema: &str, value: Avro) -> Vec<u8> {
    let schema = apache_avro::Schema::parse_str(schema).unwrap();
    GenericDatumWriter::builder(&schema).build().unwrap().write_value_to_vec(value).unwrap()
}

/// The JSON text of a payload, or why there is none.
fn read(schema: &StoredSchema, body: &[u8]) -> Result<String, String> {
    let schema = Schema::parse(schema).unwrap();
    let payload = framed(1, body);
    schema.to_json(&payload).map(|text| text.into_owned()).map_err(|rejection| rejection.to_string())
}

#[track_caller]
fn check_refused(schema: &StoredSchema, body: &[u8], reason: &str) {
    let refused = read(schema, body).unwrap_err();
    assert!(refused.contains(reason), "`{refused}` lacks `{reason}`");
}

#[test]
fn every_type_of_avro_reads_as_its_json() {
    let logical = |on: &str, name: &str| json!({"type": on, "logicalType": name});
    let decimal = |bytes: &[u8]| Avro::Decimal(apache_avro::Decimal::from(bytes));
    let cents = json!({"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2});
    let fixed_cents =
        json!({"type": "fixed", "name": "f", "size": 8, "logicalType": "decimal", "precision": 9, "scale": 2});
    let whole = json!({"type": "bytes", "logicalType": "decimal", "precision": 50});
    let uuid = apache_avro::Uuid::parse_str("936da01f-9abd-4d9d-80c7-02af85c822a8").unwrap();
    let fixed_uuid = json!({"type": "fixed", "name": "u", "size": 16, "logicalType": "uuid"});
    let symbols = json!({"type": "enum", "name": "e", "symbols": ["A", "B"]});
    let pairs: Vec<(Value, Avro, &str)> = vec![
        (json!("null"), Avro::Null, "null"),
        (json!("boolean"), Avro::Boolean(true), "true"),
        (json!("int"), Avro::Int(-7), "-7"),
        (json!("long"), Avro::Long(i64::MIN), "-9223372036854775808"),
        (json!("float"), Avro::Float(0.1), "0.1"),
        (json!("double"), Avro::Double(1e300), "1e300"),
        (json!("double"), Avro::Double(f64::NEG_INFINITY), r#""-Infinity""#),
        (json!("bytes"), Avro::Bytes(vec![0, 255]), r#""AP8=""#),
        (json!("string"), Avro::String("a\"\n\\é".to_owned()), r#""a\"\u000a\\é""#),
        (json!({"type": "fixed", "name": "f", "size": 2}), Avro::Fixed(2, vec![0, 255]), r#""AP8=""#),
        (symbols, Avro::Enum(1, "B".to_owned()), r#""B""#),
        (logical("int", "date"), Avro::Date(20_484), r#""2026-01-31""#),
        (logical("long", "timestamp-millis"), Avro::TimestampMillis(-1), r#""1969-12-31T23:59:59.999Z""#),
        (
            logical("long", "timestamp-micros"),
            Avro::TimestampMicros(1_769_860_800_000_001),
            r#""2026-01-31T12:00:00.000001Z""#,
        ),
        (logical("long", "local-timestamp-millis"), Avro::LocalTimestampMillis(5), r#""1970-01-01T00:00:00.005""#),
        (logical("int", "time-millis"), Avro::TimeMillis(5), "5"),
        (cents.clone(), decimal(&1_234_i16.to_be_bytes()), "12.34"),
        (cents.clone(), decimal(&(-5_i8).to_be_bytes()), "-0.05"),
        (cents, decimal(&[0]), "0.00"),
        (fixed_cents, decimal(&(-1_234_i16).to_be_bytes()), "-12.34"),
        (whole, decimal(&i128::MIN.to_be_bytes()), "-170141183460469231731687303715884105728"),
        (logical("string", "uuid"), Avro::Uuid(uuid), r#""936da01f-9abd-4d9d-80c7-02af85c822a8""#),
        (fixed_uuid, Avro::Uuid(uuid), r#""936da01f-9abd-4d9d-80c7-02af85c822a8""#),
        (json!({"type": "array", "items": "int"}), Avro::Array(vec![Avro::Int(1), Avro::Int(2)]), "[1,2]"),
        (json!({"type": "map", "values": "int"}), Avro::Map([("a".to_owned(), Avro::Int(1))].into()), r#"{"a":1}"#),
        (json!(["null", "string"]), Avro::Union(1, Box::new(Avro::String("x".to_owned()))), r#""x""#),
        (json!(["null", "string"]), Avro::Union(0, Box::new(Avro::Null)), "null"),
    ];
    for (schema, value, expected) in pairs {
        let schema = schema.to_string();
        let body = datum(&schema, value);
        assert_eq!(read(&avro(&schema), &body).as_deref(), Ok(expected), "{schema}");
    }
}

const LIST: &str = r#"{"type": "record", "name": "Node", "namespace": "shop", "fields": [
    {"name": "n", "type": "int"}, {"name": "next", "type": ["null", "Node"]}]}"#;

#[test]
fn a_record_may_hold_its_own_kind_as_deep_as_json_may_be() {
    let node = |next: Option<Avro>| {
        let next = next.map_or(Avro::Union(0, Box::new(Avro::Null)), |next| Avro::Union(1, Box::new(next)));
        Avro::Record(vec![("n".to_owned(), Avro::Int(1)), ("next".to_owned(), next)])
    };
    let body = datum(LIST, node(Some(node(None))));
    assert_eq!(read(&avro(LIST), &body).as_deref(), Ok(r#"{"n":1,"next":{"n":1,"next":null}}"#));
    // A payload that would be a million records deep.
    check_refused(&avro(LIST), &[0, 2].repeat(500_000), "too deep");
    let endless = r#"{"type": "record", "name": "A", "fields": [{"name": "a", "type": "A"}]}"#;
    check_refused(&avro(endless), &[], "too deep");
}

#[test]
fn references_and_namespaces_lead_to_their_types() {
    let item = r#"{"type": "record", "name": "Item", "namespace": "shop", "fields": [
        {"name": "name", "type": "string"}]}"#;
    let order = r#"{"type": "record", "name": "shop.Order", "fields": [
        {"name": "first", "type": "Item"}, {"name": "second", "type": "shop.Item"}]}"#;
    let references = vec![SchemaReference { name: "shop.Item".to_owned(), text: item.to_owned() }];
    let schema = StoredSchema { references, ..avro(order) };
    let expected = r#"{"first":{"name":"a"},"second":{"name":"b"}}"#;
    assert_eq!(read(&schema, &[2, b'a', 2, b'b']).as_deref(), Ok(expected));
    for (text, reason) in [
        (order, "Item"),
        ("{", "no JSON"),
        (r#"{"type": "record", "name": "A"}"#, "fields"),
        (r#"[["null"]]"#, "union"),
        ("7", "no type"),
    ] {
        let refused = Schema::parse(&avro(text)).unwrap_err();
        assert!(refused.contains(reason), "{text}: {refused}");
    }
}

#[test]
fn avro_that_lies_about_its_sizes_is_rejected_where_it_stands() {
    let longest = [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    check_refused(&avro(r#"{"type": "array", "items": "null"}"#), &longest, "too large");
    check_refused(&avro(r#"{"type": "map", "values": "null"}"#), &longest, "should follow");
    check_refused(&avro(r#""bytes""#), &longest, "should follow");
    check_refused(&avro(r#""bytes""#), &[1], "no length");
    check_refused(&avro(r#""long""#), &[0xff; 11], "more than ten bytes");
    check_refused(&avro(r#""string""#), &[2, 0xff], "not UTF-8");
    check_refused(&avro(r#""boolean""#), &[7], "byte 6");
    check_refused(&avro(r#"["null", "int"]"#), &[18], "no branch 9");
    check_refused(&avro(r#"{"type": "enum", "name": "e", "symbols": ["A"]}"#), &[2], "no symbol 1");
    check_refused(&avro(r#""int""#), &[2, 0], "1 bytes are left");
    check_refused(&avro(r#""int""#), &[], "should follow");
    let half: Vec<u8> = vec![0x80, 0x80, 0x40];
    let text = vec![b'a'; 524_288];
    let twice = [half.clone(), text.clone(), half, text].concat();
    let two = r#"{"type": "record", "name": "A", "fields": [
        {"name": "a", "type": "string"}, {"name": "b", "type": "string"}]}"#;
    check_refused(&avro(two), &twice, "more than 1048576 bytes as JSON");
}

const PROTO: &str = r#"
syntax = "proto3";
package shop;
import "google/protobuf/timestamp.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/wrappers.proto";
import "google/protobuf/struct.proto";
import "confluent/meta.proto";
import "confluent/type/decimal.proto";
enum Kind { UNKNOWN = 0; CLICK = 1; }
message Event {
  string page_name = 1 [(confluent.field_meta).doc = "the page"];
  int64 big = 2;
  uint64 huge = 3;
  bool flag = 4;
  double ratio = 5;
  float small = 6;
  bytes raw = 7;
  Kind kind = 8;
  google.protobuf.Timestamp at = 9;
  google.protobuf.Int64Value wrapped = 10;
  repeated int32 numbers = 11;
  map<string, int32> counts = 12;
  optional int32 maybe = 13;
  oneof one { string a = 14; int32 b = 15; }
  Inner inner = 16;
  google.protobuf.Struct free = 17;
  confluent.type.Decimal price = 18;
  google.protobuf.Duration took = 19;
  message Inner { int32 depth = 1; Inner next = 2; }
}
message Second { int32 n = 1; }
"#;

/// The schema under test beside what it imports, for the compiler of the test.
struct Texts(BTreeMap<String, String>);

impl FileResolver for Texts {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match self.0.get(name) {
            Some(text) => File::from_source(name, text),
            None => GoogleFileResolver::new().open_file(name),
        }
    }
}

/// A message of a schema that imports nothing but what everybody has.
fn descriptor(text: &str, name: &str) -> MessageDescriptor {
    let own = [
        ("test.proto", text),
        ("confluent/meta.proto", include_str!("../../../records/src/decode/wire/confluent_meta.proto")),
        ("confluent/type/decimal.proto", include_str!("../../../records/src/decode/wire/confluent_decimal.proto")),
    ];
    let own = own.map(|(name, text)| (name.to_owned(), text.to_owned())).into();
    let mut compiler = protox::Compiler::with_file_resolver(Texts(own));
    compiler.open_file("test.proto").unwrap();
    compiler.descriptor_pool().get_message_by_name(name).unwrap()
}

/// The bytes of a message that is given in the text format.
pub fn message(text: &str, name: &str, fields: &str) -> Vec<u8> {
    DynamicMessage::parse_text_format(descriptor(text, name), fields).unwrap().encode_to_vec()
}

#[test]
fn every_type_of_protobuf_reads_as_its_json() {
    let schema = protobuf(PROTO);
    let empty = concat!(
        r#"{"page_name":"","big":0,"huge":0,"flag":false,"ratio":0.0,"small":0.0,"raw":"","kind":"UNKNOWN","#,
        r#""numbers":[],"counts":{}}"#,
    );
    assert_eq!(read(&schema, &[0]).as_deref(), Ok(empty), "defaults are written, what has presence is not");
    let fields = r#"
        page_name: "a" big: -5 huge: 18446744073709551615 flag: true ratio: 0.5 small: 0.1 raw: "\000\377" kind: CLICK
        at { seconds: 1769860800 nanos: 5000000 } wrapped { value: 0 } numbers: [1, 2]
        counts { key: "b" value: 2 } counts { key: "a" value: 1 } maybe: 0 b: 0 inner { depth: 1 }
        free { fields { key: "x" value { number_value: 1 } } fields { key: "y" value { null_value: NULL_VALUE } } }
        price { value: "\004\322" precision: 9 scale: 2 } took { seconds: -1 nanos: -500000000 }"#;
    let body = [vec![0], message(PROTO, "shop.Event", fields)].concat();
    let expected = concat!(
        r#"{"page_name":"a","big":-5,"huge":18446744073709551615,"flag":true,"ratio":0.5,"small":0.1,"raw":"AP8=","#,
        r#""kind":"CLICK","at":"2026-01-31T12:00:00.005000000Z","wrapped":0,"numbers":[1,2],"counts":{"a":1,"b":2},"#,
        r#""maybe":0,"b":0,"inner":{"depth":1},"free":{"x":1.0,"y":null},"price":12.34,"took":"-1.500000000s"}"#,
    );
    assert_eq!(read(&schema, &body).as_deref(), Ok(expected));
}

#[test]
fn the_path_of_a_message_leads_to_it() {
    let schema = protobuf(PROTO);
    let second = message(PROTO, "shop.Second", "n: 7");
    assert_eq!(read(&schema, &[[2, 2].as_slice(), second.as_slice()].concat()).as_deref(), Ok(r#"{"n":7}"#));
    let inner = message(PROTO, "shop.Event.Inner", "depth: 7");
    assert_eq!(read(&schema, &[[4, 0, 0].as_slice(), inner.as_slice()].concat()).as_deref(), Ok(r#"{"depth":7}"#));
    check_refused(&schema, &[2, 6], "no message 3");
    check_refused(&schema, &[4, 0, 2], "no message 1");
    check_refused(&schema, &[1], "path of -1");
    check_refused(&schema, &[0x80], "ends too early");
    check_refused(&schema, &[0, 0x0a, 0x7f], "no shop.Event");
    // As deep as the bytes allow: 120 messages, each in the one before.
    let deep = (0..120).fold(Vec::new(), |inner: Vec<u8>, _| {
        let length = [inner.len() as u8 & 0x7f | 0x80, (inner.len() >> 7) as u8];
        [[0x12].as_slice(), length.as_slice(), inner.as_slice()].concat()
    });
    check_refused(&schema, &[[4, 0, 0].as_slice(), deep.as_slice()].concat(), "recursion");
    assert!(Schema::parse(&protobuf(r#"syntax = "proto3"; message A { B b = 1; }"#)).unwrap_err().contains('B'));
}

#[test]
fn imports_are_the_references_of_a_protobuf_schema() {
    let item = r#"syntax = "proto3"; package shop; message Item { string name = 1; }"#;
    let order = r#"syntax = "proto3"; import "item.proto"; message Order { shop.Item item = 1; }"#;
    let references = vec![SchemaReference { name: "item.proto".to_owned(), text: item.to_owned() }];
    let schema = StoredSchema { references, ..protobuf(order) };
    // Field 1, three bytes: field 1, one byte.
    assert_eq!(read(&schema, &[0, 0x0a, 3, 0x0a, 1, b'a']).as_deref(), Ok(r#"{"item":{"name":"a"}}"#));
}

const EVENT: &str = r#"{"type": "record", "name": "Hit", "fields": [
    {"name": "time", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "page", "type": "string"},
    {"name": "price", "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}]}]}"#;

/// A source of events of [`EVENT`].
fn hits(format: SourceFormat) -> SourceDefinition {
    let columns =
        vec![Field::new("page", DataType::Utf8, false), Field::new("price", DataType::Decimal128(9, 2), true)];
    SourceDefinition { format, ..source_with(columns) }
}

fn hit(page: &str) -> Vec<u8> {
    let price = Avro::Union(1, Box::new(Avro::Decimal(apache_avro::Decimal::from(&1_234_i16.to_be_bytes()))));
    let fields =
        [("time", Avro::TimestampMillis(1_769_860_800_000)), ("page", Avro::String(page.to_owned())), ("price", price)];
    datum(EVENT, Avro::Record(fields.map(|(name, value)| (name.to_owned(), value)).into()))
}

fn known(schemas: &[(u32, StoredSchema)]) -> Schemas {
    Schemas::of(&schemas.iter().map(|(id, schema)| (SchemaId(*id), Arc::new(schema.clone()))).collect())
}

fn decode_hits(source: &SourceDefinition, payloads: &[&[u8]]) -> RecordBatch {
    let schemas = known(&[(1, avro(EVENT)), (2, avro("{")), (3, protobuf(PROTO))]);
    let records: Vec<Record> = (0..).zip(payloads).map(|(at, payload)| record(at, payload.to_vec())).collect();
    decode_with(source, &schemas, &records).unwrap().0
}

fn cell(rows: &RecordBatch, column: usize, row: usize) -> String {
    let options = FormatOptions::default().with_null("null");
    ArrayFormatter::try_new(rows.column(column), &options).unwrap().value(row).to_string()
}

#[test]
fn each_record_is_read_by_the_schema_it_names_or_as_json() {
    let json = br#" {"time":"2026-01-31T12:00:00Z","page":"/json","price":"12.34"}"#;
    let rows = decode_hits(&hits(SourceFormat::Avro), &[&framed(1, &hit("/avro")), json]);
    for (row, page) in [(0, "/avro"), (1, "/json")] {
        assert_eq!(error(&rows, row), None);
        assert_eq!([1, 2].map(|column| cell(&rows, column, row)), [page, "12.34"]);
        assert_eq!(cell(&rows, 0, row), "2026-01-31T12:00:00Z");
    }
}

#[test]
fn what_no_schema_can_read_is_rejected_with_the_reason() {
    let good = framed(1, &hit("/"));
    let refused: [(&[u8], &str); 6] = [
        (b"page=/", "no schema: a payload of this AVRO source begins with byte 0"),
        (&[0, 0, 0, 1], "no schema"),
        (&good[..good.len() - 1], "bad payload at byte"),
        (&framed(2, &hit("/")), "bad schema: id 2: it is no JSON"),
        (&framed(3, &[0]), "column page is NOT NULL"),
        (b"", "empty payload"),
    ];
    let rows = decode_hits(&hits(SourceFormat::Avro), &refused.map(|(payload, _)| payload));
    for (row, (_, reason)) in refused.iter().enumerate() {
        let found = error(&rows, row).unwrap();
        assert!(found.contains(reason), "`{found}` lacks `{reason}`");
    }
}

#[test]
fn a_record_of_an_unknown_schema_is_not_decoded_unless_the_source_rejects_it() {
    let source = hits(SourceFormat::Avro);
    let records: Vec<Record> = [framed(1, &hit("/a")), framed(9, &hit("/b")), framed(1, &hit("/c"))]
        .into_iter()
        .zip(5..)
        .map(|(payload, offset)| record(offset, payload))
        .chain([Record { partition: PartitionId(1), ..record(3, framed(1, &hit("/d"))) }])
        .collect();
    let schemas = known(&[(1, avro(EVENT))]);
    let place = Waiting { partition: PartitionId(0), offset: Offset(6), id: SchemaId(9) };
    let missing = decode_with(&source, &schemas, &records).unwrap_err();
    let RecordsError::SchemaMissing { partition, offset, id, .. } = missing else { panic!("{missing}") };
    assert_eq!(Waiting { partition, offset, id }, place);
    let (readable, waiting) = split_readable(&source, &schemas, records.clone());
    let readable: Vec<(i32, i64)> = readable.iter().map(|record| (record.partition.0, record.offset.0)).collect();
    assert_eq!((readable, waiting), (vec![(0, 5), (1, 3)], vec![place]));
    let rejecting = SourceDefinition { reject_schemas: BTreeSet::from([SchemaId(9)]), ..source.clone() };
    let (rows, _) = decode_with(&rejecting, &schemas, &records).unwrap();
    let reason = "unknown schema: id 9, which the source's option reject_schemas names";
    assert_eq!(error(&rows, 1).as_deref(), Some(reason));
    assert_eq!([0, 2, 3].map(|row| error(&rows, row)), [None, None, None]);
    assert_ne!(reading_of(&source), reading_of(&rejecting), "once it is taken back, they are read again");
    assert_ne!(reading_of(&source), reading_of(&hits(SourceFormat::Json)));
}

#[test]
fn a_json_source_passes_over_the_id_of_a_json_schema() {
    let json = br#"{"time":"2026-01-31T12:00:00Z","page":"/"}"#;
    let source = hits(SourceFormat::Json);
    let rows = decode_with(&source, &Schemas::none(), &[record(0, framed(77, json)), record(1, framed(77, b"\xff"))]);
    let (rows, _) = rows.unwrap();
    assert_eq!((error(&rows, 0), cell(&rows, 1, 0).as_str()), (None, "/"));
    assert_eq!(error(&rows, 1).as_deref(), Some("bad JSON at byte 5: not UTF-8"));
    // The registry knows it as what it is.
    let schema = StoredSchema { kind: SchemaKind::Json, text: "{}".to_owned(), references: Vec::new() };
    let rows = decode_with(&hits(SourceFormat::Avro), &known(&[(77, schema)]), &[record(0, framed(77, json))]);
    assert_eq!(error(&rows.unwrap().0, 0), None);
}

#[test]
fn no_bytes_stop_the_readers() {
    let good = [(avro(EVENT), hit("/a")), (avro(LIST), [0, 2].repeat(20)), (protobuf(PROTO), vec![0, 0x0a, 1, b'a'])];
    for_each_seed(20, |mut rng| {
        for (schema, body) in &good {
            let schema = Schema::parse(schema).unwrap();
            for _ in 0..200 {
                let mut body = body.clone();
                for _ in 0..rng.random_range(1..4) {
                    let at = rng.random_range(0..body.len());
                    body[at] = rng.random();
                }
                body.truncate(rng.random_range(0..=body.len()));
                let payload = framed(1, &body);
                let (one, other) = (schema.to_json(&payload), schema.to_json(&payload));
                assert_eq!(one, other, "the same text each time");
                if let Ok(text) = one {
                    serde_json::from_str::<Value>(&text).unwrap();
                }
            }
        }
    });
}
