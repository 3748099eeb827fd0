//! `twofold lake repair`: what happened to the tables of the lake, and what can be done about it.
//!
//! Guarantee: without `--yes` nothing is changed. Each table is mended by commits under the rule of all commits, beside
//! whatever runs; run twice, it finds nothing to do.
//! Not here: what is wrong with a table (`lake`), rows read again from the log (`batch_layer::lost_rows`).

use std::sync::Arc;

use anyhow::{Context, Error, Result, bail};
use batch_layer::hold::hold_off;
use batch_layer::lost_rows::{Rescue, carry_out, plan_rescue};
use batch_layer::{BatchError, describe_missing};
use event_log::EventLog;
use lake::{Examination, Lake, LakeError, Table, Unreadable};
use positions::IdSource;
use records::RecordsError;
use records::master::MasterDataset;
use serving_layer::ServingError;
use serving_layer::registry::DefinitionRegistry;
use views::SourceDefinition;

use super::source::OpenLog;
use super::{NotDone, asked_pipeline, find_source, open_lake};
use crate::arguments::repair::{LakeCommand, RepairArguments};
use crate::config::Config;
use crate::console::say;
use crate::data_dir::DataDir;
use crate::environment::RandomIds;

/// The folders that hold tables.
const MASTER_DATASETS: &str = "raw";
const BATCH_VIEWS: &str = "views";

/// What to do about a set of definitions that cannot be read. The number must not come to stand for another set.
const LOST_DEFINITIONS: &str = "restore it from a copy of the lake; or stop all processes, delete that object, and start \
                                the one with the newest pipeline first: it takes the number again";

/// How often a table is looked at again behind others that commit to it.
const ATTEMPTS: usize = 8;

/// Runs the command.
///
/// # Errors
/// Where a table cannot be mended, or there is something to mend and `--yes` was not given.
pub async fn lake(command: &LakeCommand) -> Result<()> {
    match command {
        LakeCommand::Repair(arguments) => repair(arguments).await,
    }
}

async fn repair(arguments: &RepairArguments) -> Result<()> {
    let (config, data_dir, lake) = open_lake(&arguments.settings).await?;
    let mender = Mender { config: &config, data_dir: &data_dir, lake: &lake, arguments };
    let work = mender.look_at_all();
    let found = if arguments.yes { hold_off(&lake, RandomIds.next_id(), work).await? } else { work.await? };
    let count = |wanted: Found| found.iter().filter(|found| **found == wanted).count();
    if count(Found::Beyond) > 0 {
        bail!("{} of {} tables were not mended, for the reasons above", count(Found::Beyond), found.len());
    }
    if count(Found::Waits) > 0 {
        let (waiting, tables) = (count(Found::Waits), found.len());
        let message =
            format!("{waiting} of {tables} tables are to be mended: run it again with --yes; nothing was changed");
        return Err(NotDone(message).into());
    }
    Ok(())
}

/// How a table was found, and left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// Nothing is wrong with it.
    Whole,
    /// It was mended.
    Mended,
    /// It could be mended.
    Waits,
    /// It could not.
    Beyond,
}

/// What the command works with.
struct Mender<'a> {
    config: &'a Config,
    data_dir: &'a DataDir,
    lake: &'a Lake,
    arguments: &'a RepairArguments,
}

