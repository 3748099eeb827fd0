//! The rules of the moment, and the question for keys of an issuer that they lack.
//!
//! Guarantee: a request reads no file and asks nobody but through the loop that keeps the rules, and waits for it no
//! longer than `WAIT`.
//! Not here: the loop, which fetches no more often than it wants (`twofold/src/access/run.rs`).

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::http::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use positions::Clock;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::client_certificate::ClientCertificate;
use crate::keys::KEY_PREFIX;
use crate::principal::Principal;
use crate::rules::{AccessRules, Refusal};
use crate::{Problem, ProblemKind};

/// Longest wait for keys that are fetched again.
const WAIT: Duration = Duration::from_secs(6);
/// Questions for keys that may wait at one time; beyond it a token of an unknown key is refused at once.
const WAITING: usize = 64;
/// After which a token is shown again whose issuer could not be asked for its keys.
const RETRY_SECONDS: u64 = 5;

/// A token was signed with a key that its issuer is not known to have.
#[derive(Debug)]
pub struct WantedKeys {
    /// The issuer.
    pub issuer: String,
    /// Told, or dropped, once nothing more will be done for this question.
    pub done: oneshot::Sender<()>,
}

/// See the module.
pub struct Keyring {
    // Replaced as a whole by the loop that keeps them, copied by each request; never held across a wait.
    rules: RwLock<Arc<AccessRules>>,
    wanted: mpsc::Sender<WantedKeys>,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").finish_non_exhaustive()
    }
}

/// How a principal was known, where it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    /// By what only a program adds to a request.
    Bearer,
    /// By its connection: a browser shows it for whatever page it shows.
    Certificate,
}

impl Keyring {
    /// With these rules; the receiver is for the loop that keeps them.
    pub fn new(rules: AccessRules, clock: Arc<dyn Clock>) -> (Self, mpsc::Receiver<WantedKeys>) {
        let (wanted, questions) = mpsc::channel(WAITING);
        (Self { rules: RwLock::new(Arc::new(rules)), wanted, clock }, questions)
    }

    /// Puts other rules in force, for all requests from now on.
    pub fn replace(&self, rules: AccessRules) {
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
    }

    /// Who makes a request.
    ///
    /// # Errors
    /// `unauthenticated`, and `unavailable` where the keys of a token's issuer cannot be had.
    pub(crate) async fn principal(&self, parts: &Parts) -> Result<(Principal, Shown), Problem> {
        let mut authorizations = parts.headers.get_all(AUTHORIZATION).iter();
        let Some(authorization) = authorizations.next() else {
            let certificate = parts.extensions.get::<ClientCertificate>().ok_or_else(|| refuse(NOTHING))?;
            let principal = self.rules().of_certificate(certificate).map_err(problem)?;
            return Ok((principal, Shown::Certificate));
        };
        if authorizations.next().is_some() {
            // A proxy in front may have believed the other one.
            return Err(refuse("the header Authorization stands there more than once"));
        }
        let text = bearer(authorization).ok_or_else(|| refuse("the header Authorization is not `Bearer`"))?;
        let mut found = self.rules().of_bearer(text, self.clock.now());
        if let Err(Refusal::KeysWanted { issuer, .. }) = &found {
            self.ask_for_keys(issuer.clone()).await;
            found = self.rules().of_bearer(text, self.clock.now());
        }
        found.map(|principal| (principal, Shown::Bearer)).map_err(problem)
    }

    /// Whom a key stands for that a page shows in the open, as a parameter.
    ///
    /// # Errors
    /// `unauthenticated`, also where the key may do more than write: visitors of the page can read it.
    pub(crate) fn writer(&self, key: &str) -> Result<Principal, Problem> {
        let shown = Some(key).filter(|key| key.starts_with(KEY_PREFIX));
        let shown = shown.ok_or_else(|| refuse("the parameter `key` is no key"))?;
        let principal = self.rules().of_bearer(shown, self.clock.now()).map_err(problem)?;
        if principal.only_writes() {
            Ok(principal)
        } else {
            Err(refuse("a key in a parameter may do nothing but write"))
        }
    }

    fn rules(&self) -> Arc<AccessRules> {
        self.rules.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn ask_for_keys(&self, issuer: String) {
        let (done, answered) = oneshot::channel();
        if self.wanted.try_send(WantedKeys { issuer, done }).is_ok() {
            // Too late or dropped: the rules of the moment decide.
            let _ = timeout(WAIT, answered).await;
        }
    }
}

const NOTHING: &str = "this request shows no credential";

/// What stands behind the scheme, which may be written in any case.
fn bearer(authorization: &HeaderValue) -> Option<&str> {
    let (scheme, text) = authorization.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| text.trim())
}

fn problem(refusal: Refusal) -> Problem {
    match refusal {
        Refusal::Unknown(why) => refuse(&why),
        Refusal::KeysWanted { has_some: true, .. } => refuse("the token was signed with a key that is not known here"),
        Refusal::KeysWanted { issuer, .. } => {
            let detail = format!("the keys of the token's issuer {issuer} cannot be had now");
            Problem::new(ProblemKind::Unavailable, detail).with_retry_after(RETRY_SECONDS)
        }
    }
}

fn refuse(why: &str) -> Problem {
    let hint = "send `Authorization: Bearer KEY`; an operator makes a key with `twofold key new`";
    let problem = Problem::new(ProblemKind::Unauthenticated, why).with_hint(hint);
    problem.with_header(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
}
