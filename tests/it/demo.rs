//! The demo's comparison: exact numbers equal, estimates within the bound that the view publishes, nothing else.

use std::collections::BTreeMap;

use twofold::demo::{Answer, PIPELINE, PageAnswer, Summary, compare};
use twofold::generator::{PageTruth, Truth};
use views::{AggregateClass, Pipeline};

fn published_bound() -> f64 {
    let pipeline = Pipeline::read(PIPELINE, &BTreeMap::new()).unwrap();
    let bound = pipeline.views[0].measures.iter().find_map(|measure| match measure.class {
        AggregateClass::Sketch { bound } => Some(bound),
        _ => None,
    });
    bound.unwrap()
}

/// The verdict over one page with a thousand visitors and this answer.
fn verdict(change: impl FnOnce(&mut PageAnswer)) -> (bool, f64) {
    let visitors = (0..1_000).map(|number| number.to_string()).collect();
    let page = PageTruth { visits: 5, bytes: Some(7), errors: 1, visitors };
    let truth = Truth { pages: BTreeMap::from([("/".to_owned(), page)]), ..Truth::default() };
    let mut answered = PageAnswer { visits: 5, bytes: Some(7), errors: 1, visitors: 1_000.0, ..PageAnswer::default() };
    change(&mut answered);
    let pages = BTreeMap::from([("/".to_owned(), answered)]);
    let outcome = compare(&Answer { pages, version: Some(1), head: BTreeMap::new() }, &truth, published_bound());
    let error = outcome.largest_sketch_error;
    let summary = Summary { publications: 1, comparisons: 1, outcome, ..Summary::default() };
    (summary.verdict().is_ok(), error)
}

#[test]
fn every_difference_of_an_exact_number_fails_the_demo() {
    assert!(verdict(|_| {}).0);
    assert!(!verdict(|page| page.visits += 1).0);
    assert!(!verdict(|page| page.bytes = Some(8)).0);
    assert!(!verdict(|page| page.bytes = None).0);
    assert!(!verdict(|page| page.errors -= 1).0);
}

#[test]
fn an_estimate_beyond_its_published_bound_fails_the_demo() {
    // Three standard deviations of 2^12 registers.
    assert!((published_bound() - 3.0 * 1.04 / 64.0).abs() < 1e-12);
    for (visitors, is_within) in [(1_000.0, true), (1_049.0, true), (951.0, true), (1_050.0, false), (950.0, false)] {
        let (passed, error) = verdict(|page| page.visitors = visitors);
        assert_eq!((passed, error <= 1.0), (is_within, is_within), "{visitors}: {error}");
    }
}
