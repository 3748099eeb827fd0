//! `twofold log tail`: shows what is in the log of a source, embedded or Kafka.
//!
//! ```text
//!  a system runs on the data directory --> its HTTP route: it holds the folder of the log, and knows the topic
//!  none runs ----------------------------> the folder of the embedded log, held as a system would
//! ```
//!
//! Guarantee: without a system nothing is added and nothing that can be read is removed; what is shown ends with what
//! there is, since nobody adds to it.

use std::time::Duration;

use anyhow::{Result, bail};
use event_log::embedded::{EmbeddedLog, EmbeddedSettings};
use serde_json::Value;

use super::{client_of, find_source};
use crate::arguments::{LogCommand, TailArguments, TargetArguments};
use crate::console::say;
use crate::data_dir::{DataDir, read_run_note};
use crate::log_route::{Asked, read_log};
use crate::pipeline_file::read_pipeline;
use crate::wiring::open_embedded;

/// Longest wait of one question; then the next one is asked.
const WAIT: &str = "5s";

/// Runs the command.
///
/// # Errors
/// Where there is neither a system nor an embedded log, or it knows no such source or place.
pub async fn log(command: &LogCommand) -> Result<()> {
    let LogCommand::Tail(arguments) = command;
    match hold_stopped(&arguments.target)? {
        Some(data_dir) => tail_folder(arguments, &data_dir).await,
        None => tail_system(arguments).await,
    }
}

/// The data directory, where it has an embedded log and no system runs on it.
fn hold_stopped(target: &TargetArguments) -> Result<Option<DataDir>> {
    if target.address.is_some() || !target.data_dir.join("log").is_dir() {
        return Ok(None);
    }
    match DataDir::lock(&target.data_dir) {
        Ok(data_dir) => Ok(Some(data_dir)),
        // Whoever holds it has told where it listens.
        Err(_) if read_run_note(&target.data_dir).is_some() => Ok(None),
        Err(error) => Err(error),
    }
}

async fn tail_folder(arguments: &TailArguments, data_dir: &DataDir) -> Result<()> {
    let log = open_embedded(EmbeddedSettings::new(data_dir.log())).await?;
    let shown = show_all(arguments, &log).await;
    log.close().await;
    shown
}

async fn show_all(arguments: &TailArguments, log: &EmbeddedLog) -> Result<()> {
    let topic = find_topic(arguments, log)?;
    let mut asked = Asked {
        partition: arguments.partition,
        from: arguments.from,
        next: None,
        limit: arguments.limit.into(),
        wait: Duration::ZERO,
    };
    loop {
        let answer = read_log(log, &topic, &asked).await?;
        if show(&answer) == 0 || arguments.no_follow {
            return Ok(());
        }
        asked = Asked { partition: None, from: None, next: Some(next_of(&answer)), ..asked };
    }
}

fn find_topic(arguments: &TailArguments, log: &EmbeddedLog) -> Result<String> {
    let source = &arguments.source;
    if let Some(file) = &arguments.pipeline {
        return Ok(find_source(&read_pipeline(file)?, source)?.topic.clone());
    }
    let topics = log.topics();
    if topics.contains(source) {
        return Ok(source.clone());
    }
    let known: Vec<String> = topics.into_iter().collect();
    bail!(
        "the log has no topic `{source}`, only: {}. Where the topic of a source has another name, name the pipeline \
         with --pipeline FILE",
        known.join(", ")
    )
}

async fn tail_system(arguments: &TailArguments) -> Result<()> {
    let client = client_of(&arguments.target)?;
    let limit = arguments.limit.to_string();
    let first = [
        ("partition", arguments.partition.map(|id| id.to_string())),
        ("from", arguments.from.map(|at| at.to_string())),
    ];
    let mut parameters: Vec<(&str, String)> =
        first.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    parameters.push(("limit", limit.clone()));
    loop {
        let borrowed: Vec<(&str, &str)> = parameters.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = client.log(&arguments.source, &borrowed).await?;
        show(&answer);
        if arguments.no_follow {
            return Ok(());
        }
        parameters = vec![("next", next_of(&answer)), ("limit", limit.clone()), ("wait", WAIT.to_owned())];
    }
}

/// Prints the records of an answer; how many there were.
fn show(answer: &Value) -> usize {
    let records = answer["records"].as_array().map_or(&[][..], Vec::as_slice);
    records.iter().for_each(|record| say(&draw(record)));
    records.len()
}

fn next_of(answer: &Value) -> String {
    answer["next"].as_str().unwrap_or_default().to_owned()
}

fn draw(record: &Value) -> String {
    let text = |name: &str| match &record[name] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    format!("{}:{}  {}  {}\n", text("partition"), text("offset"), text("time"), text("payload"))
}
