//! Checks of the two stores: one object and one key written, read and removed; every table of the pipeline opened, and
//! the journal of runs.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Error, Result, anyhow, bail};
use chrono::TimeDelta;
use lake::{Lake, LakeError, describe_skew};
use positions::{Clock, IdSource};
use records::RecordsError;
use records::master::MasterDataset;
use serving_layer::redis::RedisStore;
use serving_layer::registry::{DefinitionRegistry, Standing};
use serving_layer::{BatchViewStore, ServingError};
use views::Pipeline;

use super::archived::Archived;
use super::findings::{Findings, Found};
use super::folders::check_absent;
use super::runs::check_runs;
use crate::config::quantity::format_size;
use crate::config::{Config, LakeLocation, RealtimeSettings, S3Settings};
use crate::data_dir::DataDir;
use crate::definitions::describe_followed;
use crate::environment::{RandomIds, SystemClock};
use crate::store_answers::StoreClock;
use crate::wiring::{lake_folder, lake_of};

/// Clocks that are further apart are told of; S3 refuses requests from 15 minutes on.
const CLOCK_TOLERANCE: TimeDelta = TimeDelta::seconds(60);

/// The object store, and the tables in it; the master datasets that could be opened.
pub(super) async fn check_lake(
    config: &Config,
    data_dir: Option<&DataDir>,
    pipeline: Option<&Pipeline>,
    findings: &mut Findings,
) -> Archived {
    let clock = Arc::new(StoreClock::default());
    match probe_lake(config, data_dir, &clock).await {
        Ok((found, lake)) => {
            findings.note("object store", Ok(found));
            if let Some(doubt) = clock.ahead().and_then(|ahead| doubt_clock(ahead, "the object store")) {
                findings.note("object store", Ok(doubt));
            }
            match lake {
                Some(lake) => {
                    let archived = check_tables(&lake, pipeline, findings).await;
                    check_runs(&lake, findings).await;
                    archived
                }
                None => Archived::new(),
            }
        }
        Err(error) => {
            findings.note("object store", Err(error));
            Archived::new()
        }
    }
}

/// The lake, but where its folder is not there yet.
async fn probe_lake(
    config: &Config,
    data_dir: Option<&DataDir>,
    clock: &Arc<StoreClock>,
) -> Result<(Found, Option<Lake>)> {
    let in_data_dir = match data_dir {
        Some(data_dir) => data_dir.lake(),
        None if config.lake.is_in_data_dir() => bail!("it is in the data directory, which cannot be used"),
        // The tables are elsewhere.
        None => PathBuf::new(),
    };
    let place = match &config.lake.location {
        LakeLocation::Folder(_) => {
            let folder = lake_folder(&config.lake, &in_data_dir);
            if !folder.exists() {
                return Ok((check_absent(&folder)?, None));
            }
            folder.display().to_string()
        }
        LakeLocation::S3(S3Settings { bucket, prefix, .. }) => format!("s3://{bucket}/{prefix}"),
    };
    let lake = lake_of(&config.lake, &in_data_dir, clock)?;
    lake.probe(RandomIds.next_id()).await?;
    lake.has_format().await.context("the lake cannot be opened")?;
    Ok((Found::good(format!("{place} honours conditional puts, and gives, lists and deletes objects")), Some(lake)))
}

async fn check_tables(lake: &Lake, pipeline: Option<&Pipeline>, findings: &mut Findings) -> Archived {
    if let Err(error) = check_definitions(lake, pipeline).await {
        findings.note("definitions", Err(error));
    }
    let mut archived = Archived::new();
    let Some(pipeline) = pipeline else { return archived };
    let (mut there, mut doubts) = (0_usize, Vec::new());
    let mut note = |table: String, opened: Result<bool>| match opened {
        Ok(is_there) => there += usize::from(is_there),
        Err(error) => findings.note(&table, Err(with_repair(error))),
    };
    for source in &pipeline.sources {
        let opened = MasterDataset::new(lake, Arc::clone(source)).find().await;
        let table = format!("table raw/{}", source.name);
        let found = opened.iter().flatten().flat_map(|found| found.doubts());
        doubts.extend(found.map(|doubt| (table.clone(), doubt)));
        archived.extend(opened.iter().flatten().map(|found| (Arc::clone(source), found.clone())));
        note(table, opened.map(|found| found.is_some()).map_err(Error::new));
    }
    for view in &pipeline.views {
        let opened = BatchViewStore::new(lake, view.clone()).newest().await;
        note(format!("table of view {}", view.name), opened.map(|found| found.is_some()).map_err(Error::new));
    }
    doubts.into_iter().for_each(|(table, doubt)| findings.note(&table, Ok(Found::Doubt(doubt))));
    let all = pipeline.sources.len() + pipeline.views.len();
    findings.note("tables", Ok(Found::good(format!("{there} of {all} are there and can be opened"))));
    archived
}

/// Whether a process that starts with the pipeline would run it: it follows the registry where that has newer ones.
async fn check_definitions(lake: &Lake, pipeline: Option<&Pipeline>) -> Result<()> {
    let registry = DefinitionRegistry::new(lake);
    let standing = match pipeline {
        Some(pipeline) => registry.standing(pipeline).await,
        None => registry.present().await.map(|_| None),
    };
    match standing.map_err(|error| with_repair(error.into()))? {
        Some(Standing::Past { own, present }) => Err(anyhow!(describe_followed(own, present))),
        Some(Standing::Present(_)) | None => Ok(()),
    }
}

/// What cannot be read is looked at by another command, which says what can be done.
fn with_repair(error: Error) -> Error {
    let is_damaged = matches!(error.downcast_ref::<ServingError>(), Some(ServingError::Corrupt { .. }))
        || matches!(error.downcast_ref::<ServingError>(), Some(ServingError::Lake(LakeError::Corrupt { .. })))
        || matches!(error.downcast_ref::<RecordsError>(), Some(RecordsError::Lake(LakeError::Corrupt { .. })));
    if is_damaged { error.context("damaged, `twofold lake repair` says what can be done") } else { error }
}

/// The realtime store: with the very commands and the script that it uses.
pub(super) async fn check_realtime(settings: &RealtimeSettings) -> Result<Found> {
    let redis = match settings {
        RealtimeSettings::Memory { limit_bytes } => {
            return Ok(Found::good(format!("in this process, up to {}", format_size(*limit_bytes))));
        }
        RealtimeSettings::Redis(redis) => redis.clone(),
    };
    let store = RedisStore::connect(redis).await?;
    store.check_writable().await?;
    let time = store.probe(RandomIds.next_id()).await?;
    let ahead = time.map(|time| TimeDelta::microseconds(SystemClock.now().micros_since(time)));
    let doubt = ahead.and_then(|ahead| doubt_clock(ahead, "Redis"));
    Ok(doubt.unwrap_or_else(|| Found::good("can be written, read and changed by script")))
}

fn doubt_clock(ahead: TimeDelta, whose: &str) -> Option<Found> {
    let told = || format!("{}: set whichever is wrong, and keep it right (NTP)", describe_skew(ahead, whose));
    (ahead.abs() > CLOCK_TOLERANCE).then(|| Found::Doubt(told()))
}
