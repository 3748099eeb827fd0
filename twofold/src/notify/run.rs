//! The loops that send notices: one for each receiver, one message after the other.
//!
//! Guarantee: an attempt ends in time, and its answer is not believed beyond its status; a message that is not taken is
//! sent again after a wait that doubles, so often as is set, unless the receiver says that it never will be. Told to
//! stop, a loop ends within an attempt; what waits is dropped and told. No address is logged: it may hold a token. Of a
//! program that did not end in time, nothing goes on.
//! Not here: what is sent.

use std::process::Stdio;
use std::sync::Arc;

use anyhow::{Context, Result};
use futures::future::join_all;
use metrics::counter;
use positions::Clock;
use reqwest::header::{CONTENT_TYPE, USER_AGENT};
use reqwest::{RequestBuilder, StatusCode};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::metrics::{NOTIFY_FAILED, NOTIFY_SENT};
use super::outbox::{Message, Receiver, Waiting, drop_message};
use super::signature::{SIGNATURE_HEADER, TIMESTAMP_HEADER, signature};
use crate::config::{ENVIRONMENT_PREFIX, NotifySettings, Secret, WebhookSettings};

const ID_HEADER: &str = "x-twofold-notice";
const OWN_NAME: &str = concat!("twofold/", env!("CARGO_PKG_VERSION"));

/// Sends what comes out of queues.
pub struct Sender {
    http: reqwest::Client,
    settings: NotifySettings,
    clock: Arc<dyn Clock>,
}

/// Why an attempt failed.
enum Failure {
    /// The next one may not.
    Again(String),
    /// Each further one will.
    Never(String),
}

impl Sender {
    /// Nothing is sent yet.
    ///
    /// # Errors
    /// If no HTTP client can be made on this machine.
    pub fn new(settings: &NotifySettings, clock: Arc<dyn Clock>) -> Result<Self> {
        let http = reqwest::Client::builder().timeout(settings.timeout).connect_timeout(settings.timeout);
        // An answer may not send notices to other addresses.
        let http = http.redirect(reqwest::redirect::Policy::none()).build();
        Ok(Self { http: http.context("cannot make a client for notices")?, settings: settings.clone(), clock })
    }

    /// Sends one message, however many attempts it takes.
    async fn send(&self, receiver: Receiver, message: &Message) {
        for failures in 1..=self.settings.retries.saturating_add(1) {
            let (is_last, why) = match self.attempt(receiver, message).await {
                Ok(()) => {
                    counter!(NOTIFY_SENT, "receiver" => receiver.name()).increment(1);
                    debug!(receiver = receiver.name(), id = message.id, "notice sent");
                    return;
                }
                Err(Failure::Again(why)) => (failures > self.settings.retries, why),
                Err(Failure::Never(why)) => (true, why),
            };
            counter!(NOTIFY_FAILED, "receiver" => receiver.name()).increment(1);
            if is_last {
                return drop_message(receiver, message, &why);
            }
            if failures == 1 {
                warn!(receiver = receiver.name(), id = message.id, why, "notice not taken; trying again");
            }
            sleep(self.settings.backoff.delay(failures)).await;
        }
    }

    async fn attempt(&self, receiver: Receiver, message: &Message) -> Result<(), Failure> {
        let in_time = timeout(self.settings.timeout, async {
            match receiver {
                Receiver::Webhook => self.post_notice(message).await,
                Receiver::Command => self.start_command(message).await,
                Receiver::OpenLineage => self.post_lineage(message).await,
            }
        });
        let late = |_| Err(Failure::Again("it took longer than `notify.timeout`".to_owned()));
        in_time.await.unwrap_or_else(late)
    }

