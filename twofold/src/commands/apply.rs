//! `twofold apply`: makes the definitions of a pipeline the present ones in the registry.
//!
//! Not here: what a process makes of that when it starts (`definitions.rs`).

use anyhow::{Context, Result};
use serving_layer::registry::DefinitionRegistry;

use super::read_config;
use crate::arguments::UpArguments;
use crate::console::say;
use crate::data_dir::DataDir;
use crate::pipeline_file::read_runnable;
use crate::wiring::find_lake;

/// Runs the command.
///
/// # Errors
/// Where a view cannot be run, or the registry cannot be read or written.
pub async fn apply(arguments: &UpArguments) -> Result<()> {
    let config = read_config(&arguments.settings, "")?;
    let data_dir = DataDir::find(&config.system.data_dir, config.lake.is_in_data_dir())?;
    let pipeline = read_runnable(&arguments.pipeline).await?;
    let registry = DefinitionRegistry::new(&find_lake(&config.lake, &data_dir).await?);
    let before = registry.present().await.context("cannot read the definitions")?.map(|set| set.number);
    let number = registry.claim(&pipeline).await.context("cannot register the view definitions")?;
    if before == Some(number) {
        say(&format!("definitions {} are the present ones already\n", number.0));
    } else {
        say(&format!(
            "definitions {} are the present ones now: start the processes again that are to run them\n",
            number.0
        ));
    }
    Ok(())
}
