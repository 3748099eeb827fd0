//! What the system must answer: an exact fold over the events that were acknowledged.
//!
//! Guarantee: each visit counts once, at its first sending; copies and malformed lines count nothing.

use std::collections::{BTreeMap, HashSet};

use super::{Kind, Line, Visit};

/// The truth about one page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageTruth {
    /// Visits.
    pub visits: i64,
    /// Their bytes; `None` where no visit had any, as SQL's `sum` has it.
    pub bytes: Option<i64>,
    /// Visits with a status of 400 or more.
    pub errors: i64,
    /// Distinct users.
    pub visitors: HashSet<String>,
}

/// The truth about everything that was acknowledged so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Truth {
    /// By page.
    pub pages: BTreeMap<String, PageTruth>,
    /// Visits among the acknowledged lines, each once.
    pub visits: u64,
    /// Of these, visits whose time lies far back.
    pub late: u64,
    /// Lines that repeat a visit.
    pub copies: u64,
    /// Lines that are not events.
    pub malformed: u64,
}

impl Truth {
    /// Takes in lines that the collector has answered for.
    pub fn acknowledge(&mut self, lines: &[Line]) {
        for line in lines {
            match &line.kind {
                Kind::Fresh(visit) => self.count(visit),
                Kind::Late(visit) => {
                    self.late += 1;
                    self.count(visit);
                }
                Kind::Copy(_) => self.copies += 1,
                Kind::Malformed => self.malformed += 1,
            }
        }
    }

    fn count(&mut self, visit: &Visit) {
        self.visits += 1;
        let page = self.pages.entry(visit.page.clone()).or_default();
        page.visits += 1;
        page.errors += i64::from(visit.status >= 400);
        page.visitors.insert(visit.user.clone());
        if let Some(bytes) = visit.bytes {
            page.bytes = Some(page.bytes.unwrap_or(0) + bytes);
        }
    }
}
