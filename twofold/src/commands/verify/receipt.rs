//! `twofold verify RECEIPT`: an answer of the past against the master dataset.
//!
//! Not here: how it is found out (`../../receipt`).

use std::io::Read;

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;

use crate::arguments::VerifyArguments;
use crate::commands::{NotDone, NotVerifiable, pipeline_path, read_config};
use crate::console::say;
use crate::data_dir::DataDir;
use crate::pipeline_file::read_pipeline;
use crate::receipt::run::verify_receipt;
use crate::receipt::{Receipt, Verdict};
use crate::wiring::find_lake;

/// Whether an argument means a receipt: no view has such a name.
pub(super) fn is_receipt(subject: &str) -> bool {
    subject == "-" || subject.contains(['.', '/', '\\'])
}

/// Verifies a receipt, and says what became of it.
///
/// # Errors
/// Where it is not equal, each verdict with its exit code; where it cannot be read or computed.
pub(super) async fn verify(arguments: &VerifyArguments) -> Result<()> {
    ensure!(arguments.from.is_none(), "--from and --to are for a view: a receipt says by itself what it is about");
    let receipt = Receipt::read(&read_text(&arguments.subject)?)?;
    let config = read_config(&arguments.settings, "")?;
    let data_dir = DataDir::find(&config.system.data_dir, config.lake.is_in_data_dir())?;
    let pipeline = match &arguments.pipeline {
        Some(path) => Some(read_pipeline(path)?),
        // Where none is noted, or it is gone, the registry may still have the definition.
        None => pipeline_path(None, &data_dir).ok().and_then(|path| read_pipeline(&path).ok()),
    };
    let lake = find_lake(&config.lake, &data_dir).await?;
    let settings = &config.batch.recompute;
    let verdict = verify_receipt(&lake, pipeline.as_ref(), &receipt, arguments.wait, settings).await?;
    let view = receipt.view.as_str();
    if arguments.json {
        say(&format!("{}\n", json!({ "view": view, "rows": receipt.rows, "outcome": verdict })));
    } else if let Verdict::Equal { within_bound } = &verdict {
        say(&format!("{view}: equal{}\n", describe_bounds(within_bound)));
    }
    end(view, verdict)
}

fn read_text(subject: &str) -> Result<String> {
    if subject == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("cannot read a receipt from standard input")?;
        return Ok(text);
    }
    std::fs::read_to_string(subject).with_context(|| format!("cannot read the receipt in {subject}"))
}

fn describe_bounds(within_bound: &[String]) -> String {
    match within_bound {
        [] => ", to the last bit".to_owned(),
        measures => format!(", to the last bit but for {}, within what their class allows", measures.join(", ")),
    }
}

/// The end of the command, with the exit code of [`Verdict::exit_code`].
fn end(view: &str, verdict: Verdict) -> Result<()> {
    match verdict {
        Verdict::Equal { .. } => Ok(()),
        Verdict::Different { differences } => bail!("{view}: different: {}", differences.join("; ")),
        Verdict::NotArchived { behind } => {
            let told = behind.iter().map(|(partition, behind)| {
                let (archived, head) = (behind.archived, behind.head);
                format!("partition {partition} up to offset {archived}, of {head}")
            });
            let told = told.collect::<Vec<_>>().join(", ");
            Err(NotDone(format!("{view}: not archived yet: {told}; see `twofold status`, and verify again")).into())
        }
        Verdict::NotVerifiable { reasons } => {
            Err(NotVerifiable(format!("{view}: no longer verifiable: {}", reasons.join("; "))).into())
        }
    }
}
