//! Runs in the terminal: bars that fit, lines where nothing can be drawn over.

use std::sync::Arc;

use twofold::commands::runs::draw::{draw_bars, draw_run, draw_runs, plain_line};
use twofold::runs::view::{RunDetails, runs_view};
use workflow::{Beat, RunId, RunMode, State, TaskKind};

use super::shown::{at_work, spec};
use super::{overview, planned, started, state_of};

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
fn tables_say_who_takes_part_and_what_stands_in_the_way() {
    let overview = at_work();
    let drawn = draw_runs(&runs_view(&overview, 10, false));
    assert!(drawn.starts_with("process host:1: 1 of 2 slots at work, leads\n"), "{drawn}");
    assert!(drawn.contains("full recompute") && drawn.contains("1/3"), "{drawn}");
    let run = RunDetails::new(&overview, &overview.state.runs[&RunId(1)], 1, Vec::new());
    let drawn = draw_run(&run);
    assert!(drawn.contains("created 2026-01-05T10:00:00Z") && drawn.contains("2 more tasks are not shown"), "{drawn}");
}

#[test]
fn an_empty_journal_is_told_as_that() {
    let empty = workflow::Overview { state: Arc::default(), processes: [].into() };
    let drawn = draw_runs(&runs_view(&empty, 10, false));
    assert_eq!(drawn, "no process that takes part is known\nno run was started yet\n");
}

#[test]
fn older_runs_are_counted() {
    let run = |number, mode| started(number, &spec(mode), vec![planned(1, TaskKind::Choose, 0)]);
    let state = state_of([run(1, RunMode::Full), run(2, RunMode::Incremental)]);
    let drawn = draw_runs(&runs_view(&overview(state, Beat::default()), 1, false));
    assert!(drawn.ends_with("1 older runs are not shown: --limit\n"), "{drawn}");
}
