//! Avro schemas, as far as reading needs them: types by their place in a list, names resolved.
//!
//! In: the JSON of a schema, and of those that it refers to. Out: an [`AvroSchema`].
//! Guarantee: pure. Types may refer to themselves. What reading does not need (defaults, aliases, documentation, order,
//! attributes of others) is passed over, and a logical type that does not fit what it stands on counts as absent, as
//! the specification asks.
//! Not here: reading payloads (`avro.rs`).
//! Why by hand: apache-avro reads payloads into values by recursion without a limit and reserves memory as payloads
//! say, so its schemas alone would be of use, and they are less work than its types. Tests write with it.
//!
//! # Source
//! Apache Avro 1.12, "Specification".

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::stored::SchemaReference;

/// A schema whose types are resolved.
#[derive(Debug)]
pub(super) struct AvroSchema {
    nodes: Vec<Node>,
    root: NodeId,
}

/// The place of a type in its schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NodeId(usize);

/// A type.
#[derive(Debug)]
pub(super) enum Node {
    Null,
    Boolean,
    /// int and long, which are written alike.
    Integer,
    Float,
    Double,
    Bytes,
    String,
    Date,
    Timestamp {
        per_second: i64,
        is_local: bool,
    },
    /// On bytes, or (with their number) on fixed.
    Decimal {
        bytes: Option<usize>,
        scale: usize,
    },
    Fixed(usize),
    /// A uuid in 16 bytes.
    FixedUuid,
    Enum(Vec<String>),
    Array(NodeId),
    Map(NodeId),
    /// None of them is a union.
    Union(Vec<NodeId>),
    Record(Vec<(String, NodeId)>),
}

impl AvroSchema {
    /// Reads a schema. `references` come first: what one refers to stands before it.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn parse(text: &str, references: &[SchemaReference]) -> Result<Self, String> {
        let mut reader = Reader::default();
        for reference in references {
            let read = reader.read_text(&reference.text);
            read.map_err(|problem| format!("in the referenced schema {}: {problem}", reference.name))?;
        }
        let root = reader.read_text(text)?;
        Ok(Self { nodes: reader.nodes, root })
    }

    /// The type of a payload.
    pub fn root(&self) -> NodeId {
        self.root
    }

    /// A type.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0]
    }
}

#[derive(Default)]
struct Reader {
    nodes: Vec<Node>,
    /// Records, enums and fixed types by their full names.
    names: BTreeMap<String, NodeId>,
}

impl Reader {
    fn read_text(&mut self, text: &str) -> Result<NodeId, String> {
        let schema: Value = serde_json::from_str(text).map_err(|error| format!("it is no JSON: {error}"))?;
        self.read(&schema, "")
    }

    fn add(&mut self, node: Node) -> NodeId {
        self.nodes.push(node);
        NodeId(self.nodes.len() - 1)
    }

    /// `namespace`: of the type around this place.
    fn read(&mut self, schema: &Value, namespace: &str) -> Result<NodeId, String> {
        match schema {
            Value::String(name) => self.read_name(name, namespace),
            Value::Array(branches) => self.read_union(branches, namespace),
            Value::Object(schema) => match schema.get("type") {
                Some(Value::String(kind)) => self.read_object(kind, schema, namespace),
                Some(inner) => self.read(inner, namespace),
                None => Err("a type lacks `type`".to_owned()),
            },
            other => Err(format!("`{other}` is no type")),
        }
    }

    /// A primitive type, or one that was defined before.
    fn read_name(&mut self, name: &str, namespace: &str) -> Result<NodeId, String> {
        if let Some(node) = primitive(name) {
            return Ok(self.add(node));
        }
        let found = self.names.get(&full_name(name, namespace)).or_else(|| self.names.get(name));
        found.copied().ok_or_else(|| format!("there is no type `{name}`"))
    }

    fn read_union(&mut self, branches: &[Value], namespace: &str) -> Result<NodeId, String> {
        let mut read = Vec::with_capacity(branches.len());
        for branch in branches {
            let branch = self.read(branch, namespace)?;
            if matches!(self.nodes[branch.0], Node::Union(_)) {
                return Err("a union stands in a union".to_owned());
            }
            read.push(branch);
        }
        Ok(self.add(Node::Union(read)))
    }

    fn read_object(&mut self, kind: &str, schema: &Map<String, Value>, namespace: &str) -> Result<NodeId, String> {
        let inner = |name: &str| schema.get(name).ok_or_else(|| format!("{kind} lacks `{name}`"));
        match kind {
            "record" | "error" => self.read_record(schema, namespace),
            "enum" => self.read_enum(schema, namespace),
            "fixed" => {
                let size = inner("size")?.as_u64().and_then(|size| usize::try_from(size).ok());
                let size = size.ok_or("the size of a fixed type is no number")?;
                let id = self.add(fixed(size, schema));
                self.name(id, schema, namespace).map(|_| id)
            }
            "array" => {
                let items = self.read(inner("items")?, namespace)?;
                Ok(self.add(Node::Array(items)))
            }
            "map" => {
                let values = self.read(inner("values")?, namespace)?;
                Ok(self.add(Node::Map(values)))
            }
            name => match logical(name, schema) {
                Some(node) => Ok(self.add(node)),
                None => self.read_name(name, namespace),
            },
        }
    }

