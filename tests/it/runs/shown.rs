//! What runs and tasks are shown as: pure functions of the state and of signs of life.

use std::sync::Arc;
use std::time::Duration;

use batch_layer::Grains;
use positions::{DefinitionHash, SourceName, TimestampMicros, ViewName};
use serde_json::{Value, json};
use serving_layer::{BucketRanges, Folded};
use twofold::runs::filter::{RunsFilter, parse_state};
use twofold::runs::grid::{BucketState, Grid, MAX_LINES, Stretch};
use twofold::runs::instant::parse_instant;
use twofold::runs::rate::{estimated_time, measured_rate, side_by_side};
use twofold::runs::view::{RunDetails, run_view, runs_view};
use views::Bucket;
use workflow::{
    AtWork, Beat, Change, Content, Failure, Progress, RunId, RunMode, RunSpec, State, TaskId, TaskKind, Token, Work,
};

use super::{overview, planned, started, state_of};

pub(super) fn spec(mode: RunMode) -> RunSpec {
    RunSpec { source: SourceName::new("hits"), mode, ..crate::workflow::spec(json!({})) }
}

fn token(state: &State, task: u32) -> Token {
    Token { run: RunId(1), task: TaskId(task), attempt: 1, epoch: state.epoch }
}

/// Three groups of 1,000 bytes: one was done in 2 s, one is half way after 1 s, one waits.
pub(super) fn at_work() -> workflow::Overview {
    let tasks = (1..=3).map(|id| planned(id, TaskKind::Compute, 1_000)).collect();
    let mut state = state_of([started(1, &spec(RunMode::Full), tasks)]);
    let (first, second) = (token(&state, 1), token(&state, 2));
    let work = Work { rows: 10, bytes: 800, took_millis: 2_000 };
    for change in [
        Change::Leased { token: first },
        Change::Done { token: first, output: Content::Inline(Value::Null), next: vec![], work },
        Change::Leased { token: second },
    ] {
        let entry = workflow::Entry {
            epoch: state.epoch,
            by: super::worker(),
            at: TimestampMicros(super::NOW),
            changes: vec![change],
        };
        state.apply(&entry).unwrap();
    }
    let progress = Progress::default();
    progress.add(5, 500);
    progress.set_phase("by_hour");
    let at_work = vec![AtWork { token: second, elapsed_millis: 1_000, reached: progress.reached() }];
    overview(state, Beat { name: "host:1".to_owned(), slots: 2, at_work, ..Beat::default() })
}

#[test]
fn a_run_is_shown_with_its_progress_and_its_tasks_at_work_first() {
    let overview = at_work();
    let run = Arc::clone(&overview.state.runs[&RunId(1)]);
    let shown = serde_json::to_value(RunDetails::new(&overview, &run, 2, Vec::new())).unwrap();
    assert_eq!(shown["state"], "running", "{shown}");
    assert_eq!(shown["created_at"], "2026-01-05T10:00:00.000Z", "{shown}");
    assert_eq!((&shown["mode"], &shown["range"], &shown["views"]), (&json!("full"), &Value::Null, &json!(["by_hour"])));
    assert_eq!((&shown["progress"]["rows"], &shown["progress"]["fraction"]), (&json!(15), &json!(0.5)), "{shown}");
    assert_eq!(shown["task_counts"]["done"], 1, "{shown}");
    let tasks: Vec<&Value> = shown["tasks"].as_array().unwrap().iter().collect();
    assert_eq!((&tasks[0]["task"], &tasks[0]["process"]), (&json!(2), &json!("host:1")), "{shown}");
    assert_eq!((&tasks[0]["phase"], &tasks[0]["progress"]["fraction"]), (&json!("by_hour"), &json!(0.5)), "{shown}");
    assert_eq!((&tasks[1]["task"], &tasks[1]["state"]), (&json!(3), &json!("pending")), "{shown}");
    assert_eq!((tasks.len(), &shown["tasks_left_out"]), (2, &json!(1)));
    let events = RunDetails::at_work(&overview, &run, 100);
    assert_eq!(events.tasks.iter().map(|task| task.task).collect::<Vec<_>>(), [2]);
}

#[test]
fn where_nothing_goes_on_nothing_is_said_of_its_end() {
    let mut overview = at_work();
    let run = Arc::clone(&overview.state.runs[&RunId(1)]);
    assert!(run_view(&overview, &run).progress.remaining_seconds.is_some());
    overview.state = Arc::new(State { is_paused: true, ..State::clone(&overview.state) });
    let paused = run_view(&overview, &run).progress;
    assert_eq!((paused.remaining_seconds, paused.bytes_per_second, paused.fraction), (None, None, Some(0.5)));
}

