//! Which files are meant: paths, patterns that the shell did not expand, and standard input.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use glob::{MatchOptions, glob_with};

/// Something that events are read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Written `-`.
    StandardInput,
    /// A file, a pipe, or what else has a path.
    File(PathBuf),
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StandardInput => f.write_str("standard input"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Letters that make a name a pattern.
const WILD: [char; 3] = ['*', '?', '['];

/// The files of a command line, in its order; those of a pattern in alphabetical order. A name that is there is itself,
/// whatever letters it has.
///
/// # Errors
/// Where a pattern is none, or no file matches it, or standard input is named twice.
pub fn find_inputs(named: &[PathBuf]) -> Result<Vec<Input>> {
    let mut inputs = Vec::new();
    for path in named {
        let pattern = path.to_str().filter(|text| text.contains(WILD) && !path.exists());
        match pattern {
            _ if path == Path::new("-") => inputs.push(Input::StandardInput),
            Some(pattern) => inputs.extend(matches(pattern)?.into_iter().map(Input::File)),
            None => inputs.push(Input::File(path.clone())),
        }
    }
    if inputs.iter().filter(|input| **input == Input::StandardInput).count() > 1 {
        bail!("`-` stands for standard input, which can be read once");
    }
    Ok(inputs)
}

fn matches(pattern: &str) -> Result<Vec<PathBuf>> {
    // As in a shell, `*` leaves hidden files out.
    let options = MatchOptions { require_literal_leading_dot: true, ..MatchOptions::new() };
    let found = glob_with(pattern, options).with_context(|| format!("`{pattern}` is not a pattern"))?;
    let mut files = Vec::new();
    for path in found {
        let path = path.with_context(|| format!("cannot look for `{pattern}`"))?;
        if !path.is_dir() {
            files.push(path);
        }
    }
    if files.is_empty() {
        bail!("no file matches `{pattern}`");
    }
    Ok(files)
}
