//! Ten thousand tasks in one run: how large the state and the entries of the journal become.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::TryStreamExt;
use lake::sequence::MAX_BYTES;
use object_store::memory::InMemory;
use positions::TimestampMicros;
use serde_json::json;
use tokio::time::Instant;
use workflow::{
    CHUNK_BYTES, Change, Content, Entry, Leader, MAX_INLINE_BYTES, RunId, RunState, Start, State, TaskId, TaskKind,
    TaskOutput, TaskSpec, Token, Work, Worker, WorkerId, Workflow, WorkflowSettings, choose_leases,
};

use super::fake::Fake;
use super::lasting::Counting;
use super::{process, spec, task};
use crate::lake::{lake_in, memory_lake};
use crate::support::object_layer::Layered;

const TASKS: u32 = 10_000;
const RUN: RunId = RunId(1);

/// Groups with parameters as the batch layer's, and what publishes them.
fn groups() -> Vec<TaskSpec> {
    let parameters = json!({ "part": "x".repeat(500) });
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
    let outputs: Vec<_> = assignment.outputs(|_| true).try_collect().await.unwrap();
    assert_eq!(outputs[0].1.as_str().unwrap().len(), MAX_INLINE_BYTES + 1);

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

/// Requests to the store, of what each process does again and again while a run of ten thousand tasks is at work.
#[tokio::test]
async fn what_is_asked_of_the_store_does_not_grow_with_the_number_of_tasks() {
    const TAKEN: usize = 100;
    let requests = Arc::new(AtomicU64::new(0));
    let store = Layered::new(Counting { inner: InMemory::new(), requests: Arc::clone(&requests) });
    let lake = lake_in(Arc::new(store), 10);
    chosen(&process(&lake, 1)).await;
    let asked = || requests.swap(0, Ordering::SeqCst);

    let worker = Worker::new(&process(&lake, 2));
    let tokens = worker.take(TAKEN).await.unwrap();
    assert_eq!(tokens.len(), TAKEN);
    asked();
    for token in &tokens {
        assert!(worker.assignment(*token).await.unwrap().is_some());
    }
    let for_assignments = asked();
    assert!((1..=3).contains(&for_assignments), "{for_assignments} requests: neighbours are in one object");
    for token in &tokens {
        assert!(worker.report(*token, &Ok(TaskOutput::default()), Work::default()).await.unwrap());
    }
    let for_reports = asked();
    assert!(for_reports <= 3 * TAKEN as u64, "{for_reports} requests for {TAKEN} reports");

    let second = process(&lake, 3);
    let mut leader = Leader::new(&second, Arc::new(Fake::new(1, 0)), None, WorkflowSettings::default());
    let now = Instant::now();
    leader.step(now).await.unwrap();
    asked();
    leader.step(now).await.unwrap();
    let for_a_step = asked();
    assert!(for_a_step <= 10, "{for_a_step} requests for a step of leading");
}
