//! The `twofold` program: reads the command line, runs one command, turns its error into words and an exit code.

use std::process::ExitCode;

use clap::Parser;
use twofold::arguments::Arguments;
use twofold::commands;

/// The command failed.
const FAILED: u8 = 1;
/// The command line or the configuration is wrong; clap uses the same code.
const WRONG_USAGE: u8 = 2;

#[tokio::main]
async fn main() -> ExitCode {
    match commands::run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", commands::describe_error(&error));
            ExitCode::from(if commands::is_usage_error(&error) { WRONG_USAGE } else { FAILED })
        }
    }
}
