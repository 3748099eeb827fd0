//! What commands print, and where log lines go.
//!
//! Guarantee: a reader that has gone (`twofold status | head -1`, `twofold up 2>&1 | head -2`) is not an error and ends
//! nothing: what it would have read is lost.

use std::io::{self, Write};

/// Prints text to standard output at once, as it is. That nobody reads it is not an error: the exit code says how it
/// went.
pub fn say(text: &str) {
    let mut output = std::io::stdout().lock();
    let _ = output.write_all(text.as_bytes()).and_then(|()| output.flush());
}

/// Prints a line to standard error. That nobody reads it is not an error, either.
pub fn complain(line: &str) {
    let _ = writeln!(LogLines, "{line}");
}

/// Standard error as a place for lines that may be lost; writing never fails.
#[derive(Clone, Copy, Debug)]
pub struct LogLines;

impl Write for LogLines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = io::stderr().lock().write_all(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
