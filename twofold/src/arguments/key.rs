//! The command line of `key`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// What to do about keys.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make a key and print it, once, with the lines for the access file (`access.file`).
    ///
    /// The file holds the hash of the key alone: nobody can read the key there, and a key that was lost is replaced by
    /// a new one. A system that runs with the file reads it again by itself.
    New(NewKeyArguments),
}

/// Arguments of `key new`.
#[derive(Clone, Debug, Args)]
pub struct NewKeyArguments {
    /// What logs call whoever shows the key: letters, digits and `.`, `_`, `-`.
    #[arg(long, value_name = "NAME")]
    pub name: String,
    /// The grant of the access file that the key has.
    #[arg(long, value_name = "GRANT")]
    pub grant: String,
    /// From when on the key counts no more, for example 2027-01-31T00:00:00Z.
    #[arg(long, value_name = "INSTANT")]
    pub expires: Option<String>,
    /// Append the lines to this access file, after checking that they fit into it.
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
}