impl Mender<'_> {
    async fn look_at_all(&self) -> Result<Vec<Found>> {
        let mut found = Vec::new();
        for folder in self.folders().await? {
            found.push(self.look_at(&folder).await.with_context(|| format!("table {folder}"))?);
        }
        if self.is_for_all() {
            found.push(self.look_at_definitions().await?);
        }
        Ok(found)
    }

    /// Whether no table was asked for by its name.
    fn is_for_all(&self) -> bool {
        self.arguments.table.is_empty() && self.arguments.source.is_empty()
    }

    async fn look_at_definitions(&self) -> Result<Found> {
        match DefinitionRegistry::new(self.lake).present().await {
            Ok(_) => {
                say("ok    definitions\n");
                Ok(Found::Whole)
            }
            Err(error @ ServingError::Corrupt { .. }) => {
                say(&format!("FAIL  {error}\n      {LOST_DEFINITIONS}\n"));
                Ok(Found::Beyond)
            }
            Err(error) => Err(error).context("cannot read the definitions"),
        }
    }

    /// The tables that were asked for, or all.
    async fn folders(&self) -> Result<Vec<String>> {
        let of_sources = self.arguments.source.iter().map(|source| format!("{MASTER_DATASETS}/{source}"));
        let asked: Vec<String> = self.arguments.table.iter().cloned().chain(of_sources).collect();
        if !asked.is_empty() {
            return Ok(asked);
        }
        let mut all = Vec::new();
        for parent in [MASTER_DATASETS, BATCH_VIEWS] {
            let names = self.lake.folders(parent).await?.into_iter();
            all.extend(names.map(|name| format!("{parent}/{name}")));
        }
        Ok(all)
    }

    async fn look_at(&self, folder: &str) -> Result<Found> {
        let mut left = ATTEMPTS;
        loop {
            left -= 1;
            match self.mend(&self.lake.table(folder)).await {
                // Somebody committed meanwhile: what is there now is looked at.
                Err(error) if is_conflict(&error) && left > 0 => {}
                ended => return ended,
            }
        }
    }

    async fn mend(&self, table: &Table) -> Result<Found> {
        let folder = table.folder();
        let examined = match table.examine().await {
            Ok(Some(examined)) => examined,
            Ok(None) => {
                say(&format!("none  {folder}: there is no table\n"));
                // A folder that was not asked for may be anything.
                return Ok(if self.is_for_all() { Found::Whole } else { Found::Beyond });
            }
            Err(error @ LakeError::Corrupt { .. }) => {
                say(&format!("FAIL  {folder}: {error}\n      {}\n", beyond(folder)));
                return Ok(Found::Beyond);
            }
            Err(error) => return Err(error.into()),
        };
        if examined.is_whole() {
            let (version, files) = (examined.snapshot.version(), examined.snapshot.files().len());
            say(&format!("ok    {folder}: version {version}, {files} files\n"));
            return Ok(Found::Whole);
        }
        say(&describe(folder, &examined));
        if examined.has_to_be_put_back() {
            if let Err(error) = table.check_repair(&examined) {
                say(&format!("      {error}\n      {}\n", beyond(folder)));
                return Ok(Found::Beyond);
            }
            if !self.arguments.yes {
                return Ok(Found::Waits);
            }
            let next = table.repair(&examined, RandomIds.next_id()).await?;
            say(&format!(
                "      mended: version {} is what version {} was\n",
                next.version(),
                examined.snapshot.version()
            ));
        }
        if examined.missing.is_empty() { Ok(Found::Mended) } else { self.bring_back(folder).await }
    }

    /// Mends a table that lacks files.
    async fn bring_back(&self, folder: &str) -> Result<Found> {
        let Some(name) = folder.strip_prefix(MASTER_DATASETS).and_then(|name| name.strip_prefix('/')) else {
            say(&format!("      {}\n", recompute(folder)));
            return Ok(Found::Beyond);
        };
        let pipeline = asked_pipeline(self.arguments.pipeline.as_deref(), self.data_dir, self.lake).await?;
        let source = find_source(&pipeline, name)?;
        // The embedded log belongs to one process; brokers serve many.
        let _lock = self.config.log.is_embedded.then(|| DataDir::lock(self.data_dir.root())).transpose()?;
        let log = OpenLog::open(self.config, self.data_dir).await?;
        let found = self.rescue(log.log(), source).await;
        log.close().await;
        found
    }

    async fn rescue(&self, log: Arc<dyn EventLog>, source: &Arc<SourceDefinition>) -> Result<Found> {
        let master = MasterDataset::new(self.lake, Arc::clone(source));
        let Some(on) = master.open().await? else { return Ok(Found::Whole) };
        let missing = on.snapshot.missing_files().await.map_err(RecordsError::from)?;
        if missing.is_empty() {
            return Ok(Found::Mended);
        }
        let erased = master.erased().load().await.map_err(RecordsError::from)?;
        let rescue = plan_rescue(log, source, on, missing, &erased).await?;
        say(&describe_rescue(&rescue));
        if !self.arguments.yes {
            return Ok(Found::Waits);
        }
        if !rescue.lost.is_empty() && !self.arguments.accept_loss {
            say(
                "      nothing was changed: restore the files from a copy, or add --accept-loss to go on without them\n",
            );
            return Ok(Found::Beyond);
        }
        let next = carry_out(&master, &rescue, RandomIds.next_id()).await?;
        say(&format!("      mended: version {}\n", next.snapshot.version()));
        Ok(Found::Mended)
    }
}

fn is_conflict(error: &Error) -> bool {
    matches!(error.downcast_ref::<LakeError>(), Some(LakeError::Conflict { .. }))
        || matches!(error.downcast_ref::<RecordsError>(), Some(RecordsError::Conflict { .. }))
        || matches!(
            error.downcast_ref::<BatchError>(),
            Some(BatchError::Records(RecordsError::Conflict { .. } | RecordsError::Lake(LakeError::Conflict { .. })))
        )
}

/// What is wrong with a table.
fn describe(folder: &str, examined: &Examination) -> String {
    let version = examined.snapshot.version();
    let mut lines = Vec::new();
    for Unreadable { version, reason, .. } in &examined.unreadable {
        lines.push(format!("version {version} cannot be read: {reason}"));
    }
    if !examined.unreadable.is_empty() {
        lines.push(format!(
            "the last one that can is version {version}, and takes their place; what was archived since is read from the \
             log again, what was published since is computed again"
        ));
    }
    match &examined.foreign {
        Some(change) => lines.push(format!("another tool changed rows, which is left out: {change}")),
        None if examined.snapshot.is_beside_others() => {
            lines.push("another tool rewrote files with the same rows; ours are put in their place again".to_owned());
        }
        None => {}
    }
    if !examined.missing.is_empty() {
        lines.push(describe_missing(folder, &examined.missing));
    }
    format!("FOUND {folder}: {}\n", lines.join("\n      "))
}

fn describe_rescue(rescue: &Rescue) -> String {
    let (gone, read) = (rescue.rows_gone(), rescue.rows_read());
    let mut text = format!("      {gone} rows are gone with their files, {read} are in the log still\n");
    for hole in &rescue.lost {
        let (partition, from, to) = (hole.partition, hole.from, hole.to);
        text.push_str(&format!(
            "      lost: partition {partition}, offsets {from} to {to} (the last one not included)\n"
        ));
    }
    if !rescue.lost.is_empty() {
        text.push_str("      what views have published of them stays until a full recompute\n");
    }
    text
}

/// What to do about a table that leads back to no version.
fn beyond(folder: &str) -> String {
    let again = match folder.starts_with(MASTER_DATASETS) {
        true => {
            "with the folders of its views, and start it again: the source is archived again from the log, as far as that \
             reaches back"
        }
        false => "and start it again: the view is computed again from what is archived",
    };
    format!("restore what is named from a copy of the lake; or stop the system, move {folder} out of the lake, {again}")
}

/// What to do about a batch view that lacks files.
fn recompute(folder: &str) -> String {
    let view = folder.strip_prefix("views/").and_then(|name| name.rsplit_once('-')).map_or(folder, |(view, _)| view);
    format!("`twofold batch run --full --view {view}` computes it again from what is archived")
}
