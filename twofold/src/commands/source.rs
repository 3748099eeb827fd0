//! `twofold source`: what an operator does to one source.

use std::fmt::Write as _;
use std::sync::Arc;

use anyhow::{Context, Result};
use batch_layer::BatchError;
use batch_layer::source_reset::{CountFrom, ResetComponents, ResetOutcome, reset};
use event_log::EventLog;
use event_log::embedded::{EmbeddedLog, EmbeddedSettings};
use event_log::kafka::KafkaLog;
use lake::Lake;
use positions::Clock;
use records::RecordsError;
use records::master::{MasterDataset, MasterFacts};
use views::SourceDefinition;

use super::{asked_pipeline, find_source, read_config};
use crate::arguments::{ResetArguments, ResetFrom, SourceCommand};
use crate::config::{Config, RealtimeSettings};
use crate::console::say;
use crate::data_dir::DataDir;
use crate::environment::{RandomIds, SystemClock};
use crate::kappa::check_reset;
use crate::wiring::{connect_kafka, find_lake, open_embedded, open_store};

/// Runs the command.
///
/// # Errors
/// Where the source is unknown, or nothing could or needed to be done.
pub async fn source(command: &SourceCommand) -> Result<()> {
    match command {
        SourceCommand::Reset(arguments) => reset_source(arguments).await,
    }
}

async fn reset_source(arguments: &ResetArguments) -> Result<()> {
    let config = read_config(&arguments.settings, "")?;
    let is_embedded = config.log.is_embedded;
    let data_dir = DataDir::find(&config.system.data_dir, is_embedded || config.lake.is_in_data_dir())?;
    // The embedded log belongs to one process; brokers serve many.
    let data_dir = if is_embedded { DataDir::lock(data_dir.root())? } else { data_dir };
    let lake = find_lake(&config.lake, &data_dir).await?;
    let pipeline = asked_pipeline(arguments.pipeline.as_deref(), &data_dir, &lake).await?;
    let source = find_source(&pipeline, &arguments.source)?;
    check_reset(source)?;
    let log = OpenLog::open(&config, &data_dir).await?;
    let done = reset_on(&config, &lake, source, (log.log(), count_from(arguments.from))).await;
    log.close().await;
    say(&describe(source, &done?));
    Ok(())
}

async fn reset_on(
    config: &Config,
    lake: &Lake,
    source: &Arc<SourceDefinition>,
    (log, from): (Arc<dyn EventLog>, CountFrom),
) -> Result<ResetOutcome> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let store = match &config.realtime {
        RealtimeSettings::Memory { .. } => None,
        shared => Some(open_store(shared, &clock).await?),
    };
    let master = MasterDataset::new(lake, source.clone());
    let components = ResetComponents { log, master, store, source: source.clone(), ids: Arc::new(RandomIds) };
    match reset(&components, from).await {
        // No other try would end in another way.
        Err(error @ BatchError::TopicIsArchived { .. }) => Err(error.into()),
        Err(error @ BatchError::Records(RecordsError::Conflict { .. })) => {
            Err(error).context("the master dataset kept changing; stop the source's archive and run the reset again")
        }
        ended => ended.context("the reset did not come to its end; once the cause is gone, run it again"),
    }
}

fn count_from(argument: ResetFrom) -> CountFrom {
    match argument {
        ResetFrom::Start => CountFrom::Start,
        ResetFrom::End => CountFrom::End,
    }
}

/// The log of a command that runs for a moment.
pub(super) enum OpenLog {
    Embedded(EmbeddedLog),
    Kafka(KafkaLog),
}

impl OpenLog {
    pub(super) async fn open(config: &Config, data_dir: &DataDir) -> Result<Self> {
        if config.log.is_embedded {
            let settings = EmbeddedSettings { folder: data_dir.log(), ..config.log.embedded.clone() };
            return Ok(Self::Embedded(open_embedded(settings).await?));
        }
        Ok(Self::Kafka(connect_kafka(config.log.kafka.clone()).await?))
    }

    pub(super) fn log(&self) -> Arc<dyn EventLog> {
        match self {
            Self::Embedded(log) => Arc::new(log.clone()),
            Self::Kafka(log) => Arc::new(log.clone()),
        }
    }

    pub(super) async fn close(self) {
        match self {
            Self::Embedded(log) => log.close().await,
            Self::Kafka(log) => log.closed().await,
        }
    }
}

fn describe(source: &SourceDefinition, outcome: &ResetOutcome) -> String {
    let (name, topic) = (&source.name, &source.topic);
    match outcome {
        ResetOutcome::NothingRead(life) => {
            format!(
                "source {name}: nothing of topic {topic} has been read in its life {} yet; nothing to reset\n",
                life.0
            )
        }
        ResetOutcome::Begun(facts) => format!(
            "source {name}: life {} of topic {topic} begins\n{}\
             Roles that stopped with the source have to be started again; those that run go on by themselves. Answers show \
             the former life until the batch layer has published once.\n",
            facts.life.incarnation.0,
            describe_partitions(facts),
        ),
    }
}

fn describe_partitions(facts: &MasterFacts) -> String {
    let mut text = String::new();
    for (partition, start) in &facts.life.starts {
        let hole = facts.holes.iter().find(|hole| hole.partition == *partition && hole.to == start.offset);
        let lost = hole.map(|hole| format!(", {} records before it were never archived", hole.to.0 - hole.from.0));
        let (at, lost) = (start.offset, lost.unwrap_or_default());
        let _ =
            writeln!(text, "  partition {partition}: offset {} of the topic is offset {at}{lost}", start.log_offset);
    }
    text
}
