//! An error and all that led to it, as one text.
//!
//! Why so: clients of networks say "error sending request" and keep to themselves, as a cause, that the connection was
//! refused. Others repeat their causes in their own words; those are told once.

use std::error::Error;

/// What an error says, and what each of its causes adds to it.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(at) = cause {
        let told = at.to_string();
        if !text.contains(&told) {
            text = format!("{text}: {told}");
        }
        cause = at.source();
    }
    text
}
