//! `twofold status`: shows how far a running system is.

use anyhow::Result;

use crate::arguments::TargetArguments;
use crate::client::Client;

/// Runs the command.
///
/// # Errors
/// Where no system answers.
pub async fn status(arguments: &TargetArguments) -> Result<()> {
    let client = Client::find(arguments.address.as_deref(), &arguments.data_dir)?;
    println!("{:#}", client.get("/v1/status", &[]).await?);
    Ok(())
}
