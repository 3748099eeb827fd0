//! `twofold rollback`: back to the definitions that were present before, of all views or of one.
//!
//! Guarantee: it is an apply like any other, of a text that the registry keeps; nothing that was computed is lost, so
//! that a rollback of a rollback goes forward again.

use anyhow::{Context, Result, anyhow};
use serving_layer::registry::DefinitionSet;
use views::Pipeline;

use super::apply::OpenedDefinitions;
use crate::arguments::RollbackArguments;
use crate::console::say;

/// Runs the command.
///
/// # Errors
/// Where there is nothing to go back to, a view cannot go back alone, or the registry cannot be read or written.
pub async fn rollback(arguments: &RollbackArguments) -> Result<()> {
    let opened = OpenedDefinitions::open(&arguments.settings).await?;
    let view = arguments.view.as_deref();
    let unread = "cannot read the definitions";
    let present = opened.registry.present().await.context(unread)?;
    let present =
        present.context("no definitions were registered here yet: `twofold apply --pipeline FILE` does that")?;
    let earlier = opened.registry.before_present(view).await.context(unread)?;
    let earlier = earlier.with_context(|| match view {
        Some(view) => format!("the registry keeps no other definition of view {view}"),
        None => "the registry keeps no definitions from before the present ones".to_owned(),
    })?;
    let number = earlier.number.0;
    let read = async |set: &DefinitionSet| -> Result<Pipeline> {
        let pipeline = opened.registry.pipeline(set, set.number).await.context(unread)?;
        pipeline.with_context(|| format!("the version that registered definitions {} kept no text", set.number.0))
    };
    let former = read(&earlier).await?;
    let pipeline = match view {
        None => former,
        Some(view) => {
            let pipeline = read(&present).await?.with_view_of(&former, view);
            pipeline.map_err(|reason| {
                anyhow!("view {view} cannot go back alone: {reason}; `twofold rollback` takes the whole set back")
            })?
        }
    };
    say(&format!("back to definitions {number}{}\n", view.map(|view| format!(" of view {view}")).unwrap_or_default()));
    opened.apply(&pipeline, arguments.how).await
}
