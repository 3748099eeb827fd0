//! `twofold views`: the views of the present definitions, who answers them, and what they hold.

use anyhow::{Context, Result};
use serde::Serialize;
use serving_layer::registry::DefinitionSet;

use super::apply::OpenedDefinitions;
use super::drawing::{align_right, new_table};
use super::runs::draw::json_line;
use crate::arguments::ViewsArguments;
use crate::console::say;
use crate::definition_plan::{Held, held};
use crate::gateway_memory::MemoryByView;
use crate::stored_versions::DefinedViews;

/// One definition of a view.
#[derive(Serialize)]
struct DefinedView {
    view: String,
    definitions: u64,
    hash: String,
    state: &'static str,
    holds: Option<Held>,
    /// In a gateway, as one told: also of a view that has no batch version, or never will.
    memory_bytes: Option<u64>,
}

/// Runs the command.
///
/// # Errors
/// Where registry or lake cannot be read.
pub async fn views(arguments: &ViewsArguments) -> Result<()> {
    let opened = OpenedDefinitions::open(&arguments.settings).await?;
    let set = opened.registry.present().await.context("cannot read the definitions")?;
    let memory = opened.memory(arguments.address.as_deref()).await?;
    let rows = match &set {
        Some(set) => opened.defined_views(set, &memory).await?,
        None => Vec::new(),
    };
    say(&if arguments.json { json_line(&rows) } else { draw(&rows) });
    Ok(())
}

impl OpenedDefinitions {
    /// Each definition of each view that a set names, and what it holds.
    async fn defined_views(&self, set: &DefinitionSet, memory: &MemoryByView) -> Result<Vec<DefinedView>> {
        let (mut known, mut rows) = (DefinedViews::new(&self.registry, set), Vec::new());
        for (name, state) in &set.views {
            let kept = state.kept.map(|kept| kept.defined);
            let states = [(state.served, "answers"), (state.building, "being built"), (kept, "kept, for a way back")];
            for (defined, word) in states {
                let Some(defined) = defined else { continue };
                let holds = match known.view(name, defined).await {
                    Some(view) => held(&self.lake, view).await?,
                    None => None,
                };
                let hash = defined.hash.to_string();
                let memory_bytes = memory.get(name).and_then(|by_definition| by_definition.get(&hash)).copied();
                let (view, definitions) = (name.clone(), defined.file.0);
                rows.push(DefinedView { view, definitions, hash, state: word, holds, memory_bytes });
            }
        }
        Ok(rows)
    }
}

fn draw(rows: &[DefinedView]) -> String {
    let mut table = new_table(&["view", "definitions", "state", "version", "rows", "bytes", "memory", "hash"]);
    for row in rows {
        let told = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
        let version = row.holds.map_or_else(|| "-".to_owned(), |held| held.version.to_string());
        let (rows, bytes) = (told(row.holds.map(|held| held.rows)), told(row.holds.map(|held| held.bytes)));
        let (memory, definitions) = (told(row.memory_bytes), row.definitions.to_string());
        let (view, state, hash) = (row.view.clone(), row.state.to_owned(), row.hash.clone());
        table.add_row([view, definitions, state, version, rows, bytes, memory, hash]);
    }
    align_right(&mut table, [1, 3, 4, 5, 6]);
    format!("{table}\n")
}
