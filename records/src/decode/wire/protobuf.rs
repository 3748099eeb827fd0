//! A Protobuf message to JSON text, by the text of its `.proto` file.
//!
//! Guarantee: pure. Fields bear the names that the file gives them, and stand in the order of their numbers; keys of
//! maps are sorted, whatever the order in which they came. Fields without presence are written also where they hold
//! their default.
//! Not here: limits of nesting in the payload itself, which the library has (100 levels), and of what is written
//! (`json_text.rs`).

use std::collections::BTreeMap;

use protox::Compiler;
use protox::file::{File, FileResolver, GoogleFileResolver};
use protox::prost_reflect::{DynamicMessage, FileDescriptor, Kind, MapKey, MessageDescriptor, ReflectMessage, Value};

use super::json_text::{JsonText, decimal_text, instant_text};
use super::stored::SchemaReference;
use crate::decode::reject::{Read, Rejection};

/// The name of the schema itself among the files it imports.
const OWN_FILE: &str = "twofold-schema.proto";

/// Messages nest no deeper than this in the path that a payload names.
const MAX_PATH: i64 = 64;

/// Files that Confluent's serializers bring along, so that registries do not have them.
const BROUGHT_ALONG: [(&str, &str); 2] = [
    ("confluent/meta.proto", include_str!("confluent_meta.proto")),
    ("confluent/type/decimal.proto", include_str!("confluent_decimal.proto")),
];

/// A compiled `.proto` file.
#[derive(Debug)]
pub(super) struct ProtobufSchema {
    file: FileDescriptor,
}

impl ProtobufSchema {
    /// Compiles a schema. References bear the names by which it imports them.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn parse(text: &str, references: &[SchemaReference]) -> Result<Self, String> {
        let mut texts: BTreeMap<String, String> =
            BROUGHT_ALONG.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        texts.extend(references.iter().map(|reference| (reference.name.clone(), reference.text.clone())));
        texts.insert(OWN_FILE.to_owned(), text.to_owned());
        let mut compiler = Compiler::with_file_resolver(Texts(texts));
        compiler.open_file(OWN_FILE).map_err(|error| error.to_string())?;
        let file = compiler.descriptor_pool().get_file_by_name(OWN_FILE);
        file.map(|file| Self { file }).ok_or_else(|| "it holds no file".to_owned())
    }

    /// The text of the message in a payload, whose path among the messages of the file begins at byte `from`.
    pub fn to_json(&self, payload: &[u8], from: usize) -> Read<String> {
        let mut path = Path { payload, at: from };
        let descriptor = self.message(&mut path)?;
        let bad = |error: protox::prost::DecodeError| Rejection::BadPayload {
            at: path.at,
            problem: format!("no {}: {error}", descriptor.full_name()),
        };
        let message = DynamicMessage::decode(descriptor.clone(), &payload[path.at..]).map_err(bad)?;
        let mut writer = Writer(JsonText::of(payload));
        writer.message(&message)?;
        Ok(writer.0.finish())
    }

    fn message(&self, path: &mut Path<'_>) -> Read<MessageDescriptor> {
        let count = path.number()?;
        if !(0..=MAX_PATH).contains(&count) {
            return Err(path.bad(format!("a path of {count} messages")));
        }
        // No number at all stands for the first message, by far the most frequent one.
        let first = if count == 0 { 0 } else { path.number()? };
        let outer = nth(self.file.messages(), first);
        let mut found = outer.ok_or_else(|| path.bad(format!("there is no message {first}")))?;
        for _ in 1..count {
            let next = path.number()?;
            let inner = nth(found.child_messages(), next);
            found = inner.ok_or_else(|| path.bad(format!("{} holds no message {next}", found.full_name())))?;
        }
        Ok(found)
    }
}

/// The message of this number; the entries of maps, which no text declares, do not count.
fn nth(messages: impl Iterator<Item = MessageDescriptor>, number: i64) -> Option<MessageDescriptor> {
    messages.filter(|message| !message.is_map_entry()).nth(usize::try_from(number).ok()?)
}

/// Files by the names under which they are imported.
struct Texts(BTreeMap<String, String>);

impl FileResolver for Texts {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match self.0.get(name) {
            Some(text) => File::from_source(name, text),
            None => GoogleFileResolver::new().open_file(name),
        }
    }
}

/// Where reading stands in front of the message.
struct Path<'a> {
    payload: &'a [u8],
    at: usize,
}

impl Path<'_> {
    /// A number in zigzag form.
    fn number(&mut self) -> Read<i64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let Some(byte) = self.payload.get(self.at) else { break };
            self.at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        Err(self.bad("the path of the message ends too early".to_owned()))
    }

    fn bad(&self, problem: String) -> Box<Rejection> {
        Rejection::BadPayload { at: self.at, problem }.into()
    }
}

struct Writer(JsonText);

