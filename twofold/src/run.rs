//! The supervisor: owns every task of a system, notices one that dies, and stops them in the direction of the data.
//!
//! ```text
//!  stop --> intake --> archive --> speed --> batch --> gateway --> log
//! ```
//!
//! Tasks are started before it runs ([`Supervisor::start`]) or while it does ([`TaskStarter`]); the latter can be
//! stopped one by one, and stop with their stage.
//! Guarantee: each stage is told to stop only when the one before it has ended, or the deadline has passed; then what
//! is still pending is named and ended. A role that ends by itself ends the system with its error, so that whoever
//! started the process can start it again; a source that must not go on (`RoleError::SourceStopped`) is noted in
//! [`Health`], and the rest goes on.
//! Not here: what the roles do (their crates), which of them run (`topology`), what they share (`wiring.rs`).

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Error, Result, anyhow};
use axum::Router;
use edge::{ConnectionSettings, Tls};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{error, info, warn};

use crate::health::Health;
use crate::stage::{RoleError, Stage};

/// The tasks of a system, and the token of each stage.
#[derive(Debug)]
pub struct Supervisor {
    tasks: JoinSet<Result<(), RoleError>>,
    watched: HashMap<Id, Watched>,
    tokens: HashMap<Stage, CancellationToken>,
    starts: mpsc::Receiver<Launch>,
    starter: TaskStarter,
    health: Arc<Health>,
    deadline: Duration,
}

/// What is known of a task.
#[derive(Debug)]
struct Watched {
    stage: Stage,
    name: String,
    /// Tells it to stop: that of its stage, or a child of it.
    token: CancellationToken,
    /// Tells whoever waits for its end; dropped once everything that follows from the end was noted.
    _end: Option<DropGuard>,
}

/// Starts that wait for the supervisor.
const WAITING_STARTS: usize = 16;

impl Supervisor {
    /// A supervisor without tasks. `deadline` is the longest time that stopping all stages may take.
    pub fn new(health: Arc<Health>, deadline: Duration) -> Self {
        let tokens: HashMap<Stage, CancellationToken> =
            Stage::IN_ORDER.into_iter().map(|stage| (stage, CancellationToken::new())).collect();
        let (sender, starts) = mpsc::channel(WAITING_STARTS);
        let starter = TaskStarter { starts: sender, tokens: tokens.clone() };
        Self { tasks: JoinSet::new(), watched: HashMap::new(), tokens, starts, starter, health, deadline }
    }

    /// Starts further tasks while the supervisor runs.
    pub fn starter(&self) -> TaskStarter {
        self.starter.clone()
    }

    /// The token that tells the tasks of a stage to stop.
    pub fn token(&self, stage: Stage) -> CancellationToken {
        self.tokens[&stage].clone()
    }

    /// Starts a task that runs until its stage stops.
    pub fn start(
        &mut self,
        stage: Stage,
        name: impl Into<String>,
        role: impl Future<Output = Result<(), RoleError>> + Send + 'static,
    ) {
        let watched = Watched { stage, name: name.into(), token: self.token(stage), _end: None };
        let id = self.tasks.spawn(role).id();
        self.watched.insert(id, watched);
    }

    fn start_ordered(&mut self, launch: Launch) {
        let handle = self.tasks.spawn(launch.role);
        self.watched.insert(handle.id(), launch.watched);
        // Whoever asked may have gone; the task then runs until its stage stops.
        let _ = launch.started.send(handle);
    }

    /// Runs until `stop` is cancelled or a role dies, then stops all stages in order.
    ///
    /// # Errors
    /// The error of the role that died.
    pub async fn run(mut self, stop: CancellationToken) -> Result<()> {
        let outcome = loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break Ok(()),
                // Every end was a start, so ends cannot keep starts waiting for ever; the other way round they could.
                Some(ended) = self.tasks.join_next_with_id() => {
                    if let Err(error) = self.note_end(ended) {
                        break Err(error);
                    }
                }
                Some(start) = self.starts.recv() => self.start_ordered(start),
            }
        };
        self.stop_in_order().await;
        outcome
    }

    /// Takes note of a task that has ended.
    ///
    /// # Errors
    /// If the system cannot go on without it.
    fn note_end(&mut self, ended: Result<(Id, Result<(), RoleError>), JoinError>) -> Result<()> {
        let (id, result) = match ended {
            Ok((id, result)) => (id, result),
            Err(error) => (error.id(), Err(RoleError::Failed(anyhow!(error)))),
        };
        let Some(watched) = self.watched.remove(&id) else { return Ok(()) };
        let Watched { stage, name, token, .. } = &watched;
        if token.is_cancelled() {
            tell_stopped(name, result);
            return Ok(());
        }
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
        self.starts.close();
        while self.starts.try_recv().is_ok() {}
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
            let (id, result) = match ended {
                Ok((id, result)) => (id, result),
                Err(error) => (error.id(), Err(RoleError::Failed(anyhow!(error)))),
            };
            if let Some(watched) = self.watched.remove(&id) {
                tell_stopped(&watched.name, result);
            }
        }
    }

    fn pending(&self, stage: Stage) -> Vec<String> {
        self.watched.values().filter(|task| task.stage == stage).map(|task| task.name.clone()).collect()
    }
}

