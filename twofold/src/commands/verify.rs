//! `twofold verify`: the newest version of a view, or a receipt, against a recompute from the master dataset, on the
//! lake alone.
//!
//! Guarantee: nothing is written. It ends with an error where a group differs by more than the class of its measure
//! allows, so that a script learns of it.

mod receipt;

use std::fmt::Write as _;
use std::sync::Arc;

use anyhow::{Result, bail};
use batch_layer::recompute::{RecomputeComponents, Verified, verify as verify_version};
use records::master::MasterDataset;
use serde_json::{Value, json};
use views::{GroupDifference, MeasureDifference};

use super::{asked_pipeline, no_such, open_lake};
use crate::arguments::VerifyArguments;
use crate::console::say;
use crate::environment::{RandomIds, SystemClock};
use crate::kappa::check_verified;

/// Groups that are named of each measure.
const WORST: usize = 10;

/// Runs the command.
///
/// # Errors
/// Where the view is unknown, it cannot be computed, or differs; and as [`receipt::verify`].
pub async fn verify(arguments: &VerifyArguments) -> Result<()> {
    if receipt::is_receipt(&arguments.subject) {
        return receipt::verify(arguments).await;
    }
    let (config, data_dir, lake) = open_lake(&arguments.settings).await?;
    let pipeline = asked_pipeline(arguments.pipeline.as_deref(), &data_dir, &lake).await?;
    let Some(view) = pipeline.view(&arguments.subject).cloned() else {
        let known = pipeline.views.iter().map(|view| view.name.as_str());
        bail!(no_such("view", &arguments.subject, known));
    };
    check_verified(&view)?;
    let components = RecomputeComponents {
        master: MasterDataset::new(&lake, Arc::clone(&view.source)),
        lake,
        views: vec![view.clone()],
        clock: Arc::new(SystemClock),
        ids: Arc::new(RandomIds),
    };
    let stretch = arguments.from.zip(arguments.to);
    let found = verify_version(&components, &view, stretch, WORST, &config.batch.recompute).await?;
    let name = view.name.as_str();
    say(&if arguments.json { format!("{}\n", as_json(name, &found)) } else { in_words(name, &found) });
    if !found.is_same() {
        let version = found.version;
        bail!(
            "version {version} of {name} is not what its events give; `twofold batch run --full --view {name}` computes \
             it anew"
        );
    }
    Ok(())
}

fn in_words(view: &str, found: &Verified) -> String {
    let (version, groups) = (found.version, found.comparison.groups);
    let mut text = format!("{view}: version {version}, {groups} groups computed from the master dataset");
    if found.is_same() {
        text.push_str(", all as published\n");
        return text;
    }
    text.push('\n');
    for measure in found.comparison.measures.iter().filter(|measure| measure.different > 0) {
        describe(measure, &mut text);
    }
    text
}

fn describe(measure: &MeasureDifference, text: &mut String) {
    let (name, class, different) = (&measure.measure, measure.class.as_str(), measure.different);
    let _ = write!(text, "  {name} ({class}): {different} groups differ");
    let _ = match measure.largest {
        Some(largest) => writeln!(text, ", by up to {largest}"),
        None => writeln!(text),
    };
    for group in &measure.worst {
        let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
        let (published, computed) = (value(&group.before), value(&group.after));
        let _ = writeln!(text, "    {}: published {published}, computed {computed}", group.in_words());
    }
}

fn as_json(view: &str, found: &Verified) -> Value {
    let measures: Vec<Value> = found.comparison.measures.iter().map(measure_as_json).collect();
    json!({
        "view": view,
        "version": found.version,
        "is_same": found.is_same(),
        "groups": found.comparison.groups,
        "measures": measures,
    })
}

fn measure_as_json(measure: &MeasureDifference) -> Value {
    let group = |group: &GroupDifference| {
        let keys: serde_json::Map<String, Value> =
            group.group.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        let (published, computed) = (&group.before, &group.after);
        json!({ "group": keys, "published": published, "computed": computed, "difference": group.difference })
    };
    let worst: Vec<Value> = measure.worst.iter().map(group).collect();
    json!({
        "measure": measure.measure,
        "class": measure.class.as_str(),
        "different": measure.different,
        "largest_difference": measure.largest,
        "worst": worst,
    })
}
