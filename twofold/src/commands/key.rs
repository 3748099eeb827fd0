//! `twofold key`: makes the keys that requests are known by.
//!
//! Guarantee: a key is printed once and kept nowhere; a file that the key does not fit into is left as it was. Standard
//! output is the key alone, so that `> FILE` makes a file for `--key-file`.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use edge::{Sha256Sum, key_text};
use positions::IdSource;

use crate::access::file::{AccessFile, check_name};
use crate::arguments::{KeyCommand, NewKeyArguments};
use crate::console::{complain, say};
use crate::environment::RandomIds;

/// Runs the command.
///
/// # Errors
/// Where the key has no name that works, or does not fit into the file.
pub fn key(command: &KeyCommand) -> Result<()> {
    let KeyCommand::New(arguments) = command;
    check_name(&arguments.name).map_err(|problem| anyhow!("the key {problem}"))?;
    let key = key_text(&random_bytes());
    let sum = Sha256Sum::of_key(&key).context("the key is not one: a defect")?;
    let lines = lines_of(arguments, &sum)?;
    let place = match &arguments.file {
        Some(path) => {
            append(path, arguments, &lines)?;
            format!("Its hash was appended to {}", path.display())
        }
        None => format!("The lines for the access file, in which grants are [grants.NAME]:\n{lines}"),
    };
    say(&format!("{key}\n"));
    complain(&format!("This is the key; it is shown once and kept nowhere. {place}"));
    Ok(())
}

fn random_bytes() -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.chunks_exact_mut(16).for_each(|half| half.copy_from_slice(&RandomIds.next_id().to_ne_bytes()));
    bytes
}

fn lines_of(arguments: &NewKeyArguments, sum: &Sha256Sum) -> Result<String> {
    let grant = toml::Value::String(arguments.grant.clone());
    let mut lines = format!("[[keys]]\nname = \"{}\"\nhash = \"{sum}\"\ngrant = {grant}\n", arguments.name);
    if let Some(expires) = &arguments.expires {
        let at = chrono::DateTime::parse_from_rfc3339(expires);
        let at =
            at.with_context(|| format!("`--expires` must be an instant such as 2027-01-31T00:00:00Z, got {expires}"))?;
        let _ = writeln!(lines, "expires = {}", at.to_rfc3339());
    }
    Ok(lines)
}

fn append(path: &Path, arguments: &NewKeyArguments, lines: &str) -> Result<()> {
    let before = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let about = || format!("cannot use {}", path.display());
    let file = AccessFile::read(&before).with_context(about)?;
    file.check_grant(&arguments.grant).map_err(|problem| anyhow!("the key {problem}")).with_context(about)?;
    let pause = if before.is_empty() || before.ends_with('\n') { "\n" } else { "\n\n" };
    let added = format!("{pause}{lines}");
    if let Err(problem) = AccessFile::read(&format!("{before}{added}")) {
        bail!("the key does not fit into {}, which was left as it is: {problem}", path.display());
    }
    let opened = std::fs::OpenOptions::new().append(true).open(path);
    opened
        .and_then(|mut file| file.write_all(added.as_bytes()))
        .with_context(|| format!("cannot append to {}", path.display()))
}
