//! Two batch versions of a view, compared group by group.
//!
//! In: the rows of both, as `/v1/views/{view}/rows?version=N` answers them, page after page. Out: the groups that are
//! new, gone or changed, each with its values, ordered by the group; how many are the same.
//! Guarantee: finished values are compared, as they are answered, never states. Bounded in groups.
//! Not here: versions of two definitions, which have other groups and measures (`stored_versions.rs`).

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::client::Client;

/// Rows of a page.
const PAGE_ROWS: &str = "1000";

/// A version of a view, written `VIEW@12`, or `VIEW@3:12` for that of definitions 3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionedView {
    /// The view.
    pub view: String,
    /// The number of the definitions that it is a version of; `None`: those that answer.
    pub set: Option<u64>,
    /// The number of its batch version.
    pub version: u64,
}

impl VersionedView {
    /// Reads `VIEW@12` and `VIEW@3:12`.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let read = text.rsplit_once('@').and_then(|(view, version)| {
            let (set, version) = match version.split_once(':') {
                Some((set, version)) => (Some(set.parse().ok()?), version),
                None => (None, version),
            };
            let version = version.parse().ok()?;
            (!view.is_empty()).then(|| Self { view: view.to_owned(), set, version })
        });
        read.ok_or_else(|| {
            "write a view and the number of its batch version, as in hits_by_page@12, or with the number of \
             definitions before it, as in hits_by_page@3:12"
                .to_owned()
        })
    }
}

/// What differs between two versions of a view.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VersionDiff {
    /// The dimensions that were compared by, in the order of the view.
    pub by: Vec<String>,
    /// The groups that differ.
    pub groups: Vec<GroupDiff>,
    /// How many groups are the same in both.
    pub same: usize,
}

/// A group that differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GroupDiff {
    /// Its dimensions.
    pub group: Map<String, Value>,
    /// Its measures in the first version; `None`: it is not there.
    pub before: Option<Map<String, Value>>,
    /// Those in the second one.
    pub after: Option<Map<String, Value>>,
}

/// The groups of a version: by their dimensions as text, these, and the measures.
type Groups = BTreeMap<String, (Map<String, Value>, Map<String, Value>)>;

/// Asks a system for two versions of a view and compares them; `by`: these dimensions alone, all without it.
///
/// # Errors
/// Where nothing answers, a version is not there, or one has more than `most` groups.
pub async fn compare_versions(
    client: &Client,
    (view, before, after): (&str, u64, u64),
    by: Option<&str>,
    most: usize,
) -> Result<VersionDiff> {
    let described = client.get(&format!("/v1/views/{view}"), &[]).await?;
    let known = described.get("dimensions").and_then(Value::as_array).context("the system tells no dimensions")?;
    let named = known.iter().filter_map(|dimension| dimension.get("name")?.as_str());
    let asked: Option<Vec<&str>> = by.map(|by| by.split(',').filter(|name| !name.is_empty()).collect());
    let by_names: Vec<String> =
        named.filter(|name| asked.as_ref().is_none_or(|asked| asked.contains(name))).map(str::to_owned).collect();
    let before = groups_of(client, (view, before), (by, &by_names), most).await?;
    let after = groups_of(client, (view, after), (by, &by_names), most).await?;
    Ok(compare(by_names, before, after))
}

/// Compares the groups of two versions: pure.
fn compare(by: Vec<String>, before: Groups, mut after: Groups) -> VersionDiff {
    let (mut differing, mut same) = (BTreeMap::new(), 0);
    for (key, (group, old)) in before {
        match after.remove(&key) {
            Some((_, new)) if new == old => same += 1,
            Some((_, new)) => drop(differing.insert(key, GroupDiff { group, before: Some(old), after: Some(new) })),
            None => drop(differing.insert(key, GroupDiff { group, before: Some(old), after: None })),
        }
    }
    let added = after.into_iter().map(|(key, (group, new))| (key, GroupDiff { group, before: None, after: Some(new) }));
    differing.extend(added);
    VersionDiff { by, groups: differing.into_values().collect(), same }
}

/// All groups of a version.
async fn groups_of(
    client: &Client,
    (view, version): (&str, u64),
    (by, names): (Option<&str>, &[String]),
    most: usize,
) -> Result<Groups> {
    let (path, version) = (format!("/v1/views/{view}/rows"), version.to_string());
    let mut groups = Groups::new();
    let mut cursor: Option<String> = None;
    loop {
        let fixed = [("version", version.as_str()), ("limit", PAGE_ROWS)];
        let more = [by.map(|by| ("by", by)), cursor.as_deref().map(|cursor| ("cursor", cursor))];
        let parameters: Vec<(&str, &str)> = fixed.into_iter().chain(more.into_iter().flatten()).collect();
        let answer = client.get(&path, &parameters).await?;
        let rows = answer.get("rows").and_then(Value::as_array).context("the system answers without rows")?;
        for row in rows.iter().filter_map(Value::as_object) {
            let (group, measures): (Map<_, _>, Map<_, _>) =
                row.clone().into_iter().partition(|(name, _)| names.contains(name));
            groups.insert(Value::Object(group.clone()).to_string(), (group, measures));
        }
        let hint = "compare by fewer dimensions with --by, or raise --most";
        ensure!(groups.len() <= most, "version {version} of view {view} has more than {most} groups: {hint}");
        cursor = answer.get("next").and_then(Value::as_str).map(str::to_owned);
        if cursor.is_none() {
            let is_whole = answer.get("truncated").and_then(Value::as_bool) != Some(true);
            ensure!(is_whole, "the rows of version {version} of view {view} cannot be read page by page: {hint}");
            return Ok(groups);
        }
    }
}
