//! `twofold doctor`: checks what a start needs, all of it, and says what is wrong with each part.

use std::sync::Arc;

use anyhow::{Context, Error, Result, bail};
use event_log::kafka::KafkaLog;
use positions::Clock;
use tokio::net::TcpListener;
use views::Pipeline;

use super::read_config;
use crate::arguments::UpArguments;
use crate::certificates::Certificates;
use crate::config::{Config, LogSettings};
use crate::console::say;
use crate::data_dir::DataDir;
use crate::environment::SystemClock;
use crate::pipeline_file::read_runnable;
use crate::schema_registry::{HttpSchemaRegistry, check_formats};
use crate::wiring::{open_lake, open_store};

/// Runs the command.
///
/// # Errors
/// If a part cannot be used; all parts have been told by then.
pub async fn doctor(arguments: &UpArguments) -> Result<()> {
    let config = read_config(&arguments.settings, "")?;
    let pipeline = read_runnable(&arguments.pipeline).await;
    let registry = check_registry(&config, pipeline.as_ref().ok()).await;
    let mut checks = vec![("pipeline", pipeline.map(|pipeline| format!("{} views", pipeline.views.len())))];
    match DataDir::lock(&config.system.data_dir) {
        Ok(data_dir) => {
            checks.push(("data directory", Ok(data_dir.root().display().to_string())));
            let lake = open_lake(&config.lake, &data_dir).await;
            checks.push(("object store", lake.map(|_| "honours conditional puts".to_owned())));
        }
        Err(error) => checks.push(("data directory", Err(error))),
    }
    checks.extend(check_certificates(&config).await.map(|found| ("certificate", found)));
    checks.push(("port", check_port(&config).await));
    checks.push(("event log", check_log(&config.log).await));
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    checks.push(("realtime store", open_store(&config.realtime, &clock).await.map(|_| "can be used".to_owned())));
    checks.extend(registry.map(|registry| ("schema registry", registry)));
    report(checks)
}

/// `None`: there is none, and no source needs one.
async fn check_registry(config: &Config, pipeline: Option<&Pipeline>) -> Option<Result<String>> {
    let Some(settings) = &config.schema_registry else {
        return check_formats(config, pipeline?).err().map(Err);
    };
    let found = match HttpSchemaRegistry::new(settings) {
        Ok(registry) => registry.count_subjects().await,
        Err(error) => Err(error),
    };
    Some(found.map(|subjects| format!("{} answers, and has {subjects} subjects", settings.url)))
}

fn report(checks: Vec<(&str, Result<String>)>) -> Result<()> {
    let mut failed = Vec::new();
    for (part, outcome) in checks {
        match outcome {
            Ok(found) => say(&format!("ok    {part}: {found}\n")),
            Err(error) => {
                say(&format!("FAIL  {part}: {error:#}\n"));
                failed.push(part);
            }
        }
    }
    if failed.is_empty() { Ok(()) } else { bail!("cannot be used: {}", failed.join(", ")) }
}

/// `None`: the port is to speak plain HTTP.
async fn check_certificates(config: &Config) -> Option<Result<String>> {
    let opened = Certificates::open(&config.system, Arc::new(SystemClock)).await;
    let told = opened.map(|found| Some(found?.warning().unwrap_or_else(|| "can be used".to_owned())));
    told.map_err(Error::from).transpose()
}

async fn check_port(config: &Config) -> Result<String> {
    let listen = config.system.listen;
    TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
    Ok(format!("{listen} is free"))
}

async fn check_log(settings: &LogSettings) -> Result<String> {
    if settings.is_embedded {
        return Ok("embedded log".to_owned());
    }
    KafkaLog::connect(settings.kafka.clone()).await?;
    Ok(format!("{} answers", settings.kafka.bootstrap_servers))
}
