//! `twofold erase`: takes events out of everything that is stored of a source.
//!
//! Guarantee: without `--yes` nothing is erased. With it, a call that was cut short is gone on with by the next one,
//! whatever that one looks for. It is shown as a run, which this process does itself (`workflow/by_command.rs`).

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use batch_layer::BatchContext;
use batch_layer::archive::{ArchiveComponents, ArchiveSettings, ArchiveStatus, dead_topic};
use batch_layer::erase::{Done, EraseComponents, Found, Wanted, archive_to_end, erase as erase_everywhere, search};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use event_log::Record;
use event_log::embedded::{Replacement, replace_payloads};
use positions::{Clock, SourceName, Stone, TimestampMicros, format_span};
use records::decode::{Decoder, erase as erase_record, wire::Schemas};
use records::master::MasterDataset;
use tokio::sync::watch;
use views::{Pipeline, SourceDefinition};

use super::source::OpenLog;
use super::{asked_pipeline, find_source, read_config};
use crate::arguments::EraseArguments;
use crate::config::{Config, RealtimeSettings};
use crate::console::say;
use crate::data_dir::DataDir;
use crate::environment::{RandomIds, SystemClock};
use crate::schema_registry;
use crate::wiring::{find_lake, open_store};
use crate::workflow::by_command::SeenRun;

/// So long the archive may take to reach the end of the log.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs the command.
///
/// # Errors
/// Where the source is unknown, the condition cannot be read, or a store failed: then the next call goes on.
pub async fn erase(arguments: &EraseArguments) -> Result<()> {
    let config = read_config(&arguments.settings, "")?;
    let is_embedded = config.log.is_embedded;
    let data_dir = DataDir::find(&config.system.data_dir, is_embedded || config.lake.is_in_data_dir())?;
    // The embedded log belongs to one process; brokers serve many.
    let data_dir = if is_embedded { DataDir::lock(data_dir.root())? } else { data_dir };
    let lake = find_lake(&config.lake, &data_dir).await?;
    let pipeline = asked_pipeline(arguments.pipeline.as_deref(), &data_dir, &lake).await?;
    let source = Arc::clone(find_source(&pipeline, &arguments.source)?);
    check_age(&source, arguments.older_than)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let context =
        BatchContext { lake, pipeline: Arc::new(pipeline), clock: Arc::clone(&clock), ids: Arc::new(RandomIds) };
    let store = match &config.realtime {
        RealtimeSettings::Memory { .. } => None,
        shared => Some(open_store(shared, &clock).await?),
    };
    let components = EraseComponents { context, source, store, settings: config.batch.recompute.clone() };
    let seen = match arguments.yes {
        true => SeenRun::of_erasing(&components.context.lake, &config, &components.source.name).await?,
        false => SeenRun::unseen(),
    };
    if let Some(progress) = seen.progress() {
        progress.set_phase("erasing, by the command itself");
    }
    let erased = seen.during(erase_all(arguments, &config, &components, &data_dir)).await;
    let briefly = |done: &Option<(Done, Option<u64>)>| done.as_ref().map(|(done, _)| describe_briefly(done));
    seen.end(erased.as_ref().ok().map(|done| briefly(done).unwrap_or_default())).await;
    if let Some((done, records)) = erased? {
        say(&describe_done(&components.source, &done, records));
    }
    Ok(())
}

/// Layers and log. `None`: nothing was to be done, or it was only asked what would be.
async fn erase_all(
    arguments: &EraseArguments,
    config: &Config,
    components: &EraseComponents,
    data_dir: &DataDir,
) -> Result<Option<(Done, Option<u64>)>> {
    let log = OpenLog::open(config, data_dir).await?;
    let erased = erase_from_layers(arguments, config, components, &log).await;
    log.close().await;
    let Some(done) = erased? else { return Ok(None) };
    let records = match config.log.is_embedded {
        true => Some(erase_from_log(components, data_dir, arguments.containing.clone()).await?),
        false => None,
    };
    Ok(Some((done, records)))
}

/// Refuses an age at which copies of events, or events that are merely late, would come after the event was erased.
fn check_age(source: &SourceDefinition, age: Option<Duration>) -> Result<()> {
    let least = source.horizon.max(source.late_after);
    if let Some(age) = age.filter(|age| *age < least) {
        let (name, age, least) = (&source.name, format_span(age), format_span(least));
        bail!(
            "--older-than {age} is less than the horizon or late_after of source {name}: copies of what is erased \
             would still come, and count; write --older-than {least} or more"
        );
    }
    Ok(())
}