    async fn post_notice(&self, message: &Message) -> Result<(), Failure> {
        let Some(WebhookSettings { url, secret }) = &self.settings.webhook else { return Err(not_configured()) };
        let request = self.http.post(&url.0).header(ID_HEADER, &message.id);
        let signed = match secret {
            Some(Secret(secret)) => {
                let timestamp = self.clock.now().0.div_euclid(1_000_000).to_string();
                let signature = signature(secret, &timestamp, &message.body);
                request.header(TIMESTAMP_HEADER, timestamp).header(SIGNATURE_HEADER, signature)
            }
            None => request,
        };
        post(signed, message).await
    }

    async fn post_lineage(&self, message: &Message) -> Result<(), Failure> {
        let Some(lineage) = &self.settings.openlineage else { return Err(not_configured()) };
        let request = self.http.post(lineage.url.clone());
        let known = match &lineage.key {
            Some(Secret(key)) => request.bearer_auth(key),
            None => request,
        };
        post(known, message).await
    }

    async fn start_command(&self, message: &Message) -> Result<(), Failure> {
        let Some((program, arguments)) = self.settings.command.split_first() else { return Err(not_configured()) };
        let again = |what: &str, error: std::io::Error| Failure::Again(format!("{what} `{program}`: {error}"));
        let mut command = command_of(program, arguments);
        let mut child = command.spawn().map_err(|error| again("cannot start", error))?;
        // Dropped before the child, while the number is still its own.
        let mut group = ProcessGroup::of(&child);
        if let Some(mut input) = child.stdin.take() {
            // A program that does not care for all of it may close its input; how it ends is what counts.
            let _ = input.write_all(&message.body).await;
        }
        let status = child.wait().await.map_err(|error| again("cannot wait for", error))?;
        group.leave();
        if status.success() { Ok(()) } else { Err(Failure::Again(format!("`{program}` ended with {status}"))) }
    }
}

/// A program and all that it starts. Dropped before the program has ended, it ends all of them: a shell's own children
/// would go on without it, with nobody to end them.
struct ProcessGroup(Option<Pid>);

impl ProcessGroup {
    fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw))
    }

    /// The program has ended by itself: what it left behind, it meant to.
    fn leave(&mut self) {
        self.0 = None;
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // Refused only where none of them lives any more.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// The program leads a group of its own, and gets no settings of ours by its environment: they may be secrets.
fn command_of(program: &str, arguments: &[String]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    command.process_group(0);
    let names = std::env::vars_os().map(|(name, _)| name);
    for name in names.filter(|name| name.to_string_lossy().starts_with(ENVIRONMENT_PREFIX)) {
        command.env_remove(name);
    }
    command
}

async fn post(request: RequestBuilder, message: &Message) -> Result<(), Failure> {
    let request = request.header(CONTENT_TYPE, "application/json").header(USER_AGENT, OWN_NAME);
    let answer = request.body(message.body.clone()).send().await;
    let answer = answer.map_err(|error| Failure::Again(lake::chain(&error.without_url())))?;
    let status = answer.status();
    let why = || format!("it answered {}", status.as_u16());
    match status {
        _ if status.is_success() => Ok(()),
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
            Err(Failure::Again(why()))
        }
        _ if status.is_server_error() => Err(Failure::Again(why())),
        _ => Err(Failure::Never(why())),
    }
}

fn not_configured() -> Failure {
    Failure::Never("it is not configured".to_owned())
}

/// Sends what comes out of all queues until `stop`, or until nobody puts anything into them any more and they are
/// empty.
pub async fn send_all(sender: Sender, queues: Vec<Waiting>, stop: CancellationToken) {
    join_all(queues.into_iter().map(|queue| send_of(&sender, queue, &stop))).await;
}

async fn send_of(sender: &Sender, mut queue: Waiting, stop: &CancellationToken) {
    let receiver = queue.receiver;
    let why = "this process is stopping";
    while let Some(Some(message)) = stop.run_until_cancelled(queue.messages.recv()).await {
        if stop.run_until_cancelled(sender.send(receiver, &message)).await.is_none() {
            drop_message(receiver, &message, why);
        }
    }
    queue.messages.close();
    while let Ok(message) = queue.messages.try_recv() {
        drop_message(receiver, &message, why);
    }
}
