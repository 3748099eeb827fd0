//! Signals: those that end a process in order, and those that it outlives.
//!
//! Not here: how it ends (`run.rs`).

use std::time::Duration;

use anyhow::{Context, Error, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// How long after a signal another one counts as its echo.
const ECHO: Duration = Duration::from_secs(1);

/// Signals that end a process which does not listen for them, and that mean nothing to this one: those by which
/// rotators of logs ask for new files, and that of a file at the limit of its size (`ulimit -f`), whose write then
/// fails as on a full disk.
const MEANINGLESS: [SignalKind; 3] =
    [SignalKind::user_defined1(), SignalKind::user_defined2(), SignalKind::from_raw(25)];

/// Outlives signals that mean nothing.
///
/// # Errors
/// If the operating system refuses.
pub fn outlive_signals() -> Result<()> {
    // Listening once is enough: what a signal would do by itself does not come back.
    MEANINGLESS.into_iter().try_for_each(|kind| signal(kind).map(drop)).context("cannot listen for signals")
}

/// The signals that end a process in order: SIGTERM, SIGHUP, SIGQUIT and ctrl-c. A SIGHUP that whoever started the
/// process has it ignore (`nohup`) is still ignored.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
    hangup: Option<Signal>,
}

impl Signals {
    /// Listens from now on: what comes before the first question is told by it.
    ///
    /// # Errors
    /// If the operating system refuses to tell.
    pub fn listen() -> Result<Self> {
        let heard = |kind, name: &str| signal(kind).with_context(|| format!("cannot listen for {name}"));
        let hangup = if is_hangup_ignored() { None } else { Some(heard(SignalKind::hangup(), "SIGHUP")?) };
        Ok(Self {
            terminate: heard(SignalKind::terminate(), "SIGTERM")?,
            interrupt: heard(SignalKind::interrupt(), "ctrl-c")?,
            quit: heard(SignalKind::quit(), "SIGQUIT")?,
            hangup,
        })
    }

    /// The next one that is another wish: who sends a signal to a process often sends it to the whole group, too
    /// (`timeout`, a terminal that is closed), and an echo is none.
    pub async fn again(&mut self) -> &'static str {
        let _ = timeout(ECHO, self.pass_over_all()).await;
        self.next().await
    }

    async fn pass_over_all(&mut self) {
        loop {
            self.next().await;
        }
    }

    /// The next one.
    pub async fn next(&mut self) -> &'static str {
        let Self { terminate, interrupt, quit, hangup } = self;
        let hung_up = async {
            match hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "ctrl-c",
            _ = quit.recv() => "SIGQUIT",
            _ = hung_up => "SIGHUP",
        }
    }
}

/// Listening for a signal ends that it is ignored, so the operating system is asked before; where it does not tell, the
/// signal is not ignored.
fn is_hangup_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    // One bit for each signal, from number 1 on; SIGHUP is 1.
    mask.is_some_and(|mask| mask & 1 == 1)
}

/// Cancels `stop` at the first signal, for work that sees the token and ends by itself. Returns only where the
/// operating system refuses to tell of signals, with its reason.
pub async fn cancel_on_signal(stop: &CancellationToken) -> Error {
    match Signals::listen() {
        Ok(mut signals) => {
            signals.next().await;
            stop.cancel();
            std::future::pending().await
        }
        Err(error) => {
            stop.cancel();
            error
        }
    }
}
