//! The commands: each reads its arguments, does its work through the other modules, and answers in words.

mod apply;
mod batch;
mod defined;
mod demo;
mod diff;
mod doctor;
mod drawing;
mod erase;
pub mod explain;
mod generate;
mod health;
mod import;
mod key;
mod load;
mod log;
mod machines;
mod query;
pub mod rejected;
mod repair;
mod rollback;
pub mod runs;
mod source;
pub mod status;
mod test;
mod up;
mod validate;
mod verify;

use std::collections::BTreeSet;
use std::env::VarError;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Error, Result};
use clap::CommandFactory;
use lake::Lake;
use positions::Clock;
use serde_json::json;
use serving_layer::registry::DefinitionRegistry;
use tracing::warn;
use views::{Pipeline, SourceDefinition};

use crate::arguments::{Arguments, Command, SettingsArguments, TargetArguments};
use crate::client::Client;
use crate::config::{Config, ConfigError, ConfigInputs, ConfigProblem, ENVIRONMENT_PREFIX, stray_variables};
use crate::data_dir::{DataDir, NoDataDir};
use crate::environment::SystemClock;
use crate::logging::start_logging;
use crate::pipeline_file::read_pipeline;
use crate::role::{Role, Roles};
use crate::signals::outlive_signals;
use crate::system::Claim;
use crate::wiring::{NoLake, find_lake};

/// Runs the command of a command line.
///
/// # Errors
/// Whatever kept the command from doing its work; [`describe_error`] turns it into words.
pub async fn run(arguments: Arguments) -> Result<()> {
    start_logging(&arguments.logs, arguments.command.is_server())?;
    outlive_signals()?;
    warn_of_strays();
    match arguments.command {
        Command::Up(arguments) => up::up(&arguments.up, Roles::all(), claim_of(arguments.apply)).await,
        Command::Collector(arguments) => up::up(&arguments, Roles::only(Role::Collector), Claim::Follow).await,
        Command::Archive(arguments) => up::up(&arguments, Roles::only(Role::Archive), Claim::Follow).await,
        Command::Speed(arguments) => up::up(&arguments, Roles::only(Role::Speed), Claim::Follow).await,
        Command::Gateway(arguments) => up::up(&arguments, Roles::only(Role::Gateway), Claim::Follow).await,
        Command::Batch(arguments) => batch::batch(&arguments).await,
        Command::Worker(arguments) => up::up(&arguments, Roles::only(Role::Worker), Claim::Follow).await,
        Command::Scheduler(arguments) => machines::scheduler(&arguments).await,
        Command::Executor(arguments) => machines::executor(&arguments).await,
        Command::Plan(arguments) => apply::plan(&arguments).await,
        Command::Apply(arguments) => apply::apply(&arguments).await,
        Command::Rollback(arguments) => rollback::rollback(&arguments).await,
        Command::Views(arguments) => defined::views(&arguments).await,
        Command::Diff(arguments) => diff::diff(&arguments).await,
        Command::Demo(arguments) => demo::demo(&arguments).await,
        Command::Erase(arguments) => erase::erase(&arguments).await,
        Command::Generate(arguments) => generate::generate(&arguments).await,
        Command::Import(arguments) => import::import(&arguments).await,
        Command::Load(arguments) => load::load(&arguments).await,
        Command::Doctor(arguments) => doctor::doctor(&arguments).await,
        Command::Health(settings) => health::health(&settings).await,
        Command::Query(arguments) => query::query(&arguments).await,
        Command::Explain(arguments) => explain::explain(&arguments).await,
        Command::Validate(arguments) => validate::validate(&arguments).await,
        Command::Test(arguments) => test::test(&arguments).await,
        Command::Verify(arguments) => verify::verify(&arguments).await,
        Command::Log(command) => log::log(&command).await,
        Command::Source(command) => source::source(&command).await,
        Command::Key(command) => key::key(&command),
        Command::Runs(command) => runs::runs(&command).await,
        Command::Lake(command) => repair::lake(&command).await,
        Command::Status(arguments) => status::status(&arguments).await,
        Command::Rejected(arguments) => rejected::rejected(&arguments).await,
    }
}