#[test]
fn a_failed_run_says_which_task_failed_and_why() {
    let tasks = vec![planned(1, TaskKind::Choose, 0)];
    let state = state_of([started(1, &spec(RunMode::Incremental), tasks)]);
    let token = token(&state, 1);
    let failure = Failure::permanent("a group is too large");
    let mut state = state;
    for change in [Change::Leased { token }, Change::Failed { token, failure }] {
        let (by, at) = (super::worker(), TimestampMicros(super::NOW));
        state.apply(&workflow::Entry { epoch: state.epoch, by, at, changes: vec![change] }).unwrap();
    }
    let overview = overview(state, Beat::default());
    let shown = serde_json::to_value(RunDetails::new(&overview, &overview.state.runs[&RunId(1)], 10, vec![])).unwrap();
    let expected = json!({ "task": 1, "reason": "a group is too large", "transient": false });
    assert_eq!((&shown["state"], &shown["failure"]), (&json!("failed"), &expected), "{shown}");
    assert_eq!(shown["tasks"][0]["reason"], "a group is too large", "{shown}");
}

#[test]
fn the_newest_runs_are_listed_first_and_the_others_counted() {
    let run = |number, mode| started(number, &spec(mode), vec![planned(1, TaskKind::Choose, 0)]);
    let buckets = RunMode::Buckets { from: TimestampMicros(0), to: TimestampMicros(3_600_000_000), only_missing: true };
    let runs = [run(1, RunMode::Full), run(2, RunMode::Incremental), run(3, buckets)];
    let state = state_of(runs.into_iter().chain([Change::Cancelled { run: RunId(2) }]));
    let overview = overview(state, Beat { name: "host:1".to_owned(), slots: 1, ..Beat::default() });
    let shown = runs_view(&overview, 2, &RunsFilter::default());
    assert_eq!(shown.runs.iter().map(|run| run.run).collect::<Vec<_>>(), [3, 2]);
    assert_eq!((shown.left_out, shown.leader.as_deref()), (1, Some("host:1")));
    assert_eq!(shown.runs[0].range.as_ref().unwrap().to.as_deref(), Some("1970-01-01T01:00:00.000Z"));
}

#[test]
fn runs_are_filtered_before_they_are_counted() {
    let run = |number, mode, view: &str, source: &str| {
        let views = vec![(ViewName::new(view), DefinitionHash(1))];
        let asked = RunSpec { views, source: SourceName::new(source), ..spec(mode) };
        started(number, &asked, vec![planned(1, TaskKind::Choose, 0)])
    };
    let runs = [
        run(1, RunMode::Full, "by_hour", "hits"),
        run(2, RunMode::Incremental, "by_hour", "hits"),
        run(3, RunMode::Full, "by_day", "sales"),
    ];
    let ended = [Change::Cancelled { run: RunId(2) }, Change::Paused { run: Some(RunId(3)) }];
    let overview = overview(state_of(runs.into_iter().chain(ended)), Beat::default());
    let all = RunsFilter::default;
    let of = |word: &str| RunsFilter { state: parse_state(word).unwrap(), ..all() };
    let now = TimestampMicros(super::NOW);
    for (filter, expected) in [
        (all(), vec![3, 2, 1]),
        (of("all"), vec![3, 2, 1]),
        (of("open"), vec![3, 1]),
        (of("queued"), vec![1]),
        (of("paused"), vec![3]),
        (of("cancelled"), vec![2]),
        (of("done"), vec![]),
        (RunsFilter { source: Some("hits".to_owned()), ..all() }, vec![2, 1]),
        (RunsFilter { view: Some("by_day".to_owned()), ..all() }, vec![3]),
        (RunsFilter { view: Some("by_hour".to_owned()), ..of("open") }, vec![1]),
        (RunsFilter { since: Some(now), ..all() }, vec![3, 2, 1]),
        (RunsFilter { since: Some(TimestampMicros(now.0 + 1)), ..all() }, vec![]),
        (RunsFilter { before: Some(3), ..all() }, vec![2, 1]),
    ] {
        let shown = runs_view(&overview, 1, &filter);
        let numbers: Vec<u64> = runs_view(&overview, 10, &filter).runs.iter().map(|run| run.run).collect();
        assert_eq!((&numbers, shown.known), (&expected, 3), "{filter:?}");
        assert_eq!((shown.runs.len(), shown.left_out), (expected.len().min(1), expected.len().saturating_sub(1)));
    }
    assert!(parse_state("old").unwrap_err().contains("must be one of all, open, queued"));
}

