//! Bytes of several parts, each behind its length.
//!
//! Guarantee: what was put in comes out in the same order; bytes of another form are an error, never a panic.

use datafusion::common::exec_datafusion_err;
use datafusion::error::Result;

/// Appends a part.
pub(crate) fn put(buffer: &mut Vec<u8>, part: &[u8]) {
    buffer.extend((part.len() as u64).to_le_bytes());
    buffer.extend_from_slice(part);
}

/// The parts that are left.
pub(crate) struct Parts<'a>(&'a [u8]);

impl<'a> Parts<'a> {
    /// All of them.
    pub(crate) fn of(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next part.
    pub(crate) fn next(&mut self) -> Result<&'a [u8]> {
        let parted = self.0.split_first_chunk::<8>().and_then(|(length, rest)| {
            let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
            rest.split_at_checked(length)
        });
        let (part, rest) = parted.ok_or_else(|| exec_datafusion_err!("a function is cut short"))?;
        self.0 = rest;
        Ok(part)
    }

    /// The next part, a text.
    pub(crate) fn text(&mut self) -> Result<String> {
        let text = String::from_utf8(self.next()?.to_vec());
        text.map_err(|error| exec_datafusion_err!("a part of a function is no text: {error}"))
    }

    /// The next part, a number.
    pub(crate) fn number(&mut self) -> Result<u64> {
        let number = self.next()?.try_into().map(u64::from_le_bytes);
        number.map_err(|_| exec_datafusion_err!("a part of a function is no number"))
    }

    /// Whether there is another one.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
