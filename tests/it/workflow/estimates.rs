//! How far runs and tasks are said to be, and how long they may still take.

use std::sync::Arc;
use std::time::Duration;

use positions::TimestampMicros;
use serde_json::json;
use workflow::{
    Advance, AtWork, Beat, Change, Content, Entry, Overview, Planned, Progress, RunId, State, TaskId, TaskKind, Token,
    Work, WorkerId,
};

use super::spec;

const RUN: RunId = RunId(1);

fn planned(id: u32, weight_bytes: u64) -> Planned {
    let parameters = Content::Inline(json!({}));
    Planned { id: TaskId(id), kind: TaskKind::Compute, after: Arc::from([]), weight_bytes, parameters }
}

fn token(task: u32) -> Token {
    Token { run: RUN, task: TaskId(task), attempt: 1, epoch: State::default().epoch }
}

/// Four groups of 1,000 bytes: one was done in 2 s, two are at work, one of them half way after 1 s.
fn overview() -> Overview {
    overview_after(1_000)
}

/// The same, where what is done weighs this.
fn overview_after(done_bytes: u64) -> Overview {
    let worker = WorkerId::from_drawn(1);
    let tasks = (0..4).map(|id| planned(id, if id == 0 { done_bytes } else { 1_000 })).collect();
    let work = Work { rows: 10, bytes: done_bytes, took_millis: 2_000 };
    let changes = vec![
        Change::Started { run: RUN, key: "key".into(), spec: Arc::new(spec(json!(1))), tasks },
        Change::Leased { token: token(0) },
        Change::Done { token: token(0), output: Content::Inline(json!(1)), next: vec![], work },
        Change::Leased { token: token(1) },
        Change::Leased { token: token(2) },
    ];
    let mut state = State::default();
    state.apply(&Entry { epoch: state.epoch, by: worker.clone(), at: TimestampMicros(0), changes }).unwrap();
    let progress = Progress::default();
    progress.add(5, 500);
    let at_work = vec![
        AtWork { token: token(1), elapsed_millis: 1_000, reached: progress.reached() },
        AtWork { token: token(2), elapsed_millis: 0, reached: Progress::default().reached() },
        // A lease that is over.
        AtWork { token: Token { attempt: 9, ..token(1) }, elapsed_millis: 1, reached: progress.reached() },
    ];
    let beat = Beat { at_work, ..Beat::default() };
    Overview { state: Arc::new(state), processes: [(worker, beat)].into() }
}

#[test]
fn a_task_goes_on_as_fast_as_it_began() {
    let overview = overview();
    let half = overview.task_advance(RUN, TaskId(1));
    assert_eq!(
        half,
        Advance {
            rows: 5,
            bytes: 500,
            fraction: Some(0.5),
            bytes_per_second: Some(500.0),
            remaining: Some(Duration::from_secs(1)),
        }
    );
    let begun = overview.task_advance(RUN, TaskId(2));
    assert_eq!((begun.fraction, begun.remaining, begun.bytes_per_second), (Some(0.0), None, None));
    assert_eq!(overview.task_advance(RUN, TaskId(3)), Advance::default());
    assert_eq!(overview.task_advance(RunId(9), TaskId(3)), Advance::default());
    assert_eq!(overview.task_advance(RUN, TaskId(0)).remaining, Some(Duration::ZERO));
    assert!(overview.at_work(&Token { attempt: 9, ..token(1) }).is_none());
}

#[test]
fn a_run_goes_on_at_the_speed_of_what_is_done_side_by_side() {
    let overview = overview();
    let advance = overview.run_advance(overview.state.run(RUN).unwrap());
    assert_eq!((advance.rows, advance.bytes, advance.fraction), (15, 1_500, Some(0.375)));
    // 2,500 bytes at 2 ms each, two at a time.
    assert_eq!(advance.remaining, Some(Duration::from_millis(2_500)));
    assert_eq!(advance.bytes_per_second, Some(500.0));
}

#[test]
fn the_choice_of_a_cut_says_nothing_of_how_long_a_run_takes() {
    let overview = overview_after(0);
    let advance = overview.run_advance(overview.state.run(RUN).unwrap());
    // 2,500 bytes at the 500 in a second that the one at work reads.
    assert_eq!(advance.remaining, Some(Duration::from_secs(5)));

    let mut quiet = overview;
    quiet.processes.clear();
    assert_eq!(quiet.run_advance(quiet.state.run(RUN).unwrap()).remaining, None);
}
