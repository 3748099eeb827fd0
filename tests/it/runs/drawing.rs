//! Runs in the terminal: bars that fit, lines where nothing can be drawn over.

use std::sync::Arc;

use positions::TimestampMicros;
use serde_json::json;
use twofold::commands::runs::draw::{draw_bars, draw_run, draw_runs, plain_line};
use twofold::runs::filter::RunsFilter;
use twofold::runs::rate::side_by_side;
use twofold::runs::view::{RunDetails, runs_view};
use workflow::{
    Beat, Change, Content, Entry, RunId, RunKind, RunMode, RunSpec, State, TaskId, TaskKind, Token, Work, WorkerId,
};

use super::shown::{at_work, spec};
use super::{NOW, overview, planned, started, state_of, worker};

#[test]
fn bars_show_runs_and_what_is_at_work_within_a_narrow_terminal() {
    let overview = at_work();
    let details = [RunDetails::at_work(&overview, &overview.state.runs[&RunId(1)], 10)];
    let drawn = draw_bars(&details);
    let lines: Vec<&str> = drawn.lines().collect();
    assert_eq!(lines[0], "run 1  running  full recompute of by_hour");
    assert!(lines[1].starts_with("  [##########----------]  50 %  15 rows, 1.27 KiB, 500 B/s"), "{drawn}");
    assert_eq!(lines[2], "  compute 2  [##########----------]  50 %  by_hour");
    assert!(lines.iter().all(|line| line.chars().count() <= 79), "{drawn}");
}

#[test]
fn what_has_no_room_beside_a_bar_is_left_out_whole() {
    let overview = at_work();
    let mut details = [RunDetails::at_work(&overview, &overview.state.runs[&RunId(1)], 10)];
    let progress = &mut details[0].run.progress;
    (progress.rows, progress.bytes, progress.bytes_per_second) = (1_234_567_890, 512 << 20, Some(1_048_576.0));
    progress.remaining_seconds = Some(3.0);
    let drawn = draw_bars(&details);
    let line = drawn.lines().nth(1).unwrap();
    assert_eq!(line, "  [##########----------]  50 %  512.00 MiB, 1.00 MiB/s, 00:00:03 left");
}

#[test]
fn a_run_elsewhere_is_one_line() {
    let mut overview = at_work();
    let line =
        |overview: &workflow::Overview| plain_line(&RunDetails::at_work(overview, &overview.state.runs[&RunId(1)], 10));
    assert!(line(&overview).starts_with("run 1 running, full recompute of by_hour: 1 of 3 tasks done, 15 rows"));
    overview.state = Arc::new(State { is_paused: true, ..State::clone(&overview.state) });
    assert!(line(&overview).starts_with("run 1 running, all runs are paused, full"), "{}", line(&overview));
}

#[test]
fn a_process_that_the_leader_hears_nothing_of_is_silent_and_not_at_work() {
    let mut overview = at_work();
    let dead = WorkerId::from_drawn(99);
    let last = Beat { name: "host:2".to_owned(), slots: 4, ..overview.processes[&worker()].clone() };
    overview.processes.insert(dead.clone(), last);
    let shown = |overview: &workflow::Overview| runs_view(overview, 10, &RunsFilter::default());
    assert!(draw_runs(&shown(&overview)).contains("process host:2: 1 of 4 slots at work\n"));
    assert_eq!(side_by_side(&overview, None, 10), 6);
    overview.processes.get_mut(&worker()).unwrap().silent.insert(dead, 42);
    let view = shown(&overview);
    let silent: Vec<_> = view.processes.iter().map(|process| (process.at_work, process.silent_seconds)).collect();
    assert!(silent.contains(&(1, None)) && silent.contains(&(0, Some(42))), "{silent:?}");
    let drawn = draw_runs(&view);
    assert!(drawn.contains("process host:2: silent for 42 s, its tasks are taken away\n"), "{drawn}");
    assert_eq!(side_by_side(&overview, None, 10), 2);
}

#[test]
fn tables_say_who_takes_part_and_what_stands_in_the_way() {
    let overview = at_work();
    let drawn = draw_runs(&runs_view(&overview, 10, &RunsFilter::default()));
    assert!(drawn.starts_with("process host:1: 1 of 2 slots at work, leads\n"), "{drawn}");
    assert!(drawn.contains("full recompute") && drawn.contains("1/3"), "{drawn}");
    let run = RunDetails::new(&overview, &overview.state.runs[&RunId(1)], 1, Vec::new());
    let drawn = draw_run(&run);
    assert!(drawn.contains("created 2026-01-05T10:00:00Z") && drawn.contains("2 more tasks are not shown"), "{drawn}");
}

#[test]
fn housekeeping_says_what_it_did_and_of_which_source() {
    let housekeeping = RunSpec { kind: RunKind::Housekeeping, views: Vec::new(), ..spec(RunMode::Full) };
    let mut state = state_of([started(1, &housekeeping, vec![planned(1, TaskKind::Vacuum, 0)])]);
    let token = Token { run: RunId(1), task: TaskId(1), attempt: 1, epoch: state.epoch };
    let output = Content::Inline(json!({ "did": "3 objects of 1.00 KiB deleted" }));
    let done = Change::Done { token, output, next: vec![], work: Work::default() };
    let changes = vec![Change::Leased { token }, done];
    state.apply(&Entry { epoch: state.epoch, by: worker(), at: TimestampMicros(NOW), changes }).unwrap();
    let overview = overview(state, Beat::default());
    let run = RunDetails::new(&overview, &overview.state.runs[&RunId(1)], 10, Vec::new());
    let drawn = draw_run(&run);
    assert!(drawn.starts_with("run 1: done, housekeeping of hits\n"), "{drawn}");
    assert!(drawn.contains("vacuum") && drawn.contains("3 objects of 1.00 KiB deleted"), "{drawn}");
    assert_eq!(serde_json::to_value(&run).unwrap()["tasks"][0]["did"], "3 objects of 1.00 KiB deleted");
}

#[test]
fn an_empty_journal_is_told_as_that() {
    let empty = workflow::Overview { state: Arc::default(), processes: [].into() };
    let drawn = draw_runs(&runs_view(&empty, 10, &RunsFilter::default()));
    assert_eq!(drawn, "no process that takes part is known\nno run was started yet\n");
}

#[test]
fn older_runs_are_counted() {
    let run = |number, mode| started(number, &spec(mode), vec![planned(1, TaskKind::Choose, 0)]);
    let state = state_of([run(1, RunMode::Full), run(2, RunMode::Incremental)]);
    let drawn = draw_runs(&runs_view(&overview(state, Beat::default()), 1, &RunsFilter::default()));
    assert!(drawn.ends_with("1 older runs are not shown: --limit, or --before 2\n"), "{drawn}");
}
