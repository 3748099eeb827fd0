//! Arrow schemas to the schema text of a Delta table, and back.
//!
//! Guarantee: a schema that is accepted comes back equal, field for field, NOT NULL included.
//! Why so: a type without an exact counterpart (unsigned integers, other time units, list items of another name) would
//! be changed silently by a reader, and fail or differ later; it is refused by name when the table is created.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, TimeUnit};
use serde_json::{Map, Value, json};

/// The name that Delta gives to the items of a list.
const LIST_ITEM: &str = "element";
/// The names that Parquet gives to the parts of a map.
const MAP_ENTRIES: &str = "key_value";
const MAP_KEY: &str = "key";
const MAP_VALUE: &str = "value";

/// The schema text of the table, or what cannot be stored.
pub(crate) fn to_delta(schema: &Schema) -> Result<String, String> {
    Ok(struct_to_delta(schema.fields(), "")?.to_string())
}

/// The Arrow schema of a schema text, or why it is not one that we write.
pub(crate) fn from_delta(text: &str) -> Result<Schema, String> {
    let value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    Ok(Schema::new(fields_from_delta(&value)?))
}

/// The columns of a table and behind them those of `wanted` that it has not got, or why they cannot be added.
pub(crate) fn extended(present: &Schema, wanted: &Schema) -> Result<Schema, String> {
    let mut fields: Vec<FieldRef> = present.fields().to_vec();
    for field in wanted.fields() {
        match present.fields().iter().find(|known| known.name().eq_ignore_ascii_case(field.name())) {
            Some(known) if known == field => {}
            Some(known) => {
                return Err(format!(
                    "column {} is there already, as {} {}",
                    field.name(),
                    known.name(),
                    known.data_type()
                ));
            }
            None if field.is_nullable() => fields.push(Arc::clone(field)),
            None => return Err(format!("column {} is new and NOT NULL, and rows without it are there", field.name())),
        }
    }
    Ok(Schema::new(fields))
}

fn struct_to_delta(fields: &Fields, within: &str) -> Result<Value, String> {
    let mut names = HashSet::new();
    let mut columns = Vec::with_capacity(fields.len());
    for field in fields {
        let path = if within.is_empty() { field.name().clone() } else { format!("{within}.{}", field.name()) };
        if !names.insert(field.name().to_lowercase()) {
            return Err(format!("column {path} appears twice (Delta tables do not tell upper from lower case)"));
        }
        columns.push(json!({
            "name": field.name(),
            "type": type_to_delta(field.data_type(), &path)?,
            "nullable": field.is_nullable(),
            "metadata": {},
        }));
    }
    Ok(json!({ "type": "struct", "fields": columns }))
}

fn type_to_delta(data_type: &DataType, path: &str) -> Result<Value, String> {
    let name = match data_type {
        DataType::Boolean => "boolean",
        DataType::Int8 => "byte",
        DataType::Int16 => "short",
        DataType::Int32 => "integer",
        DataType::Int64 => "long",
        DataType::Float32 => "float",
        DataType::Float64 => "double",
        DataType::Utf8 => "string",
        DataType::Binary => "binary",
        DataType::Date32 => "date",
        DataType::Timestamp(TimeUnit::Microsecond, Some(zone)) if zone.as_ref() == "UTC" => "timestamp",
        DataType::Decimal128(precision, scale) if *scale >= 0 => {
            return Ok(Value::String(format!("decimal({precision},{scale})")));
        }
        DataType::Struct(fields) => return struct_to_delta(fields, path),
        DataType::List(item) if item.name() == LIST_ITEM => {
            return Ok(json!({
                "type": "array",
                "elementType": type_to_delta(item.data_type(), &format!("{path}.{LIST_ITEM}"))?,
                "containsNull": item.is_nullable(),
            }));
        }
        DataType::List(item) => {
            return Err(format!("items of list {path} are named {}, they must be named {LIST_ITEM}", item.name()));
        }
        DataType::Map(entries, false) => return map_to_delta(entries, path),
        other => return Err(format!("column {path} has type {other}, which a Delta table does not hold")),
    };
    Ok(Value::String(name.to_owned()))
}

