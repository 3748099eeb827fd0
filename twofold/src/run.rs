//! The supervisor: owns every task of a system, notices one that dies, and stops them in the direction of the data.
//!
//! ```text
//!  stop --> intake --> archive --> speed --> batch --> gateway --> log
//! ```
//!
//! Guarantee: each stage is told to stop only when the one before it has ended, or the deadline has passed; then what
//! is still pending is named and ended. A role that ends by itself ends the system with its error, so that whoever
//! started the process can start it again; a source that must not go on (`RoleError::SourceStopped`) is noted in
//! [`Health`], and the rest goes on.
//! Not here: what the roles do (their crates), how they are built (`wiring.rs`).

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Error, Result, anyhow};
use axum::Router;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::health::Health;
use crate::status::{FactSources, StatusBoard};

/// A group of tasks that stop together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Accepts events.
    Intake,
    /// Writes the master dataset.
    Archive,
    /// Keeps realtime views.
    Speed,
    /// Publishes batch views.
    Batch,
    /// Answers.
    Gateway,
    /// The event log: its clients leave their groups, or its folder is closed.
    Log,
}

impl Stage {
    /// All stages in the order in which they stop.
    pub const IN_ORDER: [Self; 6] =
        [Self::Intake, Self::Archive, Self::Speed, Self::Batch, Self::Gateway, Self::Log];

    /// The name in logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Intake => "intake",
            Self::Archive => "archive",
            Self::Speed => "speed",
            Self::Batch => "batch",
            Self::Gateway => "gateway",
            Self::Log => "log",
        }
    }
}

/// How a role ended that did not end well.
#[derive(Debug)]
pub enum RoleError {
    /// This source cannot go on until an operator has acted; the other sources can.
    SourceStopped {
        /// The source.
        source: String,
        /// Why.
        error: Error,
    },
    /// The role cannot go on.
    Failed(Error),
}

/// The tasks of a system, and the token of each stage.
#[derive(Debug)]
pub struct Supervisor {
    tasks: JoinSet<Result<(), RoleError>>,
    names: HashMap<Id, (Stage, String)>,
    tokens: HashMap<Stage, CancellationToken>,
    health: Arc<Health>,
    deadline: Duration,
}

impl Supervisor {
    /// A supervisor without tasks. `deadline` is the longest time that stopping all stages may take.
    pub fn new(health: Arc<Health>, deadline: Duration) -> Self {
        let tokens = Stage::IN_ORDER.into_iter().map(|stage| (stage, CancellationToken::new())).collect();
        Self { tasks: JoinSet::new(), names: HashMap::new(), tokens, health, deadline }
    }

    /// What is known of stopped sources.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// The token that tells the tasks of a stage to stop.
    pub fn token(&self, stage: Stage) -> CancellationToken {
        self.tokens[&stage].clone()
    }

    /// Starts a task of a stage.
    pub fn start(
        &mut self,
        stage: Stage,
        name: impl Into<String>,
        role: impl Future<Output = Result<(), RoleError>> + Send + 'static,
    ) {
        let id = self.tasks.spawn(role).id();
        self.names.insert(id, (stage, name.into()));
    }

    /// Runs until `stop` is cancelled or a role dies, then stops all stages in order.
    ///
    /// # Errors
    /// The error of the role that died.
    pub async fn run(mut self, stop: CancellationToken) -> Result<()> {
        let outcome = loop {
            tokio::select! {
                () = stop.cancelled() => break Ok(()),
                Some(ended) = self.tasks.join_next_with_id() => {
                    if let Err(error) = self.judge(ended) {
                        break Err(error);
                    }
                }
            }
        };
        self.stop_in_order().await;
        outcome
    }

    /// Whether the system can go on without a task that has ended by itself.
    fn judge(&mut self, ended: Result<(Id, Result<(), RoleError>), JoinError>) -> Result<()> {
        let (id, result) = match ended {
            Ok((id, result)) => (id, result),
            Err(error) => (error.id(), Err(RoleError::Failed(anyhow!(error)))),
        };
        let (stage, name) = self.names.remove(&id).unwrap_or((Stage::Log, "unknown".to_owned()));
        match result {
            Ok(()) => Err(anyhow!("{name} ended by itself, which it must not")),
            Err(RoleError::Failed(error)) => Err(error.context(format!("{name} failed"))),
            Err(RoleError::SourceStopped { source, error }) => {
                error!(source, stage = stage.name(), error = format!("{error:#}"), "source stopped, the rest goes on");
                self.health.stop_source(&source, stage.name(), &error);
                Ok(())
            }
        }
    }