    fn read_record(&mut self, schema: &Map<String, Value>, namespace: &str) -> Result<NodeId, String> {
        // Named before its fields are read: they may be of this type.
        let id = self.add(Node::Record(Vec::new()));
        let name = self.name(id, schema, namespace)?;
        let namespace = name.rsplit_once('.').map_or("", |(namespace, _)| namespace);
        let fields = schema.get("fields").and_then(Value::as_array);
        let fields = fields.ok_or_else(|| format!("record {name} lacks `fields`"))?;
        let mut read = Vec::with_capacity(fields.len());
        for field in fields {
            let field_name = text_of(field.get("name"));
            let field_name = field_name.ok_or_else(|| format!("a field of record {name} lacks `name`"))?;
            let field_type = field.get("type").ok_or_else(|| format!("field {field_name} of {name} lacks `type`"))?;
            let field_type = self.read(field_type, namespace);
            let field_type = field_type.map_err(|problem| format!("{name}.{field_name}: {problem}"))?;
            read.push((field_name.to_owned(), field_type));
        }
        self.nodes[id.0] = Node::Record(read);
        Ok(id)
    }

    fn read_enum(&mut self, schema: &Map<String, Value>, namespace: &str) -> Result<NodeId, String> {
        let symbols = schema.get("symbols").and_then(Value::as_array).ok_or("an enum lacks `symbols`")?;
        let symbols: Option<Vec<String>> = symbols.iter().map(|symbol| symbol.as_str().map(str::to_owned)).collect();
        let id = self.add(Node::Enum(symbols.ok_or("a symbol of an enum is no text")?));
        self.name(id, schema, namespace).map(|_| id)
    }

    /// Notes a type under its full name.
    fn name(&mut self, id: NodeId, schema: &Map<String, Value>, around: &str) -> Result<String, String> {
        let name = text_of(schema.get("name")).ok_or("a named type lacks `name`")?;
        let name = full_name(name, text_of(schema.get("namespace")).unwrap_or(around));
        self.names.insert(name.clone(), id);
        Ok(name)
    }
}

fn text_of(value: Option<&Value>) -> Option<&str> {
    value.and_then(Value::as_str)
}

/// A name with a dot is full already.
fn full_name(name: &str, namespace: &str) -> String {
    if name.contains('.') || namespace.is_empty() { name.to_owned() } else { format!("{namespace}.{name}") }
}

fn primitive(name: &str) -> Option<Node> {
    Some(match name {
        "null" => Node::Null,
        "boolean" => Node::Boolean,
        "int" | "long" => Node::Integer,
        "float" => Node::Float,
        "double" => Node::Double,
        "bytes" => Node::Bytes,
        "string" => Node::String,
        _ => return None,
    })
}

/// What a logical type makes of a primitive one; `None` where it says nothing new.
fn logical(kind: &str, schema: &Map<String, Value>) -> Option<Node> {
    let timestamp = |per_second, is_local| Some(Node::Timestamp { per_second, is_local });
    match (text_of(schema.get("logicalType"))?, kind) {
        ("date", "int") => Some(Node::Date),
        ("timestamp-millis", "long") => timestamp(1_000, false),
        ("timestamp-micros", "long") => timestamp(1_000_000, false),
        ("timestamp-nanos", "long") => timestamp(1_000_000_000, false),
        ("local-timestamp-millis", "long") => timestamp(1_000, true),
        ("local-timestamp-micros", "long") => timestamp(1_000_000, true),
        ("local-timestamp-nanos", "long") => timestamp(1_000_000_000, true),
        ("decimal", "bytes") => Some(Node::Decimal { bytes: None, scale: scale(schema)? }),
        _ => None,
    }
}

fn fixed(size: usize, schema: &Map<String, Value>) -> Node {
    match text_of(schema.get("logicalType")) {
        Some("decimal") => scale(schema).map_or(Node::Fixed(size), |scale| Node::Decimal { bytes: Some(size), scale }),
        Some("uuid") if size == 16 => Node::FixedUuid,
        _ => Node::Fixed(size),
    }
}

/// Zero where none is said; `None` where it is none.
fn scale(schema: &Map<String, Value>) -> Option<usize> {
    schema.get("scale").map_or(Some(0), |scale| scale.as_u64().and_then(|scale| usize::try_from(scale).ok()))
}