/// Everything but the log. `None`: nothing was to be done, or it was only asked what would be.
async fn erase_from_layers(
    arguments: &EraseArguments,
    config: &Config,
    components: &EraseComponents,
    log: &OpenLog,
) -> Result<Option<Done>> {
    let EraseComponents { context, source, .. } = components;
    let master = MasterDataset::new(&context.lake, Arc::clone(source));
    let archive = ArchiveComponents {
        log: log.log(),
        master: master.clone(),
        source: Arc::clone(source),
        registry: schema_registry::configured(config)?,
        clock: Arc::clone(&context.clock),
        ids: Arc::clone(&context.ids),
        status: watch::Sender::new(ArchiveStatus::default()),
    };
    let settings = ArchiveSettings { commit_interval: Duration::from_millis(200), ..config.archive };
    archive_to_end(archive, settings, PATIENCE).await.context("the log could not be archived to its end")?;
    let wanted = Wanted {
        condition: arguments.condition.clone(),
        text: arguments.containing.clone(),
        older_than: arguments.older_than,
    };
    let found = search(components, &wanted).await.context("the events to be erased could not be looked up")?;
    let list = master.erased();
    let listed = list.load().await.context("the list of what was erased cannot be read")?;
    let is_by_text = arguments.containing.is_some();
    say(&describe_found(source, &found, is_by_text, listed.len()));
    say(&log.describe_kept(&source.topic, is_by_text, found.newest).await);
    say(&describe_others(&context.pipeline, source));
    if !arguments.yes {
        say("Nothing was erased. Add --yes to erase what is found; it cannot be brought back.\n");
        return Ok(None);
    }
    list.add(&found.records, context.ids.as_ref()).await.context("the list of what is erased cannot be written")?;
    let done = erase_everywhere(components).await;
    done.map(Some).context("the erasing did not come to its end; once the cause is gone, run the command again")
}

/// Takes the payloads out of the folder of the embedded log, which is closed; returns how many records.
async fn erase_from_log(components: &EraseComponents, data_dir: &DataDir, text: Option<String>) -> Result<u64> {
    let source = Arc::clone(&components.source);
    let master = MasterDataset::new(&components.context.lake, Arc::clone(&source));
    let erased = master.erased().load().await.context("the list of what was erased cannot be read")?;
    let facts = master.open().await?.map(|on| on.facts).unwrap_or_default();
    let (schemas, decoder) = (Schemas::of(&facts.schemas), Decoder::new(Arc::clone(&source)));
    let (topic, dead) = (source.topic.clone(), dead_topic(&source.topic));
    let replacement: Replacement = Arc::new(move |name: &str, record: &Record| -> Option<Bytes> {
        if name == topic {
            let items = erased.of(record.partition, facts.life.offset(record.partition, record.offset))?;
            let left = erase_record(&decoder, &schemas, record, items).payload;
            return (left != record.payload).then_some(left);
        }
        let text = text.as_ref().filter(|text| name == dead && !text.is_empty())?;
        let holds = record.payload.windows(text.len()).any(|window| window == text.as_bytes());
        holds.then(|| Stone { fingerprint: record.fingerprint(), rest: b"" }.to_payload().into())
    });
    let replaced = replace_payloads(&data_dir.log(), replacement).await;
    replaced.context("the embedded log still holds what was erased; run the command again to go on")
}

fn describe_found(source: &SourceDefinition, found: &Found, is_by_text: bool, listed: usize) -> String {
    let mut text = format!("source {}: {} events match", source.name, found.events);
    if is_by_text {
        let _ = write!(text, ", and {} rejected records hold the text", found.rejected);
    }
    let _ = writeln!(text, "; records of the log that hold them: {}", found.record_count);
    if let Some(before) = found.before.and_then(|before| DateTime::<Utc>::from_timestamp_micros(before.0)) {
        let day = before.format("%Y-%m-%d");
        let _ = writeln!(text, "  too old is what is from before {day} (UTC): no view has anything of it afterwards");
    }
    if found.record_count > 0 {
        let _ = writeln!(text, "  master dataset: up to {} of {} files are rewritten", found.files, found.all_files);
        let versions = found.versions;
        let how = if source.is_recomputed() { "computed anew" } else { "replayed from the first record" };
        let _ = writeln!(
            text,
            "  views: all of the source are {how}; {versions} former versions of views and master dataset go"
        );
    }
    if found.mentions > 0 {
        let _ = writeln!(
            text,
            "  {} other events hold the text too and stay: choose them with --where, if they are to go",
            found.mentions,
        );
    }
    if listed > 0 {
        let _ = writeln!(text, "  erased before, in whole or in part: {listed} records");
    }
    text
}

