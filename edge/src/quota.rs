//! How much each principal has asked of this process, against the quotas of its grant.
//!
//! In: an amount and the time. Out: leave, or how long to wait. Each quota is a bucket that fills evenly and holds what
//! may be asked for in one span of it, so a client may come in bursts and not for long.
//! Guarantee: over a long time no principal gets more than its quota. One request may be larger than what its bucket
//! holds, where the bucket is full: it is paid off before the next one is let in, since to refuse it would be for ever.
//! Not here: limits of the process as a whole, which each role keeps, and who a principal is (`access.rs`).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;

use crate::{Problem, ProblemKind};

/// Accounts that are full again are forgotten beyond so many: names of tokens come from outside.
const MAX_ACCOUNTS: usize = 10_000;
/// No account is remembered for longer, whatever it owes.
const LONGEST_DEBT_SECONDS: f64 = 366.0 * 24.0 * 3_600.0;
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const STATE: HeaderName = HeaderName::from_static("ratelimit");

/// How much a principal may ask of a process; `None`: whatever the process has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quotas {
    /// Requests of any kind.
    pub requests_per_second: Option<u64>,
    /// Questions in SQL.
    pub sql_per_minute: Option<u64>,
    /// Events sent.
    pub events_per_second: Option<u64>,
    /// Bytes of events sent.
    pub bytes_per_second: Option<u64>,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Spending {
    /// Requests of any kind.
    Requests,
    /// Questions in SQL.
    Sql,
    /// Events sent.
    Events,
    /// Bytes of events sent, as they are once they are unpacked.
    Bytes,
}

impl Spending {
    const ALL: [Self; 4] = [Self::Requests, Self::Sql, Self::Events, Self::Bytes];

    /// The word in headers.
    const fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Sql => "sql",
            Self::Events => "events",
            Self::Bytes => "bytes",
        }
    }

    /// The key in a grant.
    const fn key(self) -> &'static str {
        match self {
            Self::Requests => "requests_per_second",
            Self::Sql => "sql_per_minute",
            Self::Events => "events_per_second",
            Self::Bytes => "bytes_per_second",
        }
    }

    /// The span that a quota is given for, in seconds.
    const fn span_seconds(self) -> u32 {
        match self {
            Self::Sql => 60,
            Self::Requests | Self::Events | Self::Bytes => 1,
        }
    }

    const fn limit(self, quotas: Quotas) -> Option<u64> {
        match self {
            Self::Requests => quotas.requests_per_second,
            Self::Sql => quotas.sql_per_minute,
            Self::Events => quotas.events_per_second,
            Self::Bytes => quotas.bytes_per_second,
        }
    }
}

/// What is left of a quota.
#[derive(Clone, Copy, Debug)]
struct Account {
    /// Below zero where one request took more than there was.
    left: f64,
    at: Instant,
    /// From when on nothing is spent of it, if nothing more is.
    full_at: Instant,
}

impl Account {
    /// What is left at this time of a bucket that holds `limit` and fills in `span` seconds.
    fn left_at(&self, now: Instant, limit: f64, span: f64) -> f64 {
        let filled = now.saturating_duration_since(self.at).as_secs_f64() * limit / span;
        (self.left + filled).min(limit)
    }
}

/// Who pays, and from what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Payer<'a> {
    /// The name of the principal.
    pub name: &'a str,
    /// What its grant allows.
    pub quotas: Quotas,
}

/// The accounts of all principals of a process.
#[derive(Debug, Default)]
pub struct Accounts {
    // Written by each request with a quota; held for a look-up and a sum.
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    accounts: HashMap<(String, Spending), Account>,
    /// With more of them, those that are full are looked for: twice as many as were left by the last look, so that a
    /// look is paid for by the requests before it.
    most: usize,
}

impl Open {
    fn forget_full(&mut self, now: Instant) {
        if self.accounts.len() > self.most.max(MAX_ACCOUNTS) {
            self.accounts.retain(|_, account| account.full_at > now);
            self.most = 2 * self.accounts.len();
        }
    }
}

impl Accounts {
    /// Books an amount, if the quota of the principal allows.
    ///
    /// # Errors
    /// `over-quota`, with the seconds after which the same request is let in.
    pub(crate) fn spend(&self, payer: Payer<'_>, what: Spending, amount: u64, now: Instant) -> Result<(), Problem> {
        let Some(limit) = what.limit(payer.quotas) else { return Ok(()) };
        let (of, span) = (limit as f64, f64::from(what.span_seconds()));
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.forget_full(now);
        let key = (payer.name.to_owned(), what);
        let left = open.accounts.get(&key).map_or(of, |account| account.left_at(now, of, span));
        let (amount, needed) = (amount as f64, (amount as f64).min(of));
        if left < needed {
            return Err(over(payer.name, what, limit, (needed - left) * span / of));
        }
        let left = left - amount;
        let seconds = ((of - left) * span / of).min(LONGEST_DEBT_SECONDS);
        open.accounts.insert(key, Account { left, at: now, full_at: now + Duration::from_secs_f64(seconds) });
        Ok(())
    }

    /// Adds what quotas there are and what is left of them, in the words of the IETF's draft "RateLimit header fields".
    pub(crate) fn tell(&self, payer: Payer<'_>, now: Instant, headers: &mut HeaderMap) {
        let (mut policies, mut states) = (Vec::new(), Vec::new());
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        for what in Spending::ALL {
            let Some(limit) = what.limit(payer.quotas) else { continue };
            let (name, span) = (what.name(), what.span_seconds());
            let account = open.accounts.get(&(payer.name.to_owned(), what));
            let left = account.map_or(limit as f64, |one| one.left_at(now, limit as f64, f64::from(span)));
            policies.push(format!("\"{name}\";q={limit};w={span}"));
            states.push(format!("\"{name}\";r={}", left.max(0.0).floor()));
        }
        drop(open);
        for (header, members) in [(POLICY, policies), (STATE, states)] {
            if let Ok(value) = HeaderValue::from_str(&members.join(", "))
                && !members.is_empty()
            {
                headers.insert(header, value);
            }
        }
    }
}

fn over(name: &str, what: Spending, limit: u64, wait_seconds: f64) -> Problem {
    let span = if what.span_seconds() == 1 { "a second" } else { "a minute" };
    let detail = format!("`{name}` may spend {limit} {} {span}, and has spent them", what.name());
    let hint = format!("ask more slowly; `{}` of the grant in the file of `access.file` is the quota", what.key());
    Problem::new(ProblemKind::OverQuota, detail).with_hint(hint).with_retry_after(wait_seconds.ceil().max(1.0) as u64)
}
