//! `twofold doctor`: checks what a start needs, all of it, and says what is wrong with each part.
//!
//! In: pipeline and configuration. Out: one line for each check, then whether a start would do.
//! Guarantee: what a start would make (data directory, folders, topics) is not made; what a probe stores is removed.
//! Not here: the words of errors, which are those of the start, since the same calls are made.

mod archived;
mod brokers;
mod findings;
mod folders;
mod runs;
mod stores;

use std::sync::Arc;

use anyhow::{Context, Error, Result};
use tokio::net::TcpListener;
use views::Pipeline;

use super::read_config;
use crate::access;
use crate::arguments::UpArguments;
use crate::certificates::Certificates;
use crate::config::{AccessMode, Config, Engine};
use crate::environment::{RandomIds, SystemClock};
use crate::machines::check_scheduler;
use crate::pipeline_file::read_runnable;
use crate::schedules::check_schedules;
use crate::schema_registry::{HttpSchemaRegistry, check_formats};
use crate::warnings::all_warnings;
use brokers::check_kafka;
use findings::{Findings, Found};
use folders::{check_data_dir, check_embedded_log};
use stores::{check_lake, check_realtime};

/// Runs the command.
///
/// # Errors
/// If a part cannot be used; all parts have been told by then.
pub async fn doctor(arguments: &UpArguments) -> Result<()> {
    let config = read_config(&arguments.settings, "")?;
    let mut findings = Findings::default();
    let pipeline = check_pipeline(arguments, &config, &mut findings).await;
    let data_dir = check_data_dir(&config.system.data_dir, &mut findings);
    let archived = check_lake(&config, data_dir.as_ref(), pipeline.as_ref(), &mut findings).await;
    findings.note("port", check_port(&config).await);
    findings.note("access", check_access(&config).await);
    if config.log.is_embedded {
        check_embedded_log(&config.log.embedded, data_dir.as_ref(), &archived, &mut findings).await;
    } else {
        check_kafka(&config, pipeline.as_ref(), &archived, &mut findings).await;
    }
    if let Some(found) = check_certificates(&config).await {
        findings.note("certificate", found);
    }
    if let Some(found) = check_machines(&config).await {
        findings.note("ballista scheduler", found);
    }
    findings.note("realtime store", check_realtime(&config.realtime).await);
    if let Some(registry) = check_registry(&config, pipeline.as_ref()).await {
        findings.note("schema registry", registry);
    }
    findings.finish()
}

/// The pipeline, where its file can be read and all its views can be run.
async fn check_pipeline(arguments: &UpArguments, config: &Config, findings: &mut Findings) -> Option<Pipeline> {
    let pipeline = read_runnable(&arguments.pipeline).await;
    let pipeline = pipeline.and_then(|pipeline| check_schedules(config, &pipeline).map(|()| pipeline));
    let (found, pipeline) = match pipeline {
        Ok(pipeline) => (Ok(Found::good(format!("{} views", pipeline.views.len()))), Some(pipeline)),
        Err(error) => (Err(error), None),
    };
    findings.note("pipeline", found);
    for warning in pipeline.iter().flat_map(|pipeline| all_warnings(config, pipeline)) {
        findings.note("pipeline", Ok(Found::Doubt(warning)));
    }
    pipeline
}

/// `None`: there is none, and no source needs one.
async fn check_registry(config: &Config, pipeline: Option<&Pipeline>) -> Option<Result<Found>> {
    let Some(settings) = &config.schema_registry else {
        return check_formats(config, pipeline?).err().map(Err);
    };
    let found = match HttpSchemaRegistry::new(settings) {
        Ok(registry) => registry.count_subjects().await,
        Err(error) => Err(error),
    };
    Some(found.map(|subjects| Found::good(format!("{} answers, and has {subjects} subjects", settings.url))))
}

/// `None`: no machines are used.
async fn check_machines(config: &Config) -> Option<Result<Found>> {
    let (settings, (host, port)) = (&config.ballista, &config.ballista.scheduler);
    if settings.engine == Engine::Local {
        return None;
    }
    let has_executors = check_scheduler(settings, &RandomIds).await;
    Some(has_executors.map(|has_executors| match has_executors {
        true => Found::good(format!("{host}:{port} answers, and has executors")),
        false => Found::Doubt(format!(
            "{host}:{port} answers, and has no executor: large groups wait for one; start it with `twofold executor`"
        )),
    }))
}

/// `None`: the port is to speak plain HTTP.
async fn check_certificates(config: &Config) -> Option<Result<Found>> {
    let opened = Certificates::open(&config.system, Arc::new(SystemClock)).await;
    let told = opened.map(|found| {
        let warning = found?.warning();
        Some(warning.map_or_else(|| Found::good("can be used"), Found::Doubt))
    });
    told.map_err(Error::from).transpose()
}

/// Who may ask, and by which keys.
async fn check_access(config: &Config) -> Result<Found> {
    access::check_listen(config)?;
    let opened = access::open(config, Arc::new(SystemClock)).await?;
    let trouble = opened.problems.troubles().into_iter().next();
    let told = trouble.map(|trouble| format!("{}: {}", trouble.about, trouble.problem));
    match told.or_else(|| access::doubt(config)) {
        Some(doubt) => Ok(Found::Doubt(doubt)),
        None => Ok(Found::good(match config.access.mode {
            AccessMode::Local => "whoever is on this machine may do everything",
            AccessMode::Keys => "each request shows a key, a token or a certificate",
            AccessMode::Open => "whoever reaches the port may do everything (`access.mode` is \"none\")",
        })),
    }
}

async fn check_port(config: &Config) -> Result<Found> {
    let listen = config.system.listen;
    let bound = TcpListener::bind(listen).await;
    bound.with_context(|| format!("cannot listen on {listen}; choose another address with --listen"))?;
    Ok(Found::good(format!("{listen} is free")))
}
