//! An Avro datum to JSON text, straight from the bytes.
//!
//! Guarantee: pure, never panics. Lengths are believed only as far as there are bytes, counts only as far as there is
//! room for what is written of each item, and recursion ends where the decoder's does.

use super::avro_schema::{AvroSchema, Node, NodeId};
use super::json_text::{JsonText, day_text, decimal_text, instant_text};
use crate::decode::reject::{Read, Rejection};

/// The text of the datum that begins at byte `from` of a payload and ends with it.
pub(super) fn to_json(schema: &AvroSchema, payload: &[u8], from: usize) -> Read<String> {
    let mut reader = Reader { schema, payload, at: from, out: JsonText::of(payload) };
    reader.write(schema.root())?;
    match payload.len() - reader.at {
        0 => Ok(reader.out.finish()),
        left => Err(reader.bad(format!("{left} bytes are left behind what the schema describes"))),
    }
}

struct Reader<'a> {
    schema: &'a AvroSchema,
    payload: &'a [u8],
    at: usize,
    out: JsonText,
}

impl<'a> Reader<'a> {
    fn write(&mut self, id: NodeId) -> Read<()> {
        let schema = self.schema;
        match schema.node(id) {
            Node::Null => self.out.push("null"),
            Node::Boolean => match self.take(1)? {
                [0] => self.out.push("false"),
                [1] => self.out.push("true"),
                _ => Err(self.bad("a boolean is neither 0 nor 1")),
            },
            Node::Integer => {
                let value = self.long()?;
                self.out.push(&value.to_string())
            }
            Node::Float => {
                let bytes = self.array::<4>()?;
                self.out.float(f32::from_le_bytes(bytes))
            }
            Node::Double => {
                let bytes = self.array::<8>()?;
                self.out.double(f64::from_le_bytes(bytes))
            }
            Node::Bytes => {
                let bytes = self.prefixed()?;
                self.out.bytes(bytes)
            }
            Node::Fixed(size) => {
                let bytes = self.take(*size)?;
                self.out.bytes(bytes)
            }
            Node::String => {
                let text = self.text()?;
                self.out.string(text)
            }
            Node::Enum(symbols) => {
                let symbol = self.choice(symbols, "symbol")?;
                self.out.string(symbol)
            }
            Node::Union(branches) => {
                let branch = *self.choice(branches, "branch")?;
                self.write(branch)
            }
            nested @ (Node::Array(_) | Node::Map(_) | Node::Record(_)) => self.write_nested(nested),
            logical => self.write_logical(logical),
        }
    }

    fn write_logical(&mut self, node: &Node) -> Read<()> {
        match node {
            Node::Date => {
                let days = self.long()?;
                self.out.string(&day_text(days))
            }
            Node::Timestamp { per_second, is_local } => {
                let count = self.long()?;
                self.out.string(&instant_text(count, *per_second, if *is_local { "" } else { "Z" }))
            }
            Node::Decimal { bytes, scale } => {
                let bytes = match bytes {
                    Some(size) => self.take(*size)?,
                    None => self.prefixed()?,
                };
                let text = decimal_text(bytes, *scale).ok_or_else(|| self.bad("a decimal has too many digits"))?;
                self.out.push(&text)
            }
            _ => {
                let bytes = u128::from_be_bytes(self.array::<16>()?);
                let hex = format!("{bytes:032x}");
                let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
                self.out.string(&parts.join("-"))
            }
        }
    }

    fn write_nested(&mut self, node: &Node) -> Read<()> {
        match node {
            Node::Array(items) => {
                self.out.enter("[")?;
                self.blocks(|reader| {
                    reader.out.item()?;
                    reader.write(*items)
                })?;
                self.out.leave("]")
            }
            Node::Map(values) => {
                self.out.enter("{")?;
                self.blocks(|reader| {
                    let key = reader.text()?;
                    reader.out.key(key)?;
                    reader.write(*values)
                })?;
                self.out.leave("}")
            }
            Node::Record(fields) => {
                self.out.enter("{")?;
                for (name, field) in fields {
                    self.out.key(name)?;
                    self.write(*field)?;
                }
                self.out.leave("}")
            }
            _ => Ok(()),
        }
    }

    /// Reads items, which come in blocks, until the block without any.
    fn blocks(&mut self, mut item: impl FnMut(&mut Self) -> Read<()>) -> Read<()> {
        loop {
            let count = self.long()?;
            if count == 0 {
                return Ok(());
            }
            if count < 0 {
                // Its size in bytes follows, for whoever would pass over it.
                self.long()?;
            }
            for _ in 0..count.unsigned_abs() {
                item(self)?;
            }
        }
    }

    /// The one of `known` that the next number names.
    fn choice<'b, T>(&mut self, known: &'b [T], noun: &str) -> Read<&'b T> {
        let number = self.long()?;
        let found = usize::try_from(number).ok().and_then(|number| known.get(number));
        found.ok_or_else(|| self.bad(format!("there is no {noun} {number}")))
    }

    fn text(&mut self) -> Read<&'a str> {
        let bytes = self.prefixed()?;
        std::str::from_utf8(bytes).map_err(|_| self.bad("a string is not UTF-8"))
    }

    /// Bytes behind their length.
    fn prefixed(&mut self) -> Read<&'a [u8]> {
        let length = self.long()?;
        let length = usize::try_from(length).map_err(|_| self.bad(format!("{length} is no length")))?;
        self.take(length)
    }

    fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        let bytes = self.take(N)?;
        <[u8; N]>::try_from(bytes).map_err(|_| self.bad("the payload ends here"))
    }

    fn take(&mut self, count: usize) -> Read<&'a [u8]> {
        let payload = self.payload;
        let rest = &payload[self.at..];
        let Some(taken) = rest.get(..count) else {
            return Err(self.bad(format!("{count} bytes should follow, {} do", rest.len())));
        };
        self.at += count;
        Ok(taken)
    }

    /// A number in zigzag form, seven bits in each byte, the lowest first.
    fn long(&mut self) -> Read<i64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.array::<1>()?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        Err(self.bad("a number has more than ten bytes"))
    }

    fn bad(&self, problem: impl Into<String>) -> Box<Rejection> {
        Rejection::BadPayload { at: self.at, problem: problem.into() }.into()
    }
}
