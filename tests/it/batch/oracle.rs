//! The truth: a fold over what was sent, and published tables as values to compare with it.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Float64Type};
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use positions::{Counters, PartitionId};
use serving_layer::{BatchVersion, BatchViewStore};
use views::{Compiled, PlannedView};

use super::world::{Event, HOUR, SECOND, Sent, World};

/// A finished value: compared exactly, or within rounding and sketch bounds.
#[derive(Clone, Debug)]
pub enum Cell {
    Exact(String),
    About(f64),
}

impl PartialEq for Cell {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact(one), Self::Exact(other)) => one == other,
            (Self::About(one), Self::About(other)) => (one - other).abs() <= 1e-9 * one.abs().max(1.0),
            _ => false,
        }
    }
}

pub type Rows = BTreeMap<String, Vec<Cell>>;

/// The finished values of a version, by dimensions.
pub async fn finished(world: &World, view: &PlannedView, version: &BatchVersion) -> Rows {
    let store = BatchViewStore::new(&world.lake, view.clone());
    let states = store.load(version, usize::MAX).await.unwrap();
    let by: Vec<&str> = view.dimensions.iter().map(|dimension| dimension.name.as_str()).collect();
    let finish = Compiled::new(Arc::clone(&view.states), |input| view.plans.finish_plan(input, &by)).await.unwrap();
    finish.execute(states).await.unwrap().iter().flat_map(|batch| rows_of(batch, by.len())).collect()
}

fn rows_of(batch: &RecordBatch, dimensions: usize) -> Vec<(String, Vec<Cell>)> {
    let options = FormatOptions::default().with_null("null");
    let text = |column: usize, row: usize| {
        ArrayFormatter::try_new(batch.column(column).as_ref(), &options).unwrap().value(row).to_string()
    };
    let cell = |column: usize, row: usize| {
        let array = batch.column(column);
        match array.data_type() {
            DataType::Float64 if array.is_valid(row) => Cell::About(array.as_primitive::<Float64Type>().value(row)),
            _ => Cell::Exact(text(column, row)),
        }
    };
    let row = |row: usize| {
        let key: Vec<String> = (0..dimensions).map(|column| text(column, row)).collect();
        (key.join("|"), (dimensions..batch.num_columns()).map(|column| cell(column, row)).collect())
    };
    (0..batch.num_rows()).map(row).collect()
}

/// The records below a cut, without rejected ones and copies.
pub fn distinct<'a>(world: &'a World, version: &BatchVersion) -> Vec<&'a Event> {
    let mut seen = HashSet::new();
    let kept = below(world, version).into_iter().filter_map(|sent| sent.event.as_ref());
    kept.filter(|event| event.id.is_none() || seen.insert((event.id, event.time))).collect()
}

fn below<'a>(world: &'a World, version: &BatchVersion) -> Vec<&'a Sent> {
    let cut = &version.facts.cut;
    let mut sent: Vec<&Sent> =
        world.sent.iter().filter(|sent| sent.offset < cut.offset(PartitionId(sent.partition)).0).collect();
    sent.sort_by_key(|sent| (sent.partition, sent.offset));
    sent
}

/// Counters below the cut, by the definition: a copy counts where the record lies that is left out.
pub fn counters(world: &World, version: &BatchVersion) -> BTreeMap<PartitionId, Counters> {
    let mut seen = HashSet::new();
    let known = version.facts.cut.0.keys().map(|partition| (*partition, Counters::default()));
    let mut counters: BTreeMap<_, _> = known.collect();
    for sent in below(world, version) {
        let counted = counters.get_mut(&PartitionId(sent.partition)).unwrap();
        counted.rows += 1;
        match &sent.event {
            None => counted.rejected += 1,
            Some(event) => {
                counted.late += u64::from(sent.timestamp - event.time > 60 * SECOND);
                let is_copy = event.id.is_some() && !seen.insert((event.id, event.time));
                counted.copies += u64::from(is_copy);
            }
        }
    }
    counters
}

/// What view `by_page` must answer.
pub fn by_page(events: &[&Event]) -> Rows {
    let pages: BTreeSet<_> = events.iter().map(|event| event.page.clone()).collect();
    let exact = |value: Option<i64>| Cell::Exact(value.map_or("null".to_owned(), |value| value.to_string()));
    let row = |page: Option<String>| {
        let of: Vec<_> = events.iter().filter(|event| event.page == page).collect();
        let bytes: Vec<i64> = of.iter().filter_map(|event| event.amount).collect();
        let sum = (!bytes.is_empty()).then(|| bytes.iter().sum());
        let cells = vec![
            exact(Some(of.len() as i64)),
            exact(sum),
            exact(bytes.iter().min().copied()),
            exact(bytes.iter().max().copied()),
        ];
        (page.unwrap_or_else(|| "null".to_owned()), cells)
    };
    pages.into_iter().map(row).collect()
}

/// Events by day, as view `by_day` counts them.
pub fn hits_by_day(events: &[&Event]) -> Vec<i64> {
    let mut days: BTreeMap<i64, i64> = BTreeMap::new();
    events.iter().for_each(|event| *days.entry(event.time.div_euclid(24 * HOUR)).or_default() += 1);
    days.into_values().collect()
}