/// A task that was told to stop may fail at it: the stores say where to go on.
fn tell_stopped(name: &str, result: Result<(), RoleError>) {
    if let Err(RoleError::Failed(error) | RoleError::SourceStopped { error, .. }) = result {
        warn!(name, error = format!("{error:#}"), "failed while stopping");
    }
}

/// A task that the supervisor is asked to start.
struct Launch {
    watched: Watched,
    role: Pin<Box<dyn Future<Output = Result<(), RoleError>> + Send>>,
    started: oneshot::Sender<AbortHandle>,
}

/// A task was not started, because its supervisor is stopping.
#[derive(Debug, thiserror::Error)]
#[error("cannot start the {name}: this process is stopping")]
pub struct Stopping {
    name: String,
}

/// Starts tasks under a supervisor that runs, each with a token of its own below that of its stage.
#[derive(Clone, Debug)]
pub struct TaskStarter {
    starts: mpsc::Sender<Launch>,
    tokens: HashMap<Stage, CancellationToken>,
}

impl TaskStarter {
    /// The token that tells all tasks of a stage to stop.
    pub fn token(&self, stage: Stage) -> CancellationToken {
        self.tokens[&stage].clone()
    }

    /// Starts a task; `role` gets the token that tells it to stop.
    ///
    /// # Errors
    /// [`Stopping`] if the supervisor is stopping: nothing was started. [`cause_of_death`] tells why.
    pub async fn start<F>(
        &self,
        stage: Stage,
        name: impl Into<String>,
        role: impl FnOnce(CancellationToken) -> F,
    ) -> Result<StartedTask>
    where
        F: Future<Output = Result<(), RoleError>> + Send + 'static,
    {
        let (name, token, ended) = (name.into(), self.tokens[&stage].child_token(), CancellationToken::new());
        let role = Box::pin(role(token.clone()));
        let end = Some(ended.clone().drop_guard());
        let watched = Watched { stage, name: name.clone(), token: token.clone(), _end: end };
        let (started, handle) = oneshot::channel();
        let stopping = || Stopping { name: name.clone() };
        self.starts.send(Launch { watched, role, started }).await.map_err(|_| stopping())?;
        let handle = handle.await.map_err(|_| stopping())?;
        Ok(StartedTask { name, token, ended, handle })
    }
}

/// A task that can be stopped alone. Dropped, it goes on until its stage stops.
#[derive(Debug)]
pub struct StartedTask {
    name: String,
    token: CancellationToken,
    ended: CancellationToken,
    handle: AbortHandle,
}

impl StartedTask {
    /// Whether it has ended, told to or by itself, and the supervisor has noted it.
    pub fn has_ended(&self) -> bool {
        self.ended.is_cancelled()
    }

    /// Tells it to stop and returns when it has ended, by force after `deadline`.
    pub async fn stop(self, deadline: Duration) {
        self.token.cancel();
        if tokio::time::timeout(deadline, self.ended.cancelled()).await.is_err() {
            warn!(name = self.name, "still busy at the deadline, ending it");
            self.handle.abort();
            self.ended.cancelled().await;
        }
    }
}

/// Runs a supervisor in a task of its own; the set holds that one task.
pub fn supervise(supervisor: Supervisor, stop: CancellationToken) -> JoinSet<Result<()>> {
    let mut set = JoinSet::new();
    set.spawn(supervisor.run(stop));
    set
}

/// Why a start failed: where the supervisor was stopping because a role had died, the error of that role, once all has
/// stopped; otherwise the error of the start itself.
pub async fn cause_of_death(error: Error, supervisor: &mut JoinSet<Result<()>>) -> Error {
    if !error.is::<Stopping>() {
        return error;
    }
    match supervisor.join_next().await {
        Some(Ok(Err(died))) => died,
        _ => error,
    }
}

/// How long open requests may go on after the gateway was told to stop: longer than an answer, shorter than a wait for
/// a position.
const REQUEST_GRACE: Duration = Duration::from_secs(3);

/// Serves HTTP until `stop`, over TLS where there is any, then lets open requests end.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    settings: ConnectionSettings,
    tls: Option<Tls>,
    stop: CancellationToken,
) {
    let serving = async {
        match tls {
            Some(tls) => edge::serve_tls(listener, router, settings, tls, stop.clone()).await,
            None => edge::serve(listener, router, settings, stop.clone()).await,
        }
    };
    tokio::select! {
        biased;
        () = serving => {}
        () = async { stop.cancelled().await; tokio::time::sleep(REQUEST_GRACE).await } => {}
    }
}
