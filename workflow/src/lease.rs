//! A lease, as whoever works under it sees it.

use std::sync::Arc;

use crate::error::WorkflowError;
use crate::ids::Token;
use crate::journal::Journal;
use crate::state::State;

/// The right to report a task, until it is taken away.
#[derive(Clone)]
pub struct Lease {
    journal: Arc<Journal>,
    token: Token,
}

impl Lease {
    pub(crate) fn new(journal: Arc<Journal>, token: Token) -> Self {
        Self { journal, token }
    }

    /// The fencing token.
    pub fn token(&self) -> Token {
        self.token
    }

    /// The state, by the journal as it is now.
    pub(crate) async fn state(&self) -> Result<Arc<State>, WorkflowError> {
        self.journal.refresh().await
    }

    /// Whether the lease is in force, by the journal as it is now: to be asked directly before a commit. Reads what is
    /// new; where the journal does not answer, nobody knows, and nothing may be committed.
    ///
    /// It saves work. A lease may end right behind the answer: what decides then is the commit's own rule, that its
    /// predecessor is exactly the one it was computed on.
    pub async fn is_current(&self) -> bool {
        let state = self.journal.refresh().await;
        state.is_ok_and(|state| state.has_lease(&self.token, self.journal.worker()))
    }
}
