//! `twofold log tail`: shows what is in the log of a source, embedded or Kafka, through the system that runs on it.
//!
//! Why through the system: the folder of the embedded log belongs to one process, and the system knows the topic.

use anyhow::Result;
use serde_json::Value;

use crate::arguments::{LogCommand, TailArguments};
use crate::client::Client;
use crate::console::say;

/// Longest wait of one question, milliseconds; then the next one is asked.
const WAIT_MS: &str = "5000";

/// Runs the command.
///
/// # Errors
/// Where no system answers, or it knows no such source or place.
pub async fn log(command: &LogCommand) -> Result<()> {
    match command {
        LogCommand::Tail(arguments) => tail(arguments).await,
    }
}

async fn tail(arguments: &TailArguments) -> Result<()> {
    let client = Client::find(arguments.target.address.as_deref(), &arguments.target.data_dir)?;
    let path = format!("/v1/sources/{}/log", arguments.source);
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
        let answer = client.get(&path, &borrowed).await?;
        for record in answer["records"].as_array().into_iter().flatten() {
            say(&draw(record));
        }
        if arguments.no_follow {
            return Ok(());
        }
        let next = answer["next"].as_str().unwrap_or_default().to_owned();
        parameters = vec![("next", next), ("limit", limit.clone()), ("wait_ms", WAIT_MS.to_owned())];
    }
}

fn draw(record: &Value) -> String {
    let text = |name: &str| match &record[name] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    format!("{}:{}  {}  {}\n", text("partition"), text("offset"), text("time"), text("payload"))
}
