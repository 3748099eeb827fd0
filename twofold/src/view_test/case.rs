//! From the folder of a pipeline to its tests.
//!
//! In: the files `tests/*.toml` beside a pipeline file. Out: cases, in the order of file names and lines, each with its
//! view. Guarantee: everything that is wrong in all files is told at once, each finding with its file and line.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use bytes::Bytes;
use positions::TimestampMicros;
use records::decode::instant_of_text;
use toml::Spanned;
use views::{Pipeline, PlannedView};

use super::expected::Expected;
use super::texts::{FileText, Folders, GivenText, TestText, read_limited};

/// The folder of tests, beside the pipeline file.
pub const TESTS_FOLDER: &str = "tests";
/// The most events of a test.
pub const MAX_EVENTS: usize = 10_000;

/// One test.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its name.
    pub name: String,
    /// The file that it stands in.
    pub file: PathBuf,
    /// The line there in which it begins.
    pub line: usize,
    /// The view that is asked.
    pub view: PlannedView,
    /// What arrives, in this order.
    pub given: Vec<Given>,
    /// Whether the events arrive in their order in every history, in one partition.
    pub keep_order: bool,
    /// What the view then answers.
    pub expected: Expected,
}

/// Events that arrive one after another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// Payloads, each with its line; lines that are empty are left out.
    pub events: Vec<(usize, Bytes)>,
    /// When all of them arrive; `None`: each at its own time, or as soon as those before it have.
    pub arrive: Option<TimestampMicros>,
}

/// Reads all tests of a pipeline file.
///
/// # Errors
/// Everything that is wrong with them, a line each.
pub fn read_cases(pipeline_file: &Path, pipeline: &Pipeline) -> Result<Vec<Case>> {
    let parent = pipeline_file.parent().filter(|parent| !parent.as_os_str().is_empty());
    let of_pipeline = parent.unwrap_or(Path::new(".")).to_owned();
    let of_tests = of_pipeline.join(TESTS_FOLDER);
    let folders = Folders { of_tests, of_pipeline };
    let (mut cases, mut problems) = (Vec::new(), Vec::new());
    for file in test_files(&folders.of_tests)? {
        match read_file(&file) {
            Ok((text, tests)) => {
                for test in tests {
                    let line = line_of(&text, test.span().start);
                    let place = format!("{}:{line}: test `{}`", file.display(), test.get_ref().name);
                    match case_of((file.clone(), line), test.into_inner(), pipeline, &folders) {
                        Ok(case) => cases.push(case),
                        Err(error) => problems.push(format!("{place}: {error:#}")),
                    }
                }
            }
            Err(error) => problems.push(format!("{}: {error:#}", file.display())),
        }
    }
    match problems.len() {
        0 => Ok(cases),
        1 => Err(anyhow!("{}", problems.remove(0))),
        count => Err(anyhow!(problems.join("\n")).context(format!("{count} problems of the tests"))),
    }
}

/// The files of tests, by name. A folder that is missing has none.
fn test_files(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot list folder {}", folder.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.with_context(|| format!("cannot list folder {}", folder.display()))?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn read_file(path: &Path) -> Result<(String, Vec<Spanned<TestText>>)> {
    let text = read_limited(path)?;
    let file: FileText = toml::from_str(&text)?;
    Ok((text, file.test))
}

fn line_of(text: &str, at: usize) -> usize {
    1 + text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count()
}

fn case_of(place: (PathBuf, usize), test: TestText, pipeline: &Pipeline, folders: &Folders) -> Result<Case> {
    let view = pipeline.views.iter().find(|view| view.name.as_str() == test.view);
    let Some(view) = view else {
        let known: Vec<&str> = pipeline.views.iter().map(|view| view.name.as_str()).collect();
        bail!("there is no view `{}`; the pipeline has: {}", test.view, known.join(", "));
    };
    ensure!(!test.name.trim().is_empty(), "its name is empty");
    let mut given = Vec::new();
    for (number, events) in test.given.into_iter().enumerate() {
        given.push(given_of(events, folders).with_context(|| format!("given {}", number + 1))?);
    }
    let events: usize = given.iter().map(|given| given.events.len()).sum();
    ensure!(events <= MAX_EVENTS, "it gives {events} events, more than {MAX_EVENTS}");
    let expected = Expected::read(test.expect, view, folders)?;
    let (file, line) = place;
    Ok(Case { name: test.name, file, line, view: view.clone(), given, keep_order: test.keep_order, expected })
}

fn given_of(given: GivenText, folders: &Folders) -> Result<Given> {
    let text = folders.text(given.events.as_deref(), given.file.as_deref(), "events")?;
    let text = text.context("it has neither `events` nor `file`")?;
    let arrive = given.arrive.map(|text| {
        instant_of_text(&text)
            .with_context(|| format!("arrive is no instant such as 2026-01-01T12:00:00Z, but `{text}`"))
    });
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let events = lines.map(|(at, line)| (at + 1, Bytes::copy_from_slice(line.as_bytes()))).collect();
    Ok(Given { events, arrive: arrive.transpose()? })
}
