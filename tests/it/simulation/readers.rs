//! Gateways that are asked all the while, and what every answer is held against.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Int64Type};
use edge::Principal;
use positions::{Incarnation, Offset, PartitionId};
use query_gateway::{Envelope, Gateway, GatewayError, MeasureReport, RowsAnswer, RowsRequest};
use records::master::Hole;

use super::traffic::View;
use super::world::World;

/// What a run of the simulation found wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub kind: &'static str,
    pub text: String,
}

impl Violation {
    pub fn new(kind: &'static str, text: impl Into<String>) -> Self {
        Self { kind, text: text.into() }
    }
}

/// One gateway with one question that it is asked again and again.
pub struct Reader {
    pub name: String,
    pub gateway: Arc<Gateway>,
    pub view: View,
    /// Whether a gap in the runs has no excuse.
    pub is_lossless: bool,
    heads: BTreeMap<PartitionId, Offset>,
    /// The life of the topic for which it was last shown less: a store that was wiped before a reset cannot tell it how
    /// far the life had been read that ended.
    taken_back: Incarnation,
    pub answers: u64,
}

impl Reader {
    pub fn new(name: String, gateway: Arc<Gateway>, view: View, is_lossless: bool) -> Self {
        Self { name, gateway, view, is_lossless, heads: BTreeMap::new(), taken_back: Incarnation(0), answers: 0 }
    }

    /// Asks once; the envelope of the answer, if there is one.
    pub async fn ask(&mut self, world: &World) -> Result<Option<Envelope>, Violation> {
        let answer = match self.gateway.rows(&Principal::anyone(), RowsRequest::new(self.view.name())).await {
            Ok(answer) => answer,
            Err(GatewayError::Building { .. } | GatewayError::Unavailable { .. }) => return Ok(None),
            Err(error) => return Err(Violation::new("failed query", format!("{}: {error}", self.name))),
        };
        self.answers += 1;
        let envelope = &answer.envelope;
        let holes = world.holes().await;
        let traffic = world.traffic.lock().await;
        let right = traffic.folds(self.view, &envelope.cut, &envelope.head, &holes);
        let life = traffic.life().incarnation;
        drop(traffic);
        let found = rows_of(&answer, self.view);
        // Not in pairs: states are held by the offsets they cover, so after a wipe those of a reader that saw more may
        // stay.
        let is_right = right.iter().any(|(rows, _)| *rows == found);
        if !is_right || !right.iter().any(|(_, lost)| *lost == envelope.lost) {
            let text = format!("{} {:?}: {found:?} instead of {right:?} at {envelope:?}", self.name, self.view);
            return Err(Violation::new("wrong answer", text));
        }
        self.check_head(envelope, life)?;
        self.check_gap(envelope)?;
        self.check_holes(envelope, &holes)?;
        Ok(Some(answer.envelope))
    }

    /// What a publication changed of an exact measure, and all of them are, has a cause that is known.
    pub async fn check_reports(&self, world: &World) -> Result<(), Violation> {
        self.gateway.compare_versions(world.ids.as_ref()).await;
        let Ok(told) = self.gateway.exactness(&Principal::anyone(), self.view.name()).await else { return Ok(()) };
        let is_unexplained = |measure: &MeasureReport| measure.cause.as_deref() == Some("unknown");
        match told.reports.iter().find(|report| report.measures.iter().any(is_unexplained)) {
            Some(report) => {
                let text = format!("{} {:?}: {report:?}", self.name, self.view);
                Err(Violation::new("unexplained difference", text))
            }
            None => Ok(()),
        }
    }

    /// What is lost below the cut is named, and nothing else.
    fn check_holes(&self, envelope: &Envelope, holes: &[Hole]) -> Result<(), Violation> {
        let cut = |partition| envelope.cut.get(&partition).copied().unwrap_or_default();
        let below = holes.iter().map(|hole| (hole.partition, hole.from, hole.to.min(cut(hole.partition))));
        let below: BTreeSet<_> = below.filter(|(_, from, to)| from < to).collect();
        let named: BTreeSet<_> = envelope.holes.iter().map(|hole| (hole.partition, hole.from, hole.to)).collect();
        if named == below {
            return Ok(());
        }
        let text = format!("{} {:?}: {below:?} are lost, {envelope:?}", self.name, self.view);
        Err(Violation::new("hole not named", text))
    }

    /// A gateway never takes back what it has shown, whatever the stores do; but once for each life that begins.
    fn check_head(&mut self, envelope: &Envelope, life: Incarnation) -> Result<(), Violation> {
        for (partition, head) in std::mem::replace(&mut self.heads, envelope.head.clone()) {
            if envelope.head.get(&partition).is_none_or(|now| *now < head) {
                if self.taken_back < life {
                    self.taken_back = life;
                    return Ok(());
                }
                let text =
                    format!("{} {:?}: partition {partition} was at {head}, now {envelope:?}", self.name, self.view);
                return Err(Violation::new("head went back", text));
            }
        }
        Ok(())
    }

    /// A run that should be there is missing. (A cut inside a run is not a mistake: the next cut repairs it.)
    fn check_gap(&self, envelope: &Envelope) -> Result<(), Violation> {
        let is_missing = |reason: &String| {
            let at = number_after(reason, "no run starts at ").zip(number_after(reason, "the next one starts at "));
            at.is_some_and(|(at, next)| next > at) || reason.contains("the runs end at")
        };
        match envelope.stale_reasons.iter().find(|reason| is_missing(reason)) {
            Some(reason) if self.is_lossless => {
                Err(Violation::new("run missing", format!("{} {:?}: {reason}", self.name, self.view)))
            }
            _ => Ok(()),
        }
    }
}

fn number_after(text: &str, words: &str) -> Option<i64> {
    let rest = &text[text.find(words)? + words.len()..];
    let digits = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
    rest[..digits].parse().ok()
}

/// What an answer says, as the fold has it.
pub fn rows_of(answer: &RowsAnswer, view: View) -> BTreeMap<String, Vec<i64>> {
    let rows = &answer.rows;
    let groups = arrow::compute::cast(rows.column(0), &DataType::Utf8).unwrap();
    let groups = groups.as_string::<i32>();
    let measure = |name: &&str| arrow::compute::cast(rows.column_by_name(name).unwrap(), &DataType::Int64).unwrap();
    let measures: Vec<_> = view.measure_names().iter().map(measure).collect();
    let value = |row: usize| {
        let measures = measures.iter().map(|one| one.as_primitive::<Int64Type>());
        measures.map(|one| if one.is_null(row) { 0 } else { one.value(row) }).collect()
    };
    (0..groups.len()).map(|row| (groups.value(row).to_owned(), value(row))).collect()
}