    async fn stop_in_order(&mut self) {
        let end = Instant::now() + self.deadline;
        for stage in Stage::IN_ORDER {
            self.tokens[&stage].cancel();
            if tokio::time::timeout_at(end, self.drain(stage)).await.is_err() {
                let pending = self.pending(stage);
                warn!(stage = stage.name(), pending = pending.join(", "), "still busy at the deadline, ending it");
            } else {
                info!(stage = stage.name(), "stopped");
            }
        }
        self.tasks.shutdown().await;
    }

    /// Waits until no task of the stage is left.
    async fn drain(&mut self, stage: Stage) {
        while !self.pending(stage).is_empty() {
            let Some(ended) = self.tasks.join_next_with_id().await else { return };
            let (id, failure) = match ended {
                Ok((id, Ok(()))) => (id, None),
                Ok((id, Err(RoleError::Failed(error) | RoleError::SourceStopped { error, .. }))) => (id, Some(error)),
                Err(error) => (error.id(), Some(anyhow!(error))),
            };
            let (_, name) = self.names.remove(&id).unwrap_or((stage, "unknown".to_owned()));
            if let Some(error) = failure {
                warn!(name, error = format!("{error:#}"), "failed while stopping");
            }
        }
    }

    fn pending(&self, stage: Stage) -> Vec<String> {
        self.names.values().filter(|(of, _)| *of == stage).map(|(_, name)| name.clone()).collect()
    }
}

/// Runs a supervisor in a task of its own; the set holds that one task.
pub fn supervise(supervisor: Supervisor, stop: CancellationToken) -> JoinSet<Result<()>> {
    let mut set = JoinSet::new();
    set.spawn(supervisor.run(stop));
    set
}

/// How long open requests may go on after the gateway was told to stop: longer than an answer, shorter than a wait for
/// a position.
const REQUEST_GRACE: Duration = Duration::from_secs(3);

/// Serves HTTP until `stop`, then lets open requests end.
///
/// # Errors
/// If the listener fails.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) -> Result<(), RoleError> {
    let server = axum::serve(listener, router).with_graceful_shutdown(stop.clone().cancelled_owned());
    tokio::select! {
        ended = server => ended.map_err(|error| RoleError::Failed(anyhow!(error).context("http server"))),
        () = async { stop.cancelled().await; tokio::time::sleep(REQUEST_GRACE).await } => Ok(()),
    }
}

/// Between two looks at what the gateway cannot know.
const FACTS_INTERVAL: Duration = Duration::from_secs(1);

/// Keeps the status board up to date until `stop`.
///
/// # Errors
/// None: what cannot be asked is shown as unknown.
pub async fn collect_facts(
    sources: FactSources,
    board: Arc<StatusBoard>,
    stop: CancellationToken,
) -> Result<(), RoleError> {
    while let Some(facts) = stop.run_until_cancelled(sources.gather()).await {
        board.put(facts);
        if stop.run_until_cancelled(tokio::time::sleep(FACTS_INTERVAL)).await.is_none() {
            break;
        }
    }
    Ok(())
}

/// Returns at the first SIGTERM or ctrl-c.
///
/// # Errors
/// If the operating system refuses to tell.
pub async fn wait_for_signal() -> Result<&'static str> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for ctrl-c")?;
    Ok(tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "ctrl-c",
    })
}

/// Cancels `stop` at the first signal, for work that sees the token and ends by itself. Returns only where the operating
/// system refuses to tell of signals, with its reason.
pub async fn cancel_on_signal(stop: &CancellationToken) -> Error {
    let signal = wait_for_signal().await;
    stop.cancel();
    match signal {
        Ok(_) => std::future::pending().await,
        Err(error) => error,
    }
}
