//! The buckets of a backfill, and where each stands.
//!
//! Guarantee: pure, and bounded: what is drawn has at most [`MAX_LINES`] lines, what is told at most as many stretches
//! as the run has groups and gaps between them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use batch_layer::Grains;
use chrono::DateTime;
use positions::TimestampMicros;
use serde::Serialize;
use serving_layer::{BucketRanges, Folded};
use views::Bucket;

use super::instant::instant_text;

/// Lines of a grid that are drawn.
pub const MAX_LINES: usize = 400;

/// Where a bucket stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BucketState {
    /// Its group is not begun.
    Pending,
    /// Its group is being computed.
    AtWork,
    /// Its group is computed, and nobody sees it yet.
    Computed,
    /// It is in the version of the view.
    Published,
    /// Its group failed.
    Failed,
    /// Its group is not computed, since the run failed or was cancelled.
    LeftOut,
    /// Nothing is to be computed: it is there, or no file holds events of it.
    Kept,
}

impl BucketState {
    const ALL: [Self; 7] =
        [Self::Pending, Self::AtWork, Self::Computed, Self::Published, Self::Failed, Self::LeftOut, Self::Kept];

    /// As a letter of the grid.
    pub fn letter(self) -> char {
        match self {
            Self::Pending => '.',
            Self::AtWork => '>',
            Self::Computed => 'o',
            Self::Published => '#',
            Self::Failed => 'x',
            Self::LeftOut => '-',
            Self::Kept => '=',
        }
    }

    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::AtWork => "at work",
            Self::Computed => "computed",
            Self::Published => "published",
            Self::Failed => "failed",
            Self::LeftOut => "left out",
            Self::Kept => "nothing to do",
        }
    }
}

/// A stretch of event time, `[from, to)`, whose buckets stand alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// The first instant.
    pub from: TimestampMicros,
    /// The first one behind it.
    pub to: TimestampMicros,
    /// Where its buckets stand.
    pub state: BucketState,
}

/// The buckets of views that are computed together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Grid {
    /// The views.
    pub views: Vec<String>,
    /// The coarsest grain of the views; where a part of the range is folded, the grains in their order, with commas
    /// between them.
    pub bucket: String,
    /// What stands alike side by side, rising.
    pub stretches: Vec<StretchView>,
    #[serde(skip)]
    grains: Grains,
    #[serde(skip)]
    drawn: Vec<Stretch>,
}

/// A stretch as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StretchView {
    /// The first instant.
    pub from: Option<String>,
    /// The first one behind it.
    pub to: Option<String>,
    /// Where its buckets stand.
    pub state: BucketState,
}

impl Grid {
    /// The buckets of `range`, whose `groups` divide all of event time, rising; `touched`: what of it is computed at
    /// all (`None`: everything).
    pub fn new(
        (views, grains): (Vec<String>, Grains),
        range: (TimestampMicros, TimestampMicros),
        touched: Option<&BucketRanges>,
        groups: &[Stretch],
    ) -> Self {
        let drawn = stretches(range, touched, groups);
        let view = |stretch: &Stretch| {
            let (from, to) = (instant_text(stretch.from), instant_text(stretch.to));
            StretchView { from, to, state: stretch.state }
        };
        let bucket: Vec<&str> = grains.within(range.0, range.1).into_iter().map(Bucket::as_str).collect();
        Self { views, bucket: bucket.join(", "), stretches: drawn.iter().map(view).collect(), grains, drawn }
    }

    /// A letter for each bucket, a line for each day, month or year; and what the letters mean.
    pub fn draw(&self) -> String {
        let mut lines: BTreeMap<String, String> = BTreeMap::new();
        let mut counts: BTreeMap<BucketState, u64> = BTreeMap::new();
        let mut is_cut = false;
        'all: for stretch in &self.drawn {
            let mut at = stretch.from;
            while at < stretch.to {
                let (line, place) = self.place(at);
                if !lines.contains_key(&line) && lines.len() >= MAX_LINES {
                    is_cut = true;
                    break 'all;
                }
                let letters = lines.entry(line).or_default();
                while letters.len() < place {
                    letters.push(' ');
                }
                letters.push(stretch.state.letter());
                *counts.entry(stretch.state).or_default() += 1;
                at = self.grains.next_bucket(at);
            }
        }
        let mut text = String::new();
        let legend = BucketState::ALL.into_iter().filter_map(|state| {
            let count = counts.get(&state)?;
            Some(format!("{} {} {count}", state.letter(), state.name()))
        });
        let _ = writeln!(text, "buckets ({}) of {}", self.bucket, self.views.join(", "));
        for (line, letters) in &lines {
            let _ = writeln!(text, "  {line:<10}  {letters}");
        }
        if is_cut {
            let _ = writeln!(text, "  more buckets are not drawn: --json tells of all");
        }
        let _ = writeln!(text, "  {}", legend.collect::<Vec<_>>().join(", "));
        text
    }

    /// The line of a bucket, and its place there.
    fn place(&self, at: TimestampMicros) -> (String, usize) {
        let Some(time) = DateTime::from_timestamp_micros(at.0) else { return (at.0.to_string(), 0) };
        let number = |format: &str| time.format(format).to_string().parse::<usize>().unwrap_or(0);
        match self.grains.at(at) {
            Bucket::Hour => (time.format("%Y-%m-%d").to_string(), number("%H")),
            Bucket::Day => (time.format("%Y-%m").to_string(), number("%d").saturating_sub(1)),
            Bucket::Month => (time.format("%Y").to_string(), number("%m").saturating_sub(1)),
            Bucket::None => ("all".to_owned(), 0),
        }
    }
}

/// The groups within a range, and what is kept of it; neighbours that stand alike are one.
fn stretches(
    range: (TimestampMicros, TimestampMicros),
    touched: Option<&BucketRanges>,
    groups: &[Stretch],
) -> Vec<Stretch> {
    let mut all: Vec<Stretch> = Vec::new();
    let mut at = range.0;
    let mut push = |from: TimestampMicros, to: TimestampMicros, state| {
        if from >= to {
            return;
        }
        match all.last_mut().filter(|last| last.state == state && last.to == from) {
            Some(last) => last.to = to,
            None => all.push(Stretch { from, to, state }),
        }
    };
    for group in groups {
        let (from, to) = (group.from.max(range.0), group.to.min(range.1));
        let inside = touched.map_or_else(|| BucketRanges::from(vec![(from, to)]), |touched| touched.within(from, to));
        for (from, to) in inside.iter() {
            push(at, from, BucketState::Kept);
            push(from, to, group.state);
            at = to;
        }
    }
    push(at, range.1, BucketState::Kept);
    all
}

/// The buckets of versions that are folded so far, of views of these grains: whole buckets of the coarsest are whole
/// buckets of every other. By the day where there is no view.
pub fn coarsest(grains: impl IntoIterator<Item = Bucket>, folded: Folded) -> Grains {
    let grains: Vec<Grains> = grains.into_iter().map(|grain| Grains::new(grain, folded)).collect();
    if grains.is_empty() { Grains::new(Bucket::Day, folded) } else { Grains::coarsest(grains.into_iter()) }
}