fn map_to_delta(entries: &Field, path: &str) -> Result<Value, String> {
    let refused = || format!("map {path} must have entries {MAP_ENTRIES} of a {MAP_KEY} NOT NULL and a {MAP_VALUE}");
    let DataType::Struct(fields) = entries.data_type() else { return Err(refused()) };
    let [key, value] = &fields[..] else { return Err(refused()) };
    let is_named = entries.name() == MAP_ENTRIES && key.name() == MAP_KEY && value.name() == MAP_VALUE;
    if !is_named || entries.is_nullable() || key.is_nullable() {
        return Err(refused());
    }
    Ok(json!({
        "type": "map",
        "keyType": type_to_delta(key.data_type(), &format!("{path}.{MAP_KEY}"))?,
        "valueType": type_to_delta(value.data_type(), &format!("{path}.{MAP_VALUE}"))?,
        "valueContainsNull": value.is_nullable(),
    }))
}

fn fields_from_delta(value: &Value) -> Result<Fields, String> {
    let fields = value.get("fields").and_then(Value::as_array).ok_or("a struct without fields")?;
    fields
        .iter()
        .map(|field| {
            let field = field.as_object().ok_or("a field is not an object")?;
            let name = text(field, "name")?;
            let nullable = field.get("nullable").and_then(Value::as_bool).unwrap_or(true);
            let data_type = field.get("type").ok_or_else(|| format!("column {name} without a type"))?;
            Ok(Field::new(name, type_from_delta(data_type)?, nullable))
        })
        .collect()
}

fn type_from_delta(value: &Value) -> Result<DataType, String> {
    match value {
        Value::String(name) => plain_from_delta(name),
        Value::Object(object) if object.get("type") == Some(&Value::from("struct")) => {
            Ok(DataType::Struct(fields_from_delta(value)?))
        }
        Value::Object(object) if object.get("type") == Some(&Value::from("array")) => {
            let item = type_from_delta(object.get("elementType").ok_or("an array without elementType")?)?;
            let nullable = object.get("containsNull").and_then(Value::as_bool).unwrap_or(true);
            Ok(DataType::List(Arc::new(Field::new(LIST_ITEM, item, nullable))))
        }
        Value::Object(object) if object.get("type") == Some(&Value::from("map")) => map_from_delta(object),
        other => Err(format!("type {other} is not one that Twofold writes")),
    }
}

fn map_from_delta(object: &Map<String, Value>) -> Result<DataType, String> {
    let key = type_from_delta(object.get("keyType").ok_or("a map without keyType")?)?;
    let value = type_from_delta(object.get("valueType").ok_or("a map without valueType")?)?;
    let nullable = object.get("valueContainsNull").and_then(Value::as_bool).unwrap_or(true);
    let parts = vec![Field::new(MAP_KEY, key, false), Field::new(MAP_VALUE, value, nullable)];
    let entries = Field::new(MAP_ENTRIES, DataType::Struct(parts.into()), false);
    Ok(DataType::Map(Arc::new(entries), false))
}

fn plain_from_delta(name: &str) -> Result<DataType, String> {
    Ok(match name {
        "boolean" => DataType::Boolean,
        "byte" => DataType::Int8,
        "short" => DataType::Int16,
        "integer" => DataType::Int32,
        "long" => DataType::Int64,
        "float" => DataType::Float32,
        "double" => DataType::Float64,
        "string" => DataType::Utf8,
        "binary" => DataType::Binary,
        "date" => DataType::Date32,
        "timestamp" => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        decimal => return decimal_from_delta(decimal).ok_or_else(|| format!("type {decimal} is unknown")),
    })
}

fn decimal_from_delta(name: &str) -> Option<DataType> {
    let (precision, scale) = name.strip_prefix("decimal(")?.strip_suffix(')')?.split_once(',')?;
    Some(DataType::Decimal128(precision.trim().parse().ok()?, scale.trim().parse().ok()?))
}

fn text<'a>(object: &'a Map<String, Value>, key: &str) -> Result<&'a str, String> {
    object.get(key).and_then(Value::as_str).ok_or_else(|| format!("a field without {key}"))
}