fn claim_of(is_asked: bool) -> Claim {
    if is_asked { Claim::Asked } else { Claim::AtStart }
}

/// The configuration of a command: defaults, presets of the command, file, environment, flags.
fn read_config(arguments: &SettingsArguments, presets: &str) -> Result<Config> {
    let mut files = vec![("preset of the command".to_owned(), presets.to_owned())];
    if let Some(path) = &arguments.config {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read configuration file {}", path.display()))?;
        files.push((path.display().to_string(), text));
    }
    let data_dir = arguments.data_dir.as_deref().map(text_of_path).transpose()?.map(|path| ("system.data_dir", path));
    let listen = arguments.listen.as_ref().map(|address| ("system.listen", address.clone()));
    let flags = [data_dir, listen].into_iter().flatten().map(|(key, text)| (key.to_owned(), text)).collect();
    Ok(Config::read(ConfigInputs { files, environment: read_environment()?, flags })?)
}

/// What a command that works on the lake alone begins with: settings, data directory, and the lake that they name.
async fn open_lake(settings: &SettingsArguments) -> Result<(Config, DataDir, Lake)> {
    let config = read_config(settings, "")?;
    let data_dir = DataDir::find(&config.system.data_dir, config.lake.is_in_data_dir())?;
    let lake = find_lake(&config.lake, &data_dir).await?;
    Ok((config, data_dir, lake))
}

/// The key that commands show to a running system, where no file holds it. No flag: a command line is read by others.
const KEY_VARIABLE: &str = "TWOFOLD_KEY";

/// A client of the system that is meant, with the key to show, where there is one.
///
/// # Errors
/// If no system is named or found, or the key cannot be read.
fn client_of(target: &TargetArguments) -> Result<Client> {
    let client = Client::find(target.address.as_deref(), &target.data_dir, &target.trust)?;
    with_key(client, target.key_file.as_deref())
}

/// The same client, with the key of a file or of the environment.
fn with_key(client: Client, file: Option<&Path>) -> Result<Client> {
    let (text, place) = match (file, std::env::var(KEY_VARIABLE)) {
        (Some(path), _) => {
            let text = std::fs::read_to_string(path);
            let text = text.with_context(|| format!("cannot read the key in {}", path.display()))?;
            (text, path.display().to_string())
        }
        (None, Ok(text)) => (text, format!("environment variable {KEY_VARIABLE}")),
        (None, Err(VarError::NotPresent)) => return Ok(client),
        (None, Err(error)) => return Err(error).context(format!("environment variable {KEY_VARIABLE}")),
    };
    client.with_key(text.trim()).with_context(|| format!("no key can be read in {place}"))
}

/// A path as settings hold it. One that is not UTF-8 would be another one there.
fn text_of_path(path: &Path) -> Result<String, ConfigError> {
    path.to_str().map(str::to_owned).ok_or_else(|| {
        let message = format!("must be UTF-8, got `{}`", path.display());
        ConfigError(vec![ConfigProblem {
            key: "system.data_dir".to_owned(),
            origin: "flag --data-dir".to_owned(),
            message,
        }])
    })
}

/// Warns of environment variables that were meant for us, by their names, and set nothing.
fn warn_of_strays() {
    let names = std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned());
    let present: BTreeSet<String> = names.collect();
    let mut ours = flag_variables(&Arguments::command());
    ours.insert(KEY_VARIABLE.to_owned());
    stray_variables(&present, &ours).iter().for_each(|stray| warn!("{stray}"));
}

/// The environment variables that stand for flags of a command or of those below it.
fn flag_variables(command: &clap::Command) -> BTreeSet<String> {
    let of_flags = command.get_arguments().filter_map(|flag| Some(flag.get_env()?.to_string_lossy().into_owned()));
    of_flags.chain(command.get_subcommands().flat_map(flag_variables)).collect()
}

/// The environment variables that may be settings.
fn read_environment() -> Result<Vec<(String, String)>, ConfigError> {
    std::env::vars_os().filter(|(name, _)| is_setting(name)).map(|(name, value)| read_variable(&name, &value)).collect()
}