impl Writer {
    /// A message, or what JSON has for those that are known everywhere.
    fn message(&mut self, message: &DynamicMessage) -> Read<()> {
        match message.descriptor().full_name() {
            "google.protobuf.Timestamp" => self.0.string(&timestamp_text(message)),
            "google.protobuf.Duration" => self.0.string(&duration_text(message)),
            "google.protobuf.Struct" => self.only_field(message, "fields"),
            "google.protobuf.ListValue" => self.only_field(message, "values"),
            "google.protobuf.Value" => self.set_field(message),
            "google.protobuf.BoolValue"
            | "google.protobuf.BytesValue"
            | "google.protobuf.DoubleValue"
            | "google.protobuf.FloatValue"
            | "google.protobuf.Int32Value"
            | "google.protobuf.Int64Value"
            | "google.protobuf.StringValue"
            | "google.protobuf.UInt32Value"
            | "google.protobuf.UInt64Value" => self.only_field(message, "value"),
            "confluent.type.Decimal" => match confluent_decimal(message) {
                Some(text) => self.0.push(&text),
                None => self.fields(message),
            },
            _ => self.fields(message),
        }
    }

    fn fields(&mut self, message: &DynamicMessage) -> Read<()> {
        self.0.enter("{")?;
        for field in message.descriptor().fields() {
            if field.supports_presence() && !message.has_field(&field) {
                continue;
            }
            self.0.key(field.name())?;
            self.value(&message.get_field(&field), &field.kind())?;
        }
        self.0.leave("}")
    }

    /// The value of a message that only wraps it.
    fn only_field(&mut self, message: &DynamicMessage, name: &str) -> Read<()> {
        match message.descriptor().get_field_by_name(name) {
            Some(field) => self.value(&message.get_field(&field), &field.kind()),
            None => self.0.push("null"),
        }
    }

    /// The one value of a message that may hold several kinds.
    fn set_field(&mut self, message: &DynamicMessage) -> Read<()> {
        match message.descriptor().fields().find(|field| message.has_field(field)) {
            Some(field) => self.value(&message.get_field(&field), &field.kind()),
            None => self.0.push("null"),
        }
    }

    /// `kind`: of the field, or of its items or values.
    fn value(&mut self, value: &Value, kind: &Kind) -> Read<()> {
        match value {
            Value::Bool(value) => self.0.push(&value.to_string()),
            Value::I32(value) => self.0.push(&value.to_string()),
            Value::I64(value) => self.0.push(&value.to_string()),
            Value::U32(value) => self.0.push(&value.to_string()),
            Value::U64(value) => self.0.push(&value.to_string()),
            Value::F32(value) => self.0.float(*value),
            Value::F64(value) => self.0.double(*value),
            Value::String(value) => self.0.string(value),
            Value::Bytes(value) => self.0.bytes(value),
            Value::EnumNumber(number) => self.enum_value(*number, kind),
            Value::Message(message) => self.message(message),
            Value::List(items) => {
                self.0.enter("[")?;
                for item in items {
                    self.0.item()?;
                    self.value(item, kind)?;
                }
                self.0.leave("]")
            }
            Value::Map(entries) => {
                let kind = match kind {
                    Kind::Message(entry) => entry.map_entry_value_field().kind(),
                    other => other.clone(),
                };
                let mut entries: Vec<(&MapKey, &Value)> = entries.iter().collect();
                entries.sort_unstable_by_key(|(key, _)| *key);
                self.0.enter("{")?;
                for (key, value) in entries {
                    self.0.key(&key_text(key))?;
                    self.value(value, &kind)?;
                }
                self.0.leave("}")
            }
        }
    }

    fn enum_value(&mut self, number: i32, kind: &Kind) -> Read<()> {
        let Kind::Enum(descriptor) = kind else { return self.0.push(&number.to_string()) };
        match descriptor.get_value(number) {
            Some(_) if descriptor.full_name() == "google.protobuf.NullValue" => self.0.push("null"),
            Some(value) => self.0.string(value.name()),
            None => self.0.push(&number.to_string()),
        }
    }
}

fn key_text(key: &MapKey) -> String {
    match key {
        MapKey::Bool(key) => key.to_string(),
        MapKey::I32(key) => key.to_string(),
        MapKey::I64(key) => key.to_string(),
        MapKey::U32(key) => key.to_string(),
        MapKey::U64(key) => key.to_string(),
        MapKey::String(key) => key.clone(),
    }
}

/// Seconds and the nanoseconds behind them.
fn span_of(message: &DynamicMessage) -> (i64, i32) {
    let seconds = message.get_field_by_name("seconds").and_then(|seconds| seconds.as_i64());
    let nanos = message.get_field_by_name("nanos").and_then(|nanos| nanos.as_i32());
    (seconds.unwrap_or_default(), nanos.unwrap_or_default())
}

fn timestamp_text(message: &DynamicMessage) -> String {
    let (seconds, nanos) = span_of(message);
    // Whole seconds have no parts, which is written `.0`.
    let whole = instant_text(seconds, 1, "");
    match whole.strip_suffix(".0") {
        Some(whole) if (0..1_000_000_000).contains(&nanos) => format!("{whole}.{nanos:09}Z"),
        _ => format!("{seconds} seconds and {nanos} nanoseconds since 1970"),
    }
}

fn duration_text(message: &DynamicMessage) -> String {
    let (seconds, nanos) = span_of(message);
    let sign = if seconds < 0 || nanos < 0 { "-" } else { "" };
    format!("{sign}{}.{:09}s", seconds.unsigned_abs(), nanos.unsigned_abs())
}

/// `None` where it is none that can be written as one number.
fn confluent_decimal(message: &DynamicMessage) -> Option<String> {
    let value = message.get_field_by_name("value")?;
    let scale = message.get_field_by_name("scale")?.as_i32()?;
    decimal_text(value.as_bytes()?, usize::try_from(scale).ok()?)
}
