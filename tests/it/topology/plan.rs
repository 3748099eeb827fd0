//! The steps from what runs to what should run.

use std::collections::{BTreeMap, BTreeSet};

use positions::SourceName;
use twofold::role::{Role, Roles};
use twofold::topology::{Duties, desired_duties, difference};
use views::Pipeline;

use super::{source, view};

fn duties(sql: &str) -> Duties {
    let pipeline = Pipeline::read(sql, &BTreeMap::new()).unwrap();
    desired_duties(&pipeline, &Roles::all(), &BTreeSet::new())
}

/// Fails unless these duties stop and start, in this order.
#[track_caller]
fn check(from: &str, to: &str, stops: &[&str], starts: &[&str]) {
    let found = difference(&duties(from), &duties(to));
    let stopped: Vec<String> = found.stops.iter().map(ToString::to_string).collect();
    let started: Vec<String> = found.starts.iter().map(|start| start.duty.to_string()).collect();
    assert_eq!(
        (stopped, started),
        (stops.iter().map(ToString::to_string).collect(), starts.iter().map(ToString::to_string).collect())
    );
}

fn two() -> [String; 2] {
    ["a", "b"].map(|name| source(name, "10m") + &view(name, "count", "count(*) AS n"))
}

#[test]
fn nothing_is_done_where_nothing_changed() {
    let [a, b] = two();
    check(&(a.clone() + &b), &(a + &b), &[], &[]);
}

#[test]
fn a_source_that_is_gone_stops_in_the_direction_of_the_data() {
    let [a, b] = two();
    let stops = ["intake of a", "archive of a", "speed of a"];
    check(&(a + &b), &b, &stops, &["gateway"]);
}

#[test]
fn a_new_source_lets_events_in_when_all_behind_it_stands() {
    let [a, b] = two();
    let starts = ["archive of a", "speed of a", "gateway", "intake of a"];
    check(&b, &(a + &b), &[], &starts);
}

#[test]
fn a_view_that_is_added_or_gone_concerns_its_source_alone_and_no_archive() {
    let [a, b] = two();
    let more = a.clone() + &b + &view("a", "pages", "max(page) AS last");
    let (stops, starts) = (["speed of a"], ["speed of a", "gateway"]);
    check(&(a.clone() + &b), &more, &stops, &starts);
    check(&more, &(a + &b), &stops, &starts);
}

#[test]
fn a_source_that_changes_takes_events_all_the_time() {
    let [a, b] = two();
    let changed = source("a", "20m") + &view("a", "count", "count(*) AS n");
    let stops = ["archive of a", "speed of a"];
    let starts = ["archive of a", "speed of a", "gateway", "intake of a"];
    check(&(a + &b), &(changed + &b), &stops, &starts);
}

#[test]
fn what_ended_by_itself_is_started_again() {
    let [a, b] = two();
    let desired = duties(&(a + &b));
    let mut running = desired.clone();
    running.retain(|duty, _| duty.to_string() != "speed of b");
    let found = difference(&running, &desired);
    assert!(found.stops.is_empty());
    assert_eq!(found.starts.iter().map(|start| start.duty.to_string()).collect::<Vec<_>>(), ["speed of b"]);
}

#[test]
fn each_role_has_duties_of_its_own() {
    let [a, b] = two();
    let pipeline = Pipeline::read(&(a + &b), &BTreeMap::new()).unwrap();
    let of = |role: Role, unusable: &[&str]| -> Vec<String> {
        let unusable = unusable.iter().map(|name| SourceName::new(*name)).collect();
        desired_duties(&pipeline, &Roles::only(role), &unusable).keys().map(ToString::to_string).collect()
    };
    assert_eq!(of(Role::Archive, &[]), ["archive of a", "archive of b"]);
    assert_eq!(of(Role::Speed, &["a"]), ["speed of b"]);
    assert_eq!(of(Role::Batch, &["a"]), ["batch"]);
    assert_eq!(of(Role::Worker, &[]), ["batch"]);
    assert_eq!(of(Role::Gateway, &[]), ["gateway"]);
}

/// In kappa mode each view has a worker of its own; the one of the source is there for former definitions.
#[test]
fn a_view_in_kappa_mode_that_changes_leaves_the_others_alone() {
    let kappa = source("k", "10m").replace("partitions '2'", "partitions '2', mode 'kappa'");
    let count = view("k", "count", "count(*) AS n");
    let (pages, changed) = (view("k", "pages", "min(page) AS n"), view("k", "pages", "max(page) AS n"));
    let all = [
        "archive of k",
        "speed of k",
        "speed of k, view k_count",
        "speed of k, view k_pages",
        "gateway",
        "intake of k",
    ];
    let two = kappa.clone() + &count + &pages;
    check(&steady_alone(), &(steady_alone() + &two), &[], &all);
    let three = kappa + &count + &changed;
    let moved = ["speed of k", "speed of k, view k_pages"];
    check(&two, &three, &moved, &[&moved[..], &["gateway"][..]].concat());
}

fn steady_alone() -> String {
    let [a, _] = two();
    a
}