/// Lossy reading keeps what is looked for.
fn is_setting(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    name.starts_with(ENVIRONMENT_PREFIX) && name.contains("__")
}

fn read_variable(name: &OsStr, value: &OsStr) -> Result<(String, String), ConfigError> {
    match (name.to_str(), value.to_str()) {
        (Some(name), Some(value)) => Ok((name.to_owned(), value.to_owned())),
        _ => Err(ConfigError(vec![ConfigProblem {
            key: String::new(),
            origin: format!("environment variable {name:?}"),
            message: "is not UTF-8".to_owned(),
        }])),
    }
}

/// The pipeline asked for, else that of the registry, which every process follows; where it cannot be read here, that
/// of the system which runs on the directory, or ran last.
async fn asked_pipeline(asked: Option<&Path>, data_dir: &DataDir, lake: &Lake) -> Result<Pipeline> {
    let registry = DefinitionRegistry::new(lake);
    if asked.is_none()
        && let Some(set) = registry.present().await.context("cannot read the definitions")?
        && let Ok(Some(pipeline)) = registry.pipeline(&set, set.number).await
    {
        return Ok(pipeline);
    }
    read_pipeline(&pipeline_path(asked, data_dir)?)
}

/// The file asked for, else that of the system which runs on the directory, or ran last.
fn pipeline_path(asked: Option<&Path>, data_dir: &DataDir) -> Result<PathBuf> {
    let noted = || data_dir.run_note().and_then(|note| note.pipeline);
    asked.map(Path::to_owned).or_else(noted).with_context(|| {
        let root = data_dir.root().display();
        format!("data directory {root} does not tell which pipeline ran on it: name that with --pipeline FILE")
    })
}

/// The source of this name.
fn find_source<'a>(pipeline: &'a Pipeline, name: &str) -> Result<&'a Arc<SourceDefinition>> {
    let known = pipeline.sources.iter().map(|source| source.name.as_str());
    pipeline.source(name).with_context(|| no_such("source", name, known))
}

/// Why something that was named cannot be found in a pipeline.
fn no_such<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str>) -> String {
    format!("there is no {what} `{name}`; the pipeline has: {}", known.collect::<Vec<_>>().join(", "))
}

/// An error and what led to it, a line each.
pub fn describe_error(error: &Error) -> String {
    let mut text = format!("error: {error}");
    for cause in causes(error) {
        text.push_str(&format!("\n  because: {}", cause.replace('\n', "\n  ")));
    }
    text
}

/// The same as one line of JSON, with the members of a log line.
pub fn error_as_json(error: &Error) -> String {
    let at = chrono::DateTime::<chrono::Utc>::from_timestamp_micros(SystemClock.now().0);
    let at = at.map(|at| at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true));
    let fields = json!({ "message": "the command failed", "error": error.to_string(), "causes": causes(error) });
    json!({ "timestamp": at, "level": "ERROR", "fields": fields, "target": "twofold" }).to_string()
}

/// What led to an error, without what was told above it: some errors repeat their causes in their own words.
fn causes(error: &Error) -> Vec<String> {
    let mut told = error.to_string();
    let mut causes = Vec::new();
    for cause in error.chain().skip(1).map(|cause| cause.to_string()).filter(|cause| !cause.is_empty()) {
        if !told.contains(&cause) {
            told.push_str(&cause);
            causes.push(cause);
        }
    }
    causes
}

/// Nothing is broken, but what the command was asked for is not done.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct NotDone(String);

/// Nothing is broken, but what was to be verified cannot be any more.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct NotVerifiable(String);

/// The exit code that an error ends with: 1 failed, 2 where the command line or the configuration is to blame, 3 where
/// it is not done now, 4 where it can be verified no more.
pub fn exit_code(error: &Error) -> u8 {
    let is_usage_error = |cause: &(dyn std::error::Error + 'static)| {
        cause.is::<ConfigError>() || cause.is::<NoDataDir>() || cause.is::<NoLake>()
    };
    if error.chain().any(is_usage_error) {
        return 2;
    }
    match error {
        error if error.is::<NotDone>() => 3,
        error if error.is::<NotVerifiable>() => 4,
        _ => 1,
    }
}