#[test]
fn time_is_estimated_by_what_past_tasks_of_the_source_took_or_not_at_all() {
    let overview = at_work();
    let rate = measured_rate(&overview.state, &SourceName::new("hits")).unwrap();
    assert_eq!((rate.bytes_per_second, rate.tasks), (500.0, 1));
    assert_eq!(measured_rate(&overview.state, &SourceName::new("sales")), None);
    assert_eq!(estimated_time(rate, 10_000, 2), Duration::from_secs(10));
    assert_eq!(side_by_side(&overview, None, 10), 2);
    assert_eq!(side_by_side(&overview, Some(1), 10), 1);
    assert_eq!(side_by_side(&overview, Some(5), 1), 1);
}

#[test]
fn runs_that_found_nothing_new_hide_no_rate() {
    let mut state = State::clone(&at_work().state);
    for number in 2..40 {
        let mut spec = spec(RunMode::Incremental);
        spec.parameters = json!(number);
        let changes = vec![started(number, &spec, vec![planned(1, TaskKind::Choose, 0)])];
        let (by, at) = (super::worker(), TimestampMicros(super::NOW));
        state.apply(&workflow::Entry { epoch: state.epoch, by, at, changes }).unwrap();
    }
    let rate = measured_rate(&state, &SourceName::new("hits")).unwrap();
    assert_eq!((rate.bytes_per_second, rate.tasks), (500.0, 1));
}

#[test]
fn instants_are_dates_or_rfc_3339() {
    assert_eq!(parse_instant("1970-01-02"), Ok(TimestampMicros(86_400_000_000)));
    assert_eq!(parse_instant("1970-01-01T01:00:00+01:00"), Ok(TimestampMicros(0)));
    for bad in ["", "today", "2026-13-01", "2026-01-01 00:00", "2026-01-01T00:00"] {
        let refused = parse_instant(bad).unwrap_err();
        assert!(refused.contains("must be a date") && refused.contains(&format!("got `{bad}`")), "{refused}");
    }
}

fn grains(of: Bucket) -> Grains {
    Grains::new(of, Folded::default())
}

fn hours(from: i64, to: i64) -> (TimestampMicros, TimestampMicros) {
    (TimestampMicros(from * 3_600_000_000), TimestampMicros(to * 3_600_000_000))
}

fn stretch(from: i64, to: i64, state: BucketState) -> Stretch {
    let (from, to) = hours(from, to);
    Stretch { from, to, state }
}

#[test]
fn a_grid_shows_each_bucket_of_the_range_once() {
    let all = TimestampMicros::MIN;
    let first = Stretch { from: all, to: hours(2, 2).0, state: BucketState::Published };
    let last = Stretch { from: hours(26, 26).0, to: TimestampMicros(i64::MAX), state: BucketState::Pending };
    let groups = [first, stretch(2, 26, BucketState::AtWork), last];
    let touched = BucketRanges::from(vec![hours(0, 3), hours(24, 30)]);
    let grid = Grid::new((vec!["v".to_owned()], grains(Bucket::Hour)), hours(0, 30), Some(&touched), &groups);
    let shown: Vec<(&str, BucketState)> =
        grid.stretches.iter().map(|stretch| (&stretch.from.as_deref().unwrap()[..13], stretch.state)).collect();
    let expected = [
        ("1970-01-01T00", BucketState::Published),
        ("1970-01-01T02", BucketState::AtWork),
        ("1970-01-01T03", BucketState::Kept),
        ("1970-01-02T00", BucketState::AtWork),
        ("1970-01-02T02", BucketState::Pending),
    ];
    assert_eq!(shown, expected);
    let drawn = grid.draw();
    assert!(drawn.contains("  1970-01-01  ##>=====================\n  1970-01-02  >>....\n"), "{drawn}");
    assert!(drawn.contains(". pending 4, > at work 3, # published 2, = nothing to do 21"), "{drawn}");
}

#[test]
fn days_stand_in_months_and_what_is_not_drawn_is_told() {
    let group = Stretch { from: TimestampMicros::MIN, to: TimestampMicros(i64::MAX), state: BucketState::Computed };
    let days = Grid::new((vec!["v".to_owned()], grains(Bucket::Day)), hours(30 * 24, 32 * 24), None, &[group]);
    let drawn = days.draw();
    assert!(drawn.contains("  1970-01     ") && drawn.contains("  1970-02     o\n"), "{drawn}");
    let months = Grid::new((vec!["v".to_owned()], grains(Bucket::Month)), hours(0, 59 * 24), None, &[group]);
    assert!(months.draw().contains("  1970        oo\n"), "{}", months.draw());
    let many = Grid::new((vec!["v".to_owned()], grains(Bucket::Hour)), hours(0, 24 * 500), None, &[group]);
    let drawn = many.draw();
    assert!(drawn.lines().count() <= MAX_LINES + 3 && drawn.contains("--json tells of all"), "{drawn}");
}