/// Sources that read the same topic have a master dataset and views of their own.
fn describe_others(pipeline: &Pipeline, source: &SourceDefinition) -> String {
    let others = pipeline.sources.iter().filter(|other| other.topic == source.topic && other.name != source.name);
    let line = |name: &SourceName| {
        format!("  source {name} reads the same topic: what is archived of it stays; erase there, too\n")
    };
    others.map(|other| line(&other.name)).collect()
}

/// For the list of runs.
fn describe_briefly(done: &Done) -> String {
    format!(
        "{} files rewritten, {} views computed anew, {} objects deleted",
        done.files,
        done.views.len(),
        done.deleted
    )
}

fn describe_done(source: &SourceDefinition, done: &Done, records: Option<u64>) -> String {
    let name = &source.name;
    let views: Vec<&str> = done.views.iter().map(|view| view.as_str()).collect();
    let mut text = format!("source {name}: erased; {} records are on the list of what is left out\n", done.listed);
    let _ = writeln!(text, "  master dataset: {} files rewritten, {} objects deleted", done.files, done.deleted);
    let views = if views.is_empty() { "none had to be".to_owned() } else { views.join(", ") };
    let _ = match source.is_recomputed() {
        true => writeln!(text, "  views computed anew: {views}"),
        false => writeln!(text, "  views: forgotten, the speed layer replays the log without what was erased"),
    };
    if let Some(records) = records {
        let _ = writeln!(text, "  embedded log: {records} records rewritten");
    }
    for table in &done.left {
        let _ = writeln!(text, "  {table} belongs to no view of this pipeline and was left: delete it, if it is yours");
    }
    if done.imports_left > 0 {
        let _ = writeln!(
            text,
            "  {} files of an import that is at work, or was cut short, were left: let it end, or call it again \
             (`twofold import`), and erase once more by the same condition",
            done.imports_left
        );
    }
    text
}

impl OpenLog {
    /// What logs hold on to whatever the command does, in lines; `newest`: the newest of the records found.
    async fn describe_kept(&self, topic: &str, is_by_text: bool, newest: Option<TimestampMicros>) -> String {
        let dead = dead_topic(topic);
        // One that cannot be asked for counts as none: it is only told of.
        let has_dead = self.log().partitions(&dead).await.is_ok();
        let Self::Kafka(log) = self else {
            return match has_dead && !is_by_text {
                true => format!(
                    "  embedded log: topic {dead} holds rejected records as they came; --containing TEXT takes out those that \
                     hold a text\n"
                ),
                false => String::new(),
            };
        };
        let span = match log.retention(topic).await {
            Ok(Some(span)) => describe_end(span, newest),
            Ok(None) => "for ever, or the broker does not tell how long (retention.ms)".to_owned(),
            Err(error) => format!("for a time that the broker does not tell ({error})"),
        };
        let mut text = format!(
            "  Kafka: topic {topic} holds such records {span}; whoever reads them here again leaves them out\n"
        );
        if has_dead {
            let _ = writeln!(text, "  Kafka: topic {dead} holds rejected records as they came, for its own time");
        }
        text
    }
}

/// Until when a topic holds records. Brokers delete segments, by the newest record in each.
fn describe_end(kept: Duration, newest: Option<TimestampMicros>) -> String {
    let span = format_span(kept);
    let end = newest.and_then(|newest| DateTime::<Utc>::from_timestamp_micros(newest.plus(kept).0));
    match end {
        Some(end) => {
            let end = end.format("%Y-%m-%d %H:%M UTC");
            format!("until {end} (retention.ms is {span}), and then until the segment around them is as old")
        }
        None => format!("for {span} from when they were sent (retention.ms)"),
    }
}
