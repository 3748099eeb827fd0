//! Since when what is wrong has been known.
//!
//! Guarantee: each kind of trouble of each subject is told once; its instant stays for as long as it is there without a
//! break, whatever its words. What is dated already keeps that: it is written down, and outlives the process.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use positions::TimestampMicros;
use query_gateway::Trouble;

use crate::runs::instant::instant_text;

/// Since when each trouble has been known.
#[derive(Debug, Default)]
pub struct TroubleBook {
    // By kind and subject. Written once a second by the gathering loop alone.
    since: Mutex<BTreeMap<(Cow<'static, str>, String), TimestampMicros>>,
}

impl TroubleBook {
    /// Dates these, which are all that there is now: those that were there before from then on.
    pub fn date(&self, troubles: Vec<Trouble>, now: TimestampMicros) -> Vec<Trouble> {
        let mut known = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        let key = |trouble: &Trouble| (trouble.kind.clone(), trouble.about.clone());
        let before = std::mem::take(&mut *known);
        let mut dated: BTreeMap<_, Trouble> = BTreeMap::new();
        for trouble in troubles {
            let since = before.get(&key(&trouble)).copied().unwrap_or(now);
            known.insert(key(&trouble), since);
            let since = trouble.since.clone().or_else(|| instant_text(since));
            dated.entry(key(&trouble)).or_insert(Trouble { since, ..trouble });
        }
        dated.into_values().collect()
    }
}
