//! `twofold test`: the unit tests of a pipeline's views, through both layers in this process.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use super::NotDone;
use crate::arguments::TestArguments;
use crate::console::say;
use crate::pipeline_file::read_runnable;
use crate::view_test::case::{Case, TESTS_FOLDER, read_cases};
use crate::view_test::report::{describe_case, describe_total, reports_as_json};
use crate::view_test::{TestPlan, run_case};

/// The pipeline file of a folder.
const PIPELINE_FILE: &str = "pipeline.sql";

/// Runs the command.
///
/// # Errors
/// What is wrong with the pipeline or its tests; how many failed; that there are none.
pub async fn test(arguments: &TestArguments) -> Result<()> {
    let file = pipeline_file(&arguments.pipeline);
    let pipeline = read_runnable(&file).await?;
    let cases = read_cases(&file, &pipeline)?;
    let chosen = chosen(&file, &cases, arguments.only.as_deref())?;
    let plan = TestPlan { runs: arguments.runs, seed: arguments.seed, time_limit: arguments.time_limit };
    let mut reports = Vec::new();
    for case in chosen {
        let report = run_case(case, &plan).await;
        if !arguments.json {
            say(&describe_case(&report, &arguments.pipeline));
        }
        reports.push(report);
    }
    say(&match arguments.json {
        true => format!("{}\n", reports_as_json(&reports)),
        false => describe_total(&reports),
    });
    let failed = reports.iter().filter(|report| !report.has_passed()).count();
    if failed > 0 {
        bail!("{failed} of {} tests failed", reports.len());
    }
    Ok(())
}

fn pipeline_file(path: &Path) -> PathBuf {
    if path.is_dir() { path.join(PIPELINE_FILE) } else { path.to_owned() }
}

/// The tests whose names hold the text.
fn chosen<'a>(file: &Path, cases: &'a [Case], only: Option<&str>) -> Result<Vec<&'a Case>> {
    let folder = file.with_file_name(TESTS_FOLDER);
    if cases.is_empty() {
        let files = folder.join("*.toml");
        return Err(NotDone(format!("there are no tests: {} holds none", files.display())).into());
    }
    let is_chosen = |case: &&Case| only.is_none_or(|text| case.name.contains(text));
    let chosen: Vec<&Case> = cases.iter().filter(is_chosen).collect();
    if chosen.is_empty() {
        let names: Vec<&str> = cases.iter().map(|case| case.name.as_str()).collect();
        let only = only.unwrap_or_default();
        return Err(NotDone(format!("no name of a test holds `{only}`; there are: {}", names.join(", "))).into());
    }
    Ok(chosen)
}
