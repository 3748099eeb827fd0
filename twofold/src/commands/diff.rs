//! `twofold diff`: two batch versions of a view, compared group by group.
//!
//! Not here: asking and comparing (`version_diff.rs`), versions of two definitions (`stored_versions.rs`).

use std::path::Path;

use anyhow::{Result, bail, ensure};
use positions::DefinitionNumber;
use serde_json::{Map, Value};
use serving_layer::Version;

use super::apply::OpenedDefinitions;
use super::client_of;
use super::drawing::{cell, new_table};
use super::runs::draw::json_line;
use crate::arguments::{DiffArguments, SettingsArguments};
use crate::console::say;
use crate::stored_versions::StoredVersion;
use crate::version_diff::{GroupDiff, VersionDiff, compare_versions};

/// Runs the command.
///
/// # Errors
/// Where no system answers, a version is not there, or the two are not of one view; of two definitions, where the lake
/// cannot be read.
pub async fn diff(arguments: &DiffArguments) -> Result<()> {
    let DiffArguments { before, after, .. } = arguments;
    ensure!(before.view == after.view, "both versions must be of one view, got {} and {}", before.view, after.view);
    match (before.set, after.set) {
        (None, None) => {}
        (Some(_), Some(_)) => return diff_definitions(arguments).await,
        _ => bail!("name the definitions of both versions, or of none: VIEW@3:12 VIEW@4:2, or VIEW@12 VIEW@15"),
    }
    let client = client_of(&arguments.target)?;
    let asked = (before.view.as_str(), before.version, after.version);
    let found = compare_versions(&client, asked, arguments.by.as_deref(), arguments.most).await?;
    say(&if arguments.json { json_line(&found) } else { draw(&found, arguments.limit) });
    Ok(())
}

/// Versions of two definitions: read from the lake, whether or not a system runs.
async fn diff_definitions(arguments: &DiffArguments) -> Result<()> {
    ensure!(arguments.by.is_none(), "versions of two definitions are compared by all dimensions that both have");
    // The default is that of the settings, too, where these do not say otherwise.
    let data_dir = Some(arguments.target.data_dir.clone()).filter(|data_dir| data_dir != Path::new("twofold-data"));
    let settings = SettingsArguments { config: arguments.config.clone(), data_dir, listen: None };
    let opened = OpenedDefinitions::open(&settings).await?;
    let mut found = Vec::new();
    for versioned in [&arguments.before, &arguments.after] {
        let set = DefinitionNumber(versioned.set.unwrap_or_default());
        let number = i64::try_from(versioned.version).map_or(Version(i64::MAX), Version);
        found.push(StoredVersion::find(&opened.lake, &versioned.view, set, number).await?);
    }
    let compared = opened.compare([&found[0], &found[1]], arguments.limit).await?;
    if arguments.json {
        say(&json_line(&compared));
        return Ok(());
    }
    let [before, after] = [&found[0], &found[1]].map(StoredVersion::records);
    let mut text = format!("{before} records counted by the first version, {after} by the second one\n");
    compared.describe(&mut text, 0);
    say(&text);
    Ok(())
}

fn draw(found: &VersionDiff, limit: usize) -> String {
    let differing = found.groups.len();
    let mut text = format!("{differing} groups differ, {} are the same\n", found.same);
    if differing == 0 {
        return text;
    }
    let measures: Vec<&String> = found
        .groups
        .iter()
        .find_map(|diff| diff.after.as_ref().or(diff.before.as_ref()))
        .into_iter()
        .flat_map(|measures| measures.keys())
        .collect();
    let header: Vec<&str> =
        std::iter::once("group").chain(found.by.iter().chain(measures.iter().copied()).map(String::as_str)).collect();
    let mut table = new_table(&header);
    for diff in found.groups.iter().take(limit) {
        let dimensions = found.by.iter().map(|name| diff.group.get(name).map(cell).unwrap_or_default());
        let values = measures.iter().map(|name| both(diff, name));
        let row: Vec<String> = std::iter::once(word(diff).to_owned()).chain(dimensions).chain(values).collect();
        table.add_row(row);
    }
    text.push_str(&format!("{table}\n"));
    if differing > limit {
        text.push_str(&format!("{} more are not shown: --limit\n", differing - limit));
    }
    text
}

fn word(diff: &GroupDiff) -> &'static str {
    match (&diff.before, &diff.after) {
        (None, _) => "new",
        (_, None) => "gone",
        _ => "changed",
    }
}

/// A measure in both versions; once, where it is the same.
fn both(diff: &GroupDiff, name: &str) -> String {
    let of = |measures: &Option<Map<String, Value>>| {
        measures.as_ref().map(|all| all.get(name).map(cell).unwrap_or_default())
    };
    match (of(&diff.before), of(&diff.after)) {
        (Some(before), Some(after)) if before != after => format!("{before} -> {after}"),
        (_, Some(value)) | (Some(value), None) => value,
        (None, None) => String::new(),
    }
}
