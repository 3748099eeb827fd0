//! The loop of an import: which files are not in yet, each read on a thread of its own while the next one is fetched,
//! commits of whole files.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use batch_layer::BatchError;
use batch_layer::import::{Committed, FileId, Import, Known, read_file};
use indicatif::ProgressBar;
use tokio::sync::mpsc;
use tokio::time::Instant;
use views::{SourceDefinition, declared_name};
use workflow::Progress;

use super::fetch::{Fetched, Looks, fetch, identify};
use super::file::{ImportFile, Place};
use super::portions::Reader;
use super::report::{ImportReport, Outcome};
use crate::load::progress::progress_bar;

/// Portions that are read ahead.
const AHEAD: usize = 4;

/// How often files are read again because another import came first with each commit.
const ATTEMPTS: usize = 8;

/// What is to be imported.
pub struct ImportPlan<'a> {
    /// The files, in order.
    pub files: &'a [ImportFile],
    /// The source.
    pub source: &'a SourceDefinition,
    /// Whether files are imported that are in, or of whose name another is in.
    pub is_again: bool,
    /// Whether a file is left out of which any event cannot be kept, not even as a rejected one.
    pub is_strict: bool,
    /// Told of records and bytes that are read; `None`: nobody asks.
    pub progress: Option<&'a Progress>,
}

/// Imports files; `report` says at any time what is in.
///
/// # Errors
/// Where a store failed, or others keep coming first; call again. That a file cannot be read is told in the report.
pub async fn import_files(import: &mut Import, plan: &ImportPlan<'_>, report: &mut ImportReport) -> Result<()> {
    let started = Instant::now();
    let outcome = import_all(import, plan, report).await;
    (report.took, report.token) = (started.elapsed(), import.token());
    report.partition = Some(import.partition());
    outcome
}

async fn import_all(import: &mut Import, plan: &ImportPlan<'_>, report: &mut ImportReport) -> Result<()> {
    check_rewritten(import, plan)?;
    let (declared, read) = (declared(plan.source), BTreeMap::new());
    let mut session = Session { import, plan, report, declared, read, ahead: None };
    if let Some(progress) = plan.progress {
        progress.set_phase("importing, by the command itself");
        progress.set_total_bytes(plan.files.iter().filter_map(|file| file.size).sum());
    }
    for at in 0..plan.files.len() {
        session.take(at).await?;
        if session.import.is_commit_due() {
            session.commit().await?;
        }
    }
    session.commit().await
}

/// The type of each column, as readers of text want to know it.
fn declared(source: &SourceDefinition) -> BTreeMap<String, String> {
    source.declared.fields().iter().map(|field| (field.name().clone(), declared_name(field))).collect()
}

/// Refuses a Delta table of which files were imported that are not in it any more, while it has new ones: who compacts
/// a table leaves the same rows in other files.
fn check_rewritten(import: &Import, plan: &ImportPlan<'_>) -> Result<()> {
    let mut tables: BTreeMap<&str, Vec<&ImportFile>> = BTreeMap::new();
    for file in plan.files.iter().filter(|_| !plan.is_again) {
        tables.entry(file.table.as_deref().unwrap_or_default()).or_default().push(file);
    }
    tables.remove("");
    for (table, files) in tables {
        let is_live = |name: &str| files.iter().any(|file| file.name == name);
        let is_new = |file: &&&ImportFile| !import.named_below(table).any(|(name, _)| name == file.name);
        let gone = import.named_below(table).filter(|(name, _)| !is_live(name)).count();
        let new = files.iter().filter(is_new).count();
        if gone > 0 && new > 0 {
            bail!(
                "{table} was imported before, and {gone} of the files that are in are not in the table any more, while {new} \
                 others are: where it was compacted, these hold rows that are in already; name the files that hold new \
                 rows themselves, or say --again where copies are removed by an event id"
            );
        }
    }
    Ok(())
}

struct Session<'a> {
    import: &'a mut Import,
    plan: &'a ImportPlan<'a>,
    report: &'a mut ImportReport,
    declared: BTreeMap<String, String>,
    /// Files that were read since the last commit, by their place in the plan.
    read: BTreeMap<usize, Outcome>,
    /// The file that was fetched while the one before it was read, by its place in the plan.
    ahead: Option<(usize, Result<Fetched>)>,
}

