//! Who makes a request, and what they may do.
//!
//! Guarantee: every handler decides by the [`Principal`] of its request, and a request without one is refused: a route
//! that was forgotten by who resolves principals answers nobody.
//! Not here: how a principal is found (keys, tokens, certificates), and what a route needs of it (the route says).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use tokio::time::Instant;

use crate::quota::{Accounts, Payer, Quotas, Spending};
use crate::{Problem, ProblemKind};

/// Names that a grant covers: views to read, sources to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Names {
    /// All, also those that are made later.
    All,
    /// These.
    These(BTreeSet<String>),
}

impl Default for Names {
    fn default() -> Self {
        Self::none()
    }
}

impl Names {
    /// None.
    pub const fn none() -> Self {
        Self::These(BTreeSet::new())
    }

    /// Whether this name is covered.
    pub fn has(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::These(names) => names.contains(name),
        }
    }
}

/// Row rules: by dimension, the values that a principal may see, as text. Empty: all rows of all views.
pub type RowRules = BTreeMap<String, BTreeSet<String>>;

/// What a principal may do; by default nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// Views that may be asked for.
    pub read: Names,
    /// Sources that may be sent events.
    pub write: Names,
    /// Whether the system may be operated: metrics, details of status, the log, rejected records with their payloads.
    /// All of that is of all rows, so it counts only without rules of rows.
    pub operate: bool,
    /// Which rows of the views.
    pub rows: RowRules,
    /// How much.
    pub quotas: Quotas,
}

impl Grants {
    /// Everything.
    pub fn all() -> Self {
        Self { read: Names::All, write: Names::All, operate: true, ..Self::default() }
    }
}

/// Who makes a request.
#[derive(Clone, Debug)]
pub struct Principal {
    name: Arc<str>,
    grants: Arc<Grants>,
    // Those of the process, where it keeps any: the same for all that are of one name.
    accounts: Option<Arc<Accounts>>,
}

impl PartialEq for Principal {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.grants == other.grants
    }
}

impl Eq for Principal {}

impl Principal {
    /// The principal `name`, as the audit log and quotas call it.
    pub fn new(name: &str, grants: impl Into<Arc<Grants>>) -> Self {
        Self { name: name.into(), grants: grants.into(), accounts: None }
    }

    /// Everybody, where the port is open: may do everything.
    pub fn anyone() -> Self {
        Self::new("anyone", Grants::all())
    }

    /// Whoever shows no credential where one is asked for: may do nothing. Routes that are open to all know them so.
    pub fn nobody() -> Self {
        Self::new("nobody", Grants::default())
    }

    /// The name in the audit log.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether a view of this name may be read.
    pub fn may_read(&self, view: &str) -> bool {
        self.grants.read.has(view)
    }

    /// Whether events may be sent to a source of this name.
    pub fn may_write(&self, source: &str) -> bool {
        self.grants.write.has(source)
    }

    /// Whether the system may be operated: never by who does not see all rows.
    pub fn may_operate(&self) -> bool {
        self.grants.operate && self.sees_all_rows()
    }

    /// Whether no row is hidden, so that what is of all records may be told.
    pub fn sees_all_rows(&self) -> bool {
        self.grants.rows.is_empty()
    }

    /// Whether nothing may be done but to send events.
    pub fn only_writes(&self) -> bool {
        self.grants.read == Names::none() && !self.grants.operate
    }

    /// Refuses whoever may not operate the system; `what` is what they asked for, as the beginning of a sentence.
    ///
    /// # Errors
    /// `forbidden`, with the way out.
    pub fn check_operates(&self, what: &str) -> Result<(), Problem> {
        if self.may_operate() {
            return Ok(());
        }
        let detail = format!("{what} for those alone who may operate the system, and `{}` may not", self.name);
        let hint = "use a key whose grant has `operate = true`, and no `rows`, in the file of `access.file`; where no \
                    keys are used (`access.mode` is \"local\"), ask on the machine of the process, through no proxy";
        Err(Problem::new(ProblemKind::Forbidden, detail).with_hint(hint))
    }

    /// How much may be asked for.
    pub fn quotas(&self) -> Quotas {
        self.grants.quotas
    }

    /// The same, whose spending is booked in these accounts.
    pub(crate) fn booked_in(mut self, accounts: &Arc<Accounts>) -> Self {
        self.accounts = Some(accounts.clone());
        self
    }

    /// Books an amount against the quota of the grant.
    ///
    /// # Errors
    /// `over-quota`, with the seconds to wait.
    pub fn spend(&self, what: Spending, amount: u64) -> Result<(), Problem> {
        match &self.accounts {
            Some(accounts) => accounts.spend(self.payer(), what, amount, Instant::now()),
            None => Ok(()),
        }
    }

    /// Adds what is left of the quotas to the headers of an answer.
    pub(crate) fn tell_quotas(&self, headers: &mut HeaderMap) {
        if let Some(accounts) = self.accounts.as_ref().filter(|_| self.grants.quotas != Quotas::default()) {
            accounts.tell(self.payer(), Instant::now(), headers);
        }
    }

    fn payer(&self) -> Payer<'_> {
        Payer { name: &self.name, quotas: self.grants.quotas }
    }

    /// Which rows may be seen, in every view.
    pub fn row_rules(&self) -> &RowRules {
        &self.grants.rows
    }
}

impl<S: Sync> FromRequestParts<S> for Principal {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let found = parts.extensions.get::<Self>().cloned();
        found.ok_or_else(|| Problem::new(ProblemKind::Defect, "nobody said who makes this request"))
    }
}
