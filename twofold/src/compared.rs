//! How the answers of two definitions of a view differ, for people and for programs.
//!
//! Guarantee: pure. What was not compared is told beside what was.
//! Not here: comparing (`views::Comparable`), where answers come from (`stored_versions.rs`,
//! `definition_plan/sample.rs`).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;
use views::{Comparable, GroupComparison, GroupDifference, MeasureDifference};

/// Groups that are named of each measure.
pub const WORST: usize = 10;

/// What differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Compared {
    /// The dimensions that groups were rolled up to: those that both definitions have.
    pub by: Vec<String>,
    /// Groups that at least one of both holds.
    pub groups: u64,
    /// The measures that both have.
    pub measures: Vec<ComparedMeasure>,
    /// What is not compared, and why.
    pub left_out: Vec<String>,
}

/// What differs of one measure.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ComparedMeasure {
    /// Its name.
    pub measure: String,
    /// The weaker of its two classes: what it may be off by anyway is no difference.
    pub class: &'static str,
    /// Groups that differ.
    pub different: u64,
    /// The largest distance of two values; null for values that are no numbers.
    pub largest_difference: Option<f64>,
    /// The mean distance over all groups, likewise.
    pub mean_difference: Option<f64>,
    /// The groups that differ most, worst first.
    pub worst: Vec<ComparedGroup>,
}

/// A group that differs in a measure.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ComparedGroup {
    /// Its dimensions.
    pub group: BTreeMap<String, Option<String>>,
    /// The value by the former definition; null: NULL, or no such group.
    pub before: Option<String>,
    /// The value by the other one, likewise.
    pub after: Option<String>,
    /// How far they are apart; null where they are no numbers.
    pub difference: Option<f64>,
    #[serde(skip)]
    words: String,
}

impl Compared {
    /// What was found of two definitions that have this in common.
    pub fn new(comparable: &Comparable, found: GroupComparison) -> Self {
        let groups = found.groups;
        Self {
            by: comparable.dimensions().into_iter().map(str::to_owned).collect(),
            groups,
            measures: found.measures.into_iter().map(|measure| compared_measure(measure, groups)).collect(),
            left_out: comparable.left_out.clone(),
        }
    }

    /// Whether no group differs in what was compared.
    pub fn is_same(&self) -> bool {
        self.measures.iter().all(|measure| measure.different == 0)
    }

    /// In lines of a text, each with so many blanks before it.
    pub fn describe(&self, text: &mut String, blanks: usize) {
        let by = if self.by.is_empty() { "as one total".to_owned() } else { format!("by {}", self.by.join(", ")) };
        let same = if self.is_same() { ", all the same" } else { "" };
        let _ = writeln!(text, "{:blanks$}{} groups {by}{same}", "", self.groups);
        for reason in &self.left_out {
            let _ = writeln!(text, "{:blanks$}not compared: {reason}", "");
        }
        self.measures.iter().filter(|measure| measure.different > 0).for_each(|measure| measure.describe(text, blanks));
    }
}

impl ComparedMeasure {
    fn describe(&self, text: &mut String, blanks: usize) {
        let Self { measure, class, different, .. } = self;
        let _ = write!(text, "{:blanks$}{measure} ({class}): {different} groups differ", "");
        let _ = match (self.largest_difference, self.mean_difference) {
            (Some(largest), Some(mean)) => writeln!(text, ", by up to {largest}, by {mean:.3} on average"),
            (Some(largest), None) => writeln!(text, ", by up to {largest}"),
            _ => writeln!(text),
        };
        for group in &self.worst {
            let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
            let (words, before, after) = (&group.words, value(&group.before), value(&group.after));
            let _ = writeln!(text, "{:blanks$}  {words}: {before} -> {after}", "");
        }
    }
}

fn compared_measure(found: MeasureDifference, groups: u64) -> ComparedMeasure {
    ComparedMeasure {
        class: found.class.as_str(),
        different: found.different,
        largest_difference: found.largest,
        mean_difference: found.mean(groups),
        worst: found.worst.into_iter().map(compared_group).collect(),
        measure: found.measure,
    }
}

fn compared_group(found: GroupDifference) -> ComparedGroup {
    let words = if found.group.is_empty() { "all".to_owned() } else { found.in_words() };
    ComparedGroup {
        group: found.group.into_iter().collect(),
        before: found.before,
        after: found.after,
        difference: found.difference,
        words,
    }
}
