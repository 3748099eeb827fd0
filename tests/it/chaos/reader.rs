//! Asks the gateway without pause. What an answer says of itself is judged at once, its numbers when the oracle has
//! read as far.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::oracle::Oracle;
use super::{PAGES, STALE_AFTER, VIEW, World};

/// An answer with numbers of its own.
#[derive(Clone, Debug, PartialEq)]
struct Recorded {
    heads: BTreeMap<i32, i64>,
    is_total: bool,
    rows: Value,
    copies: Value,
    rejected: Value,
}

/// What was asked and answered.
#[derive(Default)]
pub struct Reader {
    // Not yet compared. Only those that differ from the answer before.
    recorded: Vec<(Recorded, Value)>,
    // What the gateway of this generation has answered.
    generation: u64,
    heads: BTreeMap<i32, i64>,
    has_answered: bool,
    /// All answers.
    pub answers: u64,
    /// Those that said that they are stale.
    pub stale: u64,
    /// Why they are, numbers left out.
    pub reasons: BTreeMap<String, u64>,
    /// Those that were compared with the oracle.
    pub compared: u64,
    /// Answers 5xx of gateways that had nothing to answer from yet.
    pub not_yet: u64,
    /// Batch versions that were served.
    pub versions: BTreeSet<i64>,
}

impl Reader {
    /// Asks once.
    pub async fn ask(&mut self, world: &World) {
        let Some((generation, address)) = world.gateway.lock().unwrap().clone() else {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            return;
        };
        if generation != self.generation {
            (self.generation, self.heads, self.has_answered) = (generation, BTreeMap::new(), false);
        }
        let is_total = self.answers.is_multiple_of(2);
        let asked_at = Utc::now();
        let query: &[(&str, &str)] = if is_total { &[("by", "")] } else { &[("limit", "1000")] };
        let request = world.client.get(format!("{address}/v1/views/{VIEW}/rows")).query(query).send();
        let answer = async {
            let answer = request.await?;
            Ok::<_, reqwest::Error>((answer.status().as_u16(), answer.json::<Value>().await?))
        };
        match answer.await {
            Ok((200, answer)) => self.take(world, is_total, asked_at, answer),
            // A new one has nothing to stand in for a store that is away.
            Ok((503, _)) if !self.has_answered => self.not_yet += 1,
            Err(_) if world.generation() != Some(generation) => {}
            failed => panic!("a request failed though the gateway runs: {failed:?}\n{}", world.log("gateway")),
        }
    }

    fn take(&mut self, world: &World, is_total: bool, asked_at: DateTime<Utc>, answer: Value) {
        let envelope = &answer["envelope"];
        let heads = heads(envelope);
        for (partition, before) in &self.heads {
            let head = heads.get(partition).copied();
            assert!(head >= Some(*before), "partition {partition} went back from {before}: {envelope}");
        }
        check_honesty(world, asked_at, &heads, envelope);
        (self.heads, self.has_answered) = (heads.clone(), true);
        self.answers += 1;
        self.stale += u64::from(envelope["stale"] == true);
        for reason in envelope["stale_reasons"].as_array().unwrap() {
            let reason = reason.as_str().unwrap().replace(|letter: char| letter.is_ascii_digit(), "");
            *self.reasons.entry(reason).or_default() += 1;
        }
        self.versions.extend(envelope["version"].as_i64());
        let recorded = Recorded {
            heads,
            is_total,
            rows: answer["rows"].clone(),
            copies: envelope["copies"].clone(),
            rejected: envelope["rejected"].clone(),
        };
        let earlier = self.recorded.iter().rev().find(|(earlier, _)| earlier.is_total == is_total);
        if earlier.is_none_or(|(earlier, _)| *earlier != recorded) {
            self.recorded.push((recorded, answer["envelope"].clone()));
        }
    }

    /// Compares what was answered with what is right.
    pub fn check(&mut self, oracle: &Oracle) {
        let recorded = std::mem::take(&mut self.recorded);
        for (recorded, envelope) in recorded {
            if oracle.below(&recorded.heads).is_none() {
                self.recorded.push((recorded, envelope));
                continue;
            }
            check_answer(oracle, &recorded, &envelope);
            self.compared += 1;
        }
    }

    /// Answers that reach further than the topic.
    pub fn unchecked(&self) -> usize {
        self.recorded.len()
    }
}

/// The offsets that an answer claims to reach.
pub fn heads(envelope: &Value) -> BTreeMap<i32, i64> {
    let heads = envelope["head"].as_object().unwrap().iter();
    heads.map(|(partition, offset)| (partition.parse().unwrap(), offset.as_i64().unwrap())).collect()
}

/// An answer is right for its head: numbers, copies and rejected records.
pub fn check_rows(oracle: &Oracle, is_total: bool, answer: &Value) {
    let envelope = &answer["envelope"];
    let recorded = Recorded {
        heads: heads(envelope),
        is_total,
        rows: answer["rows"].clone(),
        copies: envelope["copies"].clone(),
        rejected: envelope["rejected"].clone(),
    };
    check_answer(oracle, &recorded, envelope);
}

fn check_answer(oracle: &Oracle, recorded: &Recorded, envelope: &Value) {
    let right = oracle.below(&recorded.heads).expect("the oracle has read that far");
    let rows = recorded.rows.as_array().unwrap();
    let numbers = |row: &Value| (row["hits"].as_i64().unwrap(), row["amount"].as_i64().unwrap_or(0));
    if recorded.is_total {
        let total = rows.first().map(numbers).unwrap_or_default();
        assert_eq!(total, right.whole(), "the total is wrong: {envelope}");
    } else {
        let mut pages = [(0, 0); PAGES];
        for row in rows {
            let page: usize = row["page"].as_str().unwrap().strip_prefix('p').unwrap().parse().unwrap();
            pages[page] = numbers(row);
        }
        assert_eq!(pages, right.pages, "rows are wrong: {envelope}");
    }
    let counted = (recorded.copies.as_i64(), recorded.rejected.as_i64());
    assert_eq!(counted, (Some(right.copies), Some(right.rejected)), "copies or rejected are wrong: {envelope}");
    let reached: i64 = recorded.heads.values().sum();
    assert_eq!(right.whole().0 + right.copies + right.rejected, reached, "the oracle accounts for every record");
}

/// What was acknowledged before the instant that an answer is as of is in it, and an old instant is called stale.
fn check_honesty(world: &World, asked_at: DateTime<Utc>, heads: &BTreeMap<i32, i64>, envelope: &Value) {
    assert_eq!(envelope["holes"].as_array().map(Vec::len), Some(0), "{envelope}");
    let as_of = envelope["as_of"].as_str().map(|as_of| DateTime::parse_from_rfc3339(as_of).unwrap().to_utc());
    let is_recent = as_of.is_some_and(|as_of| as_of >= asked_at - STALE_AFTER);
    assert!(is_recent || envelope["stale"] == true, "an old answer does not say that it is stale: {envelope}");
    let Some(as_of) = as_of else { return };
    for (partition, acknowledged) in world.acknowledged.until(as_of) {
        let head = heads.get(&partition).copied();
        assert!(head >= Some(acknowledged), "partition {partition}: {acknowledged} was acknowledged: {envelope}");
    }
}
