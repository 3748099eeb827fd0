//! Ten thousand tasks in one run: how large the state and the entries of the journal become.

use std::sync::Arc;

use lake::sequence::MAX_BYTES;
use positions::TimestampMicros;
use serde_json::json;
use workflow::{
    CHUNK_BYTES, Change, Content, Entry, MAX_INLINE_BYTES, RunId, RunState, Start, State, TaskId, TaskKind, TaskOutput,
    TaskSpec, Token, Work, Worker, WorkerId, Workflow, choose_leases,
};

use super::{process, spec, task};
use crate::lake::memory_lake;

const TASKS: u32 = 10_000;
const RUN: RunId = RunId(1);

/// Groups with parameters as the batch layer's, and what publishes them.
fn groups() -> Vec<TaskSpec> {
    let parameters = json!({ "buckets": "x".repeat(300) });
    let compute = |id| TaskSpec { parameters: parameters.clone(), ..task(id, TaskKind::Compute, [0]) };
    let mut next: Vec<TaskSpec> = (1..=TASKS).map(compute).collect();
    next.push(task(TASKS + 1, TaskKind::Publish, 0..=TASKS));
    next
}

/// The run after its tasks were chosen, on a lake.
async fn chosen(workflow: &Workflow) -> State {
    let started = workflow.start(spec(json!(1)), &[task(0, TaskKind::Choose, [])]).await.unwrap();
    assert_eq!(started, Start::Started(RUN));
    let worker = Worker::new(workflow);
    let token = worker.take(1).await.unwrap()[0];
    let output = TaskOutput { output: json!("x".repeat(MAX_INLINE_BYTES + 1)), next: groups() };
    assert!(worker.report(token, &Ok(output), Work::default()).await.unwrap());
    State::clone(&*workflow.refresh().await.unwrap())
}

fn apply(state: &mut State, changes: Vec<Change>) {
    let by = state.leases.first().map(|lease| lease.worker.clone());
    let by = by.unwrap_or_else(|| WorkerId::from_drawn(1));
    let entry = Entry { epoch: state.epoch, by, at: TimestampMicros(1_700_000_000_000_000), changes };
    let bytes = serde_json::to_vec(&entry).unwrap().len();
    assert!(bytes < MAX_BYTES / 4, "an entry of {bytes} bytes");
    state.apply(&entry).unwrap();
}

fn done(token: Token) -> Change {
    let output = Content::Object(Arc::from(format!("output-{}-{}.json", token.task, token.attempt)));
    Change::Done { token, output, next: vec![], work: Work { rows: 1_000_000, bytes: 1 << 28, took_millis: 20_000 } }
}

#[tokio::test]
async fn ten_thousand_tasks_fit_into_the_journal_and_into_a_small_state() {
    let lake = memory_lake(10);
    let workflow = process(&lake, 1);
    let mut state = chosen(&workflow).await;
    let run = state.run(RUN).unwrap();
    assert_eq!(run.tasks.len() as u32, TASKS + 2);
    let chunks = lake.objects(&lake.path("_workflow/runs")).await.unwrap();
    let largest = chunks.iter().map(|chunk| chunk.size).max().unwrap();
    assert!(chunks.len() < 100 && largest < 2 * CHUNK_BYTES as u64, "{} of up to {largest} bytes", chunks.len());
    let journal = lake.objects(&lake.path("_workflow/journal")).await.unwrap();
    let largest = journal.iter().map(|entry| entry.size).max().unwrap();
    assert!(largest < MAX_BYTES as u64, "an entry of {largest} bytes");

    // Another process reads one task and its parameters, and no more.
    let other = Worker::new(&process(&lake, 2));
    let token = other.take(1).await.unwrap()[0];
    let assignment = other.assignment(token).await.unwrap().unwrap();
    assert_eq!(assignment.task, groups()[0]);
    assert_eq!(assignment.outputs().await.unwrap()[0].1.as_str().unwrap().len(), MAX_INLINE_BYTES + 1);

    // To the end, ten at a time.
    let mut largest = 0;
    for _ in 0..=TASKS {
        let tokens = choose_leases(&state, 10);
        if tokens.is_empty() {
            break;
        }
        apply(&mut state, tokens.iter().map(|token| Change::Leased { token: *token }).collect());
        apply(&mut state, tokens.into_iter().map(done).collect());
        let has_thousands = state.run(RUN).unwrap().counts.done % 2_000 < 10;
        if has_thousands {
            largest = largest.max(serde_json::to_vec(&state).unwrap().len());
        }
    }
    let run = state.run(RUN).unwrap();
    assert_eq!((run.state, run.counts.done), (RunState::Done, TASKS + 2));
    assert_eq!(run.task(TaskId(TASKS)).unwrap().attempt, 1);
    largest = largest.max(serde_json::to_vec(&state).unwrap().len());
    // With the maps and lists in memory some times as much: far below 200 MB.
    assert!(largest < 600 * TASKS as usize, "a state of {largest} bytes");
    assert!(state.leases.is_empty() && state.runs.len() == 1 && state.notes.is_empty());
}