impl Session<'_> {
    /// Reads a file, unless it is in.
    async fn take(&mut self, at: usize) -> Result<()> {
        let file = &self.plan.files[at];
        let (id, looks) = match identify(file) {
            Ok(identified) => identified,
            Err(error) => {
                self.fail(at, format!("{error:#}"));
                return Ok(());
            }
        };
        match self.import.known(&id) {
            _ if self.plan.is_again => {}
            Known::New => {}
            Known::In => {
                self.report.files.insert(file.name.clone(), Outcome::Skipped);
                return Ok(());
            }
            Known::Changed => {
                let reason = format!(
                    "{} is not imported: another file was imported under this name; give the new rows a file of their own, \
                     or say --again, which imports it as another one: what was in the former counts twice, unless events \
                     have ids",
                    file.name
                );
                self.fail(at, reason);
                return Ok(());
            }
        }
        match self.read(at, id, looks).await {
            Ok(outcome) => {
                self.read.insert(at, outcome);
            }
            Err(error) if is_of_file(&error) => self.fail(at, format!("{error:#}")),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn fail(&mut self, at: usize, reason: String) {
        self.report.files.insert(self.plan.files[at].name.clone(), Outcome::Failed(reason));
    }

    async fn read(&mut self, at: usize, id: FileId, looks: Option<Looks>) -> Result<Outcome> {
        let (plan, ahead) = (self.plan, self.ahead.take());
        let file = &plan.files[at];
        let fetched = match ahead {
            Some((place, fetched)) if place == at => fetched,
            _ => fetch(file).await,
        };
        let fetched = fetched.with_context(|| NotRead(file.name.clone()))?;
        let size = file.size.filter(|_| matches!(file.place, Place::Disk(_)));
        let bar = progress_bar(&file.name, size, (at + 1, self.plan.files.len()));
        let reader = Reader { looks, ..self.reader(file, &fetched, &bar) };
        let (sender, receiver) = mpsc::channel(AHEAD);
        let reading = tokio::task::spawn_blocking(move || reader.read(&sender));
        let (progress, mut known) = (self.plan.progress, 0);
        let told = |records: u64| {
            bar.set_message(format!("{records} records"));
            if let Some(progress) = progress {
                progress.add(records.saturating_sub(std::mem::replace(&mut known, records)), 0);
            }
        };
        let next = self.next_to_fetch(at + 1);
        let fetching = async {
            let next = next?;
            Some((next, fetch(&plan.files[next]).await))
        };
        let (outcome, ahead) = tokio::join!(read_file(self.import, id, receiver, told), fetching);
        self.ahead = ahead;
        if let Some(progress) = progress {
            progress.add(0, file.size.unwrap_or(0));
        }
        let left_out = reading.await.context("the thread that reads the file ended early")?;
        bar.finish_and_clear();
        Ok(Outcome::Imported { rows: outcome?, left_out })
    }

    /// A file, where there is one that is an object and to be read: others need no fetching.
    fn next_to_fetch(&self, at: usize) -> Option<usize> {
        let file = self.plan.files.get(at).filter(|file| matches!(file.place, Place::Object(..)))?;
        let (id, _) = identify(file).ok()?;
        (self.plan.is_again || self.import.known(&id) == Known::New).then_some(at)
    }

    fn reader(&self, file: &ImportFile, fetched: &Fetched, bar: &ProgressBar) -> Reader {
        Reader {
            path: fetched.path().to_owned(),
            constants: file.constants.clone(),
            declared: self.declared.clone(),
            is_strict: self.plan.is_strict,
            looks: None,
            bar: bar.clone(),
        }
    }

    /// Commits what was read; where another import came first, what is still not in is read again.
    async fn commit(&mut self) -> Result<()> {
        for _ in 0..ATTEMPTS {
            match self.import.commit().await.context("what was read last may be in or not; run the command again")? {
                Committed::Done => {
                    for (at, outcome) in std::mem::take(&mut self.read) {
                        self.report.files.insert(self.plan.files[at].name.clone(), outcome);
                    }
                    return Ok(());
                }
                Committed::Raced => {
                    self.import.begin_apart().await?;
                    for at in std::mem::take(&mut self.read).into_keys() {
                        self.take(at).await?;
                    }
                }
            }
        }
        bail!("other imports kept coming first; run the command again")
    }
}

/// What cannot be read of a file.
#[derive(Debug, thiserror::Error)]
#[error("{0} is not imported")]
struct NotRead(String);

/// Whether others may be imported nevertheless.
fn is_of_file(error: &anyhow::Error) -> bool {
    let is_not_imported = matches!(error.downcast_ref(), Some(BatchError::NotImported { .. }));
    is_not_imported || error.downcast_ref::<NotRead>().is_some()
}
