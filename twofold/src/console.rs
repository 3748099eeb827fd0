//! What commands print.
//!
//! Guarantee: a reader that has gone (`twofold status | head -1`) is not an error and ends nothing.

use std::io::Write;

/// Prints text to standard output at once, as it is. That nobody reads it is not an error: the exit code says how it
/// went.
pub fn say(text: &str) {
    let mut output = std::io::stdout().lock();
    let _ = output.write_all(text.as_bytes()).and_then(|()| output.flush());
}
