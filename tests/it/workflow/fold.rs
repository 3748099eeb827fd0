//! The fold: what each change does, and who is refused what.

use std::sync::Arc;

use positions::TimestampMicros;
use serde_json::json;
use workflow::{
    Change, Content, Entry, Epoch, Failure, MAX_JOINED_KEYS, MemoryLimit, Planned, Priority, Refused, Room, Run, RunId,
    RunKind, RunSpec, RunState, State, TaskId, TaskKind, TaskState, Token, Work, WorkerId, choose_leases,
    choose_within,
};

use super::spec;

const RUN: RunId = RunId(1);

/// A journal of entries that are all accepted, but for those that are said to be refused.
#[derive(Default)]
struct Fold {
    state: State,
    at: i64,
}

fn worker(number: u128) -> WorkerId {
    WorkerId::from_drawn(number)
}

fn planned(id: u32, kind: TaskKind, after: &[u32]) -> Planned {
    let after = after.iter().copied().map(TaskId).collect();
    Planned { id: TaskId(id), kind, after, weight_bytes: 100, parameters: Content::Inline(json!({})) }
}

fn failure(is_transient: bool) -> Failure {
    Failure { is_transient, ..Failure::permanent("so it is") }
}

fn done(token: Token) -> Change {
    Change::Done { token, output: Content::Inline(json!(1)), next: vec![], work: Work::default() }
}

fn expired(token: Token) -> Change {
    Change::Expired { token, reason: "silent".to_owned() }
}

impl Fold {
    /// Worker 1 leads; run 1 has three tasks in a row.
    fn with_run(spec: RunSpec) -> Self {
        let mut fold = Self::default();
        fold.append(1, [Change::Lead]);
        fold.start(spec);
        fold
    }

    fn entry(&self, by: u128, changes: impl IntoIterator<Item = Change>) -> Entry {
        Entry {
            epoch: self.state.epoch,
            by: worker(by),
            at: TimestampMicros(self.at),
            changes: changes.into_iter().collect(),
        }
    }

    fn append(&mut self, by: u128, changes: impl IntoIterator<Item = Change>) {
        self.at += 1;
        let entry = self.entry(by, changes);
        self.state.apply(&entry).unwrap_or_else(|refused| panic!("{refused}: {entry:?}"));
        // What a snapshot keeps is all there is.
        let stored = serde_json::to_vec(&self.state).unwrap();
        assert_eq!(serde_json::from_slice::<State>(&stored).unwrap(), self.state);
        assert_counts(&self.state);
    }

    fn refused(&mut self, by: u128, changes: impl IntoIterator<Item = Change>) -> Refused {
        let (before, entry) = (self.state.clone(), self.entry(by, changes));
        let refused = self.state.apply(&entry).expect_err("it is refused");
        assert_eq!(self.state, before, "a refused entry changes nothing");
        refused
    }

    fn start(&mut self, spec: RunSpec) {
        let change = self.started(spec);
        self.append(9, [change]);
    }

    fn started(&self, spec: RunSpec) -> Change {
        let run = RunId(self.state.last_run.0 + 1);
        let tasks = vec![
            planned(0, TaskKind::Choose, &[]),
            planned(1, TaskKind::Compute, &[0]),
            planned(2, TaskKind::Publish, &[0, 1]),
        ];
        Change::Started { run, key: format!("key{run}").into(), spec: Arc::new(spec), tasks }
    }

    fn token(&self, task: u32) -> Token {
        let attempt = self.state.task(RUN, TaskId(task)).unwrap().attempt;
        Token { run: RUN, task: TaskId(task), attempt: attempt + 1, epoch: self.state.epoch }
    }

    /// A lease of the first task of a run.
    fn token_of(&self, run: u64) -> Token {
        let (run, task) = (RunId(run), TaskId(0));
        let attempt = self.state.task(run, task).unwrap().attempt + 1;
        Token { run, task, attempt, epoch: self.state.epoch }
    }

    /// Takes a task.
    fn lease(&mut self, by: u128, task: u32) -> Token {
        let token = self.token(task);
        self.append(by, [Change::Leased { token }]);
        token
    }

    fn finish(&mut self, by: u128, task: u32) {
        let token = self.lease(by, task);
        self.append(by, [done(token)]);
    }

    fn run(&self) -> &Run {
        self.state.run(RUN).unwrap()
    }

    fn standings(&self) -> Vec<&'static str> {
        self.run().tasks.iter().map(|task| task.state.name()).collect()
    }
}

fn assert_counts(state: &State) {
    for run in state.runs.values().filter(|run| !run.is_archived) {
        assert_eq!(run.counts.all() as usize, run.tasks.len());
        let of = |name: &str| run.tasks.iter().filter(|task| task.state.name() == name).count();
        let (leased, pending) = (run.counts.leased as usize, run.counts.pending as usize);
        assert_eq!((leased, pending), (of("leased"), of("pending")));
        assert_eq!(leased, state.leases.iter().filter(|lease| lease.token.run == run.id).count());
        for task in &run.tasks {
            let is_open = |before: &&TaskId| !matches!(run.task(**before).unwrap().state, TaskState::Done { .. });
            assert_eq!(task.blocked_by as usize, task.after.iter().filter(is_open).count());
        }
    }
}

#[test]
fn a_run_goes_from_task_to_task_and_ends() {
    let mut fold = Fold::with_run(spec(json!(1)));
    assert_eq!((fold.run().state, fold.standings()), (RunState::Queued, vec!["pending"; 3]));
    for task in 0..3 {
        assert_eq!(choose_leases(&fold.state, 5), [fold.token(task)]);
        fold.finish(2, task);
    }
    assert_eq!((fold.run().state, fold.standings()), (RunState::Done, vec!["done"; 3]));
    assert!(fold.state.leases.is_empty() && fold.run().ended_at.is_some());
    assert_eq!(choose_leases(&fold.state, 5), []);
}

#[test]
fn only_the_present_epoch_and_its_leader_are_believed() {
    let mut fold = Fold::with_run(spec(json!(1)));
    let token = fold.lease(2, 0);
    assert_eq!(fold.refused(2, [expired(token)]), Refused::NotLeader);
    assert_eq!(fold.refused(1, [Change::Lead]), Refused::AlreadyLeads);
    assert_eq!(fold.refused(1, []), Refused::Empty);

    let late = fold.entry(1, [expired(token)]);
    fold.append(3, [Change::Lead]);
    assert_eq!(fold.state.after(&late), Err(Refused::OtherEpoch { found: Epoch(1), present: Epoch(2) }));
    let leaders_alone = [
        expired(token),
        Change::Resigned,
        Change::Limited { max_concurrent: None },
        Change::Split { token, parts: vec![planned(3, TaskKind::Choose, &[])] },
        Change::Ready { run: RUN, task: TaskId(0), attempt: 1 },
        Change::DeadlineMissed { run: RUN },
        Change::Archived { run: RUN },
        Change::Forgotten { run: RUN },
        Change::Noted { key: "a".to_owned(), value: json!(1) },
    ];
    for change in leaders_alone {
        assert_eq!(fold.refused(1, [change]), Refused::NotLeader);
    }
    // A lease outlives the leader under whom it was taken.
    fold.append(2, [done(token)]);
    fold.append(3, [Change::Resigned]);
    assert_eq!(fold.state.leader, None);
}

#[test]
fn a_task_that_is_not_to_be_had_is_refused() {
    let mut fold = Fold::with_run(RunSpec { max_concurrent: Some(1), ..spec(json!(1)) });
    let why = |refused: Refused| match refused {
        Refused::NotToBeHad { why, .. } => why,
        other => panic!("{other}"),
    };
    let lease = |token| [Change::Leased { token }];
    let token = fold.token(0);
    assert_eq!(why(fold.refused(2, lease(fold.token(1)))), "the task is not ready");
    assert_eq!(why(fold.refused(2, lease(Token { task: TaskId(9), ..token }))), "there is no such task");
    assert_eq!(why(fold.refused(2, lease(Token { run: RunId(9), ..token }))), "there is no such run");
    for wrong in [Token { attempt: 2, ..token }, Token { epoch: Epoch(7), ..token }] {
        assert_eq!(why(fold.refused(2, lease(wrong))), "its token is not the next one");
    }
    fold.append(9, [Change::Paused { run: None }]);
    assert_eq!(why(fold.refused(2, lease(token))), "all runs are paused");
    assert_eq!(fold.refused(9, [Change::Paused { run: None }]), Refused::Already);
    fold.append(9, [Change::Resumed { run: None }]);
    assert_eq!(fold.refused(9, [Change::Resumed { run: None }]), Refused::Already);
    fold.append(9, [Change::Paused { run: Some(RUN) }]);
    assert_eq!(why(fold.refused(2, lease(token))), "its run is paused or has ended");
    assert_eq!(fold.refused(9, [Change::Paused { run: Some(RUN) }]), Refused::Already);
    assert_eq!(choose_leases(&fold.state, 5), []);
    fold.append(9, [Change::Resumed { run: Some(RUN) }]);
    assert_eq!(
        (fold.run().state, fold.refused(9, [Change::Resumed { run: Some(RUN) }])),
        (RunState::Queued, Refused::Already)
    );
    fold.append(2, [Change::Leased { token }]);
    assert_eq!(why(fold.refused(3, lease(fold.token(0)))), "the task is not ready", "it is somebody's");
}

#[test]
fn caps_bound_what_is_at_work_in_a_run_and_in_all() {
    let mut fold = Fold::with_run(RunSpec { max_concurrent: Some(2), ..spec(json!(1)) });
    let token = fold.lease(2, 0);
    let next = (3..10).map(|id| planned(id, TaskKind::Compute, &[0])).collect();
    fold.append(2, [Change::Done { token, output: Content::Inline(json!(1)), next, work: Work::default() }]);
    fold.start(RunSpec { priority: Priority::Backfill, ..spec(json!(2)) });
    // Two of the first run, then the backfill's first.
    let chosen = choose_leases(&fold.state, 9);
    assert_eq!(chosen.iter().map(|token| (token.run.0, token.task.0)).collect::<Vec<_>>(), [(1, 1), (1, 3), (2, 0)]);
    fold.append(1, [Change::Limited { max_concurrent: Some(2) }]);
    assert_eq!(choose_leases(&fold.state, 9), chosen[..2]);
    fold.append(2, chosen[..2].iter().map(|token| Change::Leased { token: *token }));
    let full = |refused: Refused, text: &str| assert!(refused.to_string().ends_with(text), "{refused}");
    full(fold.refused(3, [Change::Leased { token: chosen[2] }]), "as many tasks as allowed are at work");
    fold.append(1, [Change::Limited { max_concurrent: None }]);
    let fourth = fold.token(4);
    full(fold.refused(3, [Change::Leased { token: fourth }]), "as many tasks of its run as allowed are at work");
    fold.append(3, [Change::Leased { token: chosen[2] }]);
}

#[test]
fn memory_bounds_what_one_process_takes_and_nothing_passes_what_waits() {
    let mut fold = Fold::with_run(spec(json!(1)));
    let token = fold.lease(2, 0);
    // One behind the other: light, heavy, light; and one of the first run's own, which weighs 100.
    let weighing = |(id, weight_bytes)| Planned { weight_bytes, ..planned(id, TaskKind::Compute, &[0]) };
    let next = [(3, 0), (4, 1_000_000), (5, 0)].map(weighing).to_vec();
    fold.append(2, [Change::Done { token, output: Content::Inline(json!(1)), next, work: Work::default() }]);
    let within = |fold: &Fold, by: u128, all: u64| -> Vec<u32> {
        let memory = MemoryLimit { all: Some(all), task: 1_600 };
        let chosen = choose_within(&fold.state, &worker(by), Room { memory, ..Room::of(9) }, &|_| true);
        chosen.iter().map(|token| token.task.0).collect()
    };
    // They need 400, 100, 1,600 and 100.
    assert_eq!(within(&fold, 2, 2_200), [1, 3, 4, 5]);
    assert_eq!(within(&fold, 2, 2_199), [1, 3, 4]);
    assert_eq!(within(&fold, 2, 2_099), [1, 3], "the last one waits behind the large one");
    assert_eq!(within(&fold, 2, 399), [0; 0]);
    let unbounded = choose_within(&fold.state, &worker(2), Room::of(9), &|_| true);
    assert_eq!(unbounded.len(), 4, "there is no limit");
    // What is at work counts, with the one that works at it alone; and one alone has room.
    fold.lease(2, 1);
    fold.lease(2, 3);
    assert_eq!(within(&fold, 2, 2_000), [0; 0]);
    assert_eq!(within(&fold, 3, 1_600), [4]);
}

/// Tasks of housekeeping that weigh so much, in runs of their own, to be had at once.
fn start_housekeeping(fold: &mut Fold, weights: &[u64]) {
    for weight_bytes in weights {
        let run = RunId(fold.state.last_run.0 + 1);
        let of_run = spec(json!(format!("house {run}")));
        let spec = RunSpec { kind: RunKind::Housekeeping, priority: Priority::Backfill, ..of_run };
        let tasks = vec![Planned { weight_bytes: *weight_bytes, ..planned(0, TaskKind::Compact, &[]) }];
        fold.append(9, [Change::Started { run, key: format!("key{run}").into(), spec: Arc::new(spec), tasks }]);
    }
}

#[test]
fn housekeeping_leaves_a_slot_where_there_are_several() {
    let mut fold = Fold::default();
    fold.append(1, [Change::Lead]);
    start_housekeeping(&mut fold, &[0, 0, 0, 0]);
    let chosen = |fold: &Fold, slots: usize, free: usize| -> Vec<u64> {
        let tokens = choose_within(&fold.state, &worker(2), Room { slots, ..Room::of(free) }, &|_| true);
        tokens.iter().map(|token| token.run.0).collect()
    };
    assert_eq!(chosen(&fold, 1, 1), [1], "the only slot is for all");
    assert_eq!(chosen(&fold, 2, 2), [1]);
    assert_eq!(chosen(&fold, 3, 3), [1, 2]);
    let token = choose_leases(&fold.state, 1)[0];
    fold.append(2, [Change::Leased { token }]);
    assert_eq!(chosen(&fold, 2, 1), [0; 0], "what it has at work counts");
    fold.start(spec(json!("a round")));
    assert_eq!(chosen(&fold, 2, 1), [5]);
    // However the turns stand: what is passed over keeps nothing behind it from being taken.
    for _ in 0..8 {
        assert_eq!(chosen(&fold, 2, 1), [5], "after {} leases", fold.state.leases_taken);
        let token = fold.token_of(5);
        fold.append(2, [Change::Leased { token }]);
        fold.append(2, [Change::Released { token }]);
    }
}

#[test]
fn housekeeping_waits_for_memory_beside_the_others_and_nothing_waits_for_it() {
    let mut fold = Fold::default();
    fold.append(1, [Change::Lead]);
    // One that needs all there is, and a round whose first task needs little.
    start_housekeeping(&mut fold, &[1_000_000]);
    let within = |fold: &Fold| -> Vec<u64> {
        let memory = MemoryLimit { all: Some(1_600), task: 1_600 };
        let tokens = choose_within(&fold.state, &worker(2), Room { memory, ..Room::of(2) }, &|_| true);
        tokens.iter().map(|token| token.run.0).collect()
    };
    assert_eq!(within(&fold), [1]);
    fold.start(spec(json!("a round")));
    assert_eq!(within(&fold), [2], "it does not fit beside the round, which is first");
    let token = fold.token_of(2);
    fold.append(2, [Change::Leased { token }]);
    assert_eq!(within(&fold), [0_u64; 0]);
    fold.append(2, [Change::Released { token }]);
    // Taken while nothing else was there to do.
    let token = fold.token_of(1);
    fold.append(2, [Change::Leased { token }]);
    assert_eq!(within(&fold), [2], "a round waits for no merge");
}

#[test]
fn runs_of_one_priority_take_turns() {
    let mut fold = Fold::with_run(spec(json!(1)));
    let token = fold.lease(2, 0);
    let next = (3..10).map(|id| planned(id, TaskKind::Compute, &[0])).collect();
    fold.append(2, [Change::Done { token, output: Content::Inline(json!(1)), next, work: Work::default() }]);
    // Three tasks in a row, asked for when the large run is at work.
    fold.start(spec(json!(2)));
    fold.start(RunSpec { priority: Priority::Backfill, ..spec(json!(3)) });
    let runs = |tokens: &[Token]| tokens.iter().map(|token| token.run.0).collect::<Vec<_>>();
    // Each fourth lease is of a lower priority.
    assert_eq!(runs(&choose_leases(&fold.state, 4)), [1, 2, 3, 1]);
    let mut turns = Vec::new();
    for _ in 0..8 {
        let token = choose_leases(&fold.state, 1)[0];
        turns.push(token);
        fold.append(2, [Change::Leased { token }]);
        fold.append(2, [done(token)]);
    }
    assert_eq!(runs(&turns), [1, 2, 3, 1, 2, 1, 3, 2]);
}

/// However many ask by hand, and whatever number of leases is taken at one time.
#[test]
fn lower_priorities_have_a_share_that_is_bounded() {
    for free in [1, 2, 3, 7] {
        let mut fold = Fold::with_run(spec(json!(0)));
        let of = |number: i64, priority| RunSpec { priority, ..spec(json!(number)) };
        (1..200).for_each(|number| fold.start(of(number, Priority::ByHand)));
        (200..240).for_each(|number| fold.start(of(number, Priority::Scheduled)));
        (240..280).for_each(|number| fold.start(of(number, Priority::Backfill)));
        let mut taken = Vec::new();
        while taken.len() < 160 {
            for token in choose_leases(&fold.state, free) {
                taken.push(fold.state.run(token.run).unwrap().spec.priority);
                fold.append(2, [Change::Leased { token }]);
                fold.append(2, [done(token)]);
            }
        }
        let count = |priority| taken[..160].iter().filter(|taken| **taken == priority).count();
        let counts = [Priority::ByHand, Priority::Scheduled, Priority::Backfill].map(count);
        assert_eq!(counts, [120, 30, 10], "{free} at one time");
        let shares = taken.windows(4).all(|four| four.iter().any(|priority| *priority != Priority::ByHand));
        assert!(shares, "{taken:?}");
    }
}

#[test]
fn what_is_reported_counts_only_under_the_lease_in_force() {
    let mut fold = Fold::with_run(spec(json!(1)));
    let first = fold.lease(2, 0);
    let reports = |token| {
        [done(token), Change::Failed { token, failure: failure(true) }, Change::Released { token }]
            .map(|change| [change])
    };
    for report in reports(first) {
        assert_eq!(fold.refused(3, report), Refused::LeaseLost(first), "another worker's");
    }
    fold.append(1, [expired(first)]);
    assert_eq!(fold.state.task(RUN, TaskId(0)).unwrap().lost, 1);
    let second = fold.lease(3, 0);
    assert_eq!(second.attempt, 2);
    for report in reports(first) {
        assert_eq!(fold.refused(2, report), Refused::LeaseLost(first), "taken away");
    }
    assert_eq!(fold.refused(1, [expired(first)]), Refused::LeaseLost(first));
    fold.append(3, [done(second)]);
    for report in reports(second) {
        assert_eq!(fold.refused(3, report), Refused::LeaseLost(second), "reported already");
    }
    let third = fold.lease(2, 1);
    fold.append(2, [Change::Released { token: third }]);
    assert_eq!((fold.standings()[1], fold.run().task(TaskId(1)).unwrap().lost), ("pending", 0));
    // A change that fits does not come into force beside one that does not.
    let fourth = fold.token(1);
    assert_eq!(fold.refused(2, [Change::Leased { token: fourth }, done(first)]), Refused::LeaseLost(first));
}

#[test]
fn a_transient_failure_waits_as_often_as_the_run_allows() {
    let mut fold = Fold::with_run(spec(json!(1)));
    fold.finish(2, 0);
    for attempt in 1..=2 {
        let token = fold.lease(2, 1);
        fold.append(2, [Change::Failed { token, failure: failure(true) }]);
        assert_eq!(fold.standings(), ["done", "waiting", "pending"]);
        let ready = |attempt| [Change::Ready { run: RUN, task: TaskId(1), attempt }];
        let not_waiting = Refused::NotWaiting { run: RUN, task: TaskId(1) };
        assert_eq!(fold.refused(1, ready(attempt + 1)), not_waiting);
        fold.append(1, ready(attempt));
        assert_eq!(fold.refused(1, ready(attempt)), not_waiting);
    }
    let token = fold.lease(2, 1);
    fold.append(2, [Change::Failed { token, failure: failure(true) }]);
    assert_eq!((fold.run().state, fold.standings()), (RunState::Failed, vec!["done", "failed", "skipped"]));
    assert_eq!(fold.run().failure.as_ref().map(|failed| failed.task), Some(TaskId(1)));

    // A retry does only what failed.
    fold.append(9, [Change::Retried { run: RUN }]);
    assert_eq!((fold.run().state, fold.standings()), (RunState::Running, vec!["done", "pending", "pending"]));
    assert_eq!(fold.refused(9, [Change::Retried { run: RUN }]), Refused::NothingToRetry(RUN));
    fold.finish(3, 1);
    fold.finish(3, 2);
    assert_eq!(fold.run().state, RunState::Done);
    assert_eq!(fold.refused(9, [Change::Retried { run: RUN }]), Refused::NothingToRetry(RUN));
    assert_eq!(fold.refused(9, [Change::Retried { run: RunId(5) }]), Refused::NoRun(RunId(5)));
}

#[test]
fn a_permanent_failure_ends_the_run_and_is_not_repeated_by_a_schedule() {
    let scheduled = |cause: &str| RunSpec {
        schedule: Some("hourly".to_owned()),
        cause_key: Some(cause.to_owned()),
        ..spec(json!(1))
    };
    let mut fold = Fold::with_run(scheduled("a"));
    let token = fold.lease(2, 0);
    fold.append(2, [Change::Failed { token, failure: failure(false) }]);
    assert_eq!((fold.run().state, fold.standings()), (RunState::Failed, vec!["failed", "skipped", "skipped"]));
    let again = fold.started(scheduled("a"));
    let reason = "so it is".to_owned();
    assert_eq!(fold.refused(9, [again]), Refused::SameFailure { run: RUN, reason });
    // Something has changed, or somebody asks for it by hand.
    for other in [scheduled("b"), spec(json!(1))] {
        let mut fold = Fold { state: fold.state.clone(), at: fold.at };
        fold.start(other);
    }
    fold.append(9, [Change::Retried { run: RUN }]);
    assert_eq!(fold.standings(), ["pending"; 3]);
}

#[test]
fn a_task_whose_leases_are_taken_away_again_and_again_fails() {
    let mut fold = Fold::with_run(spec(json!(1)));
    for _ in 0..5 {
        let token = fold.lease(2, 0);
        fold.append(1, [expired(token)]);
        assert_eq!(fold.standings()[0], "pending");
    }
    let token = fold.lease(2, 0);
    fold.append(1, [expired(token)]);
    let reason = &fold.run().failure.as_ref().unwrap().failure.reason;
    assert_eq!(
        (fold.run().state, reason.as_str()),
        (RunState::Failed, "its lease was taken away 6 times, at last: silent")
    );
}

#[test]
fn parts_take_the_place_of_a_task_that_is_split() {
    let mut fold = Fold::with_run(spec(json!(1)));
    fold.finish(2, 0);
    let token = fold.lease(2, 1);
    let parts = |ids: &[u32]| ids.iter().map(|id| planned(*id, TaskKind::Vacuum, &[])).collect::<Vec<_>>();
    assert_eq!(fold.refused(1, [Change::Split { token, parts: vec![] }]), Refused::Empty);
    let taken = Refused::TaskExists { run: RUN, task: TaskId(2) };
    assert_eq!(fold.refused(1, [Change::Split { token, parts: parts(&[2]) }]), taken);
    fold.append(1, [Change::Split { token, parts: parts(&[3, 4]) }]);
    assert_eq!(fold.standings(), ["done", "split", "pending", "pending", "pending"]);
    assert_eq!(fold.refused(2, [done(token)]), Refused::LeaseLost(token));
    let part = fold.run().task(TaskId(4)).unwrap();
    assert_eq!((part.kind, &*part.after), (TaskKind::Compute, [TaskId(0)].as_slice()));
    assert_eq!(&*fold.run().task(TaskId(2)).unwrap().after, [TaskId(0), TaskId(3), TaskId(4)]);
    fold.finish(2, 4);
    assert_eq!(choose_leases(&fold.state, 9).len(), 1);
    fold.finish(2, 3);
    fold.finish(2, 2);
    assert_eq!(fold.run().state, RunState::Done);
}

#[test]
fn what_comes_behind_a_split_task_comes_behind_its_parts() {
    let mut fold = Fold::with_run(spec(json!(1)));
    fold.finish(2, 0);
    let token = fold.lease(2, 1);
    let parts = [3, 4].map(|id| planned(id, TaskKind::Compute, &[])).to_vec();
    fold.append(1, [Change::Split { token, parts }]);
    let token = fold.lease(2, 3);
    let next = vec![planned(5, TaskKind::Exactness, &[0, 1])];
    fold.append(2, [Change::Done { token, output: Content::Inline(json!(1)), next, work: Work::default() }]);
    let behind = fold.run().task(TaskId(5)).unwrap();
    assert_eq!((&*behind.after, behind.blocked_by), ([TaskId(0), TaskId(3), TaskId(4)].as_slice(), 1));
    for task in [4, 2, 5] {
        fold.finish(2, task);
    }
    assert_eq!(fold.run().state, RunState::Done);
}

#[test]
fn a_cancelled_run_takes_nothing_more() {
    let mut fold = Fold::with_run(spec(json!(1)));
    let token = fold.lease(2, 0);
    fold.append(9, [Change::Cancelled { run: RUN }]);
    assert_eq!((fold.run().state, fold.standings()), (RunState::Cancelled, vec!["cancelled"; 3]));
    assert_eq!(fold.refused(2, [done(token)]), Refused::LeaseLost(token));
    for change in
        [Change::Cancelled { run: RUN }, Change::Paused { run: Some(RUN) }, Change::Resumed { run: Some(RUN) }]
    {
        assert_eq!(fold.refused(9, [change]), Refused::Ended(RUN));
    }
    assert_eq!(fold.refused(1, [Change::DeadlineMissed { run: RUN }]), Refused::Ended(RUN));
    fold.append(9, [Change::Retried { run: RUN }]);
    for task in 0..3 {
        fold.finish(2, task);
    }
    assert_eq!((fold.run().state, fold.run().task(TaskId(0)).unwrap().attempt), (RunState::Done, 2));
}

#[test]
fn what_is_at_work_when_a_run_fails_is_kept_for_a_retry() {
    let mut fold = Fold::with_run(spec(json!(1)));
    let choose = fold.lease(2, 0);
    let next = vec![planned(3, TaskKind::Compute, &[0])];
    fold.append(2, [Change::Done { token: choose, output: Content::Inline(json!(1)), next, work: Work::default() }]);
    let (first, other) = (fold.lease(2, 1), fold.lease(3, 3));
    fold.append(2, [Change::Failed { token: first, failure: failure(false) }]);
    let next = vec![planned(4, TaskKind::Compute, &[3])];
    fold.append(3, [Change::Done { token: other, output: Content::Inline(json!(1)), next, work: Work::default() }]);
    assert_eq!(fold.standings(), ["done", "failed", "skipped", "done", "skipped"]);
    fold.append(9, [Change::Retried { run: RUN }]);
    assert_eq!(fold.standings(), ["done", "pending", "pending", "done", "pending"]);
}

#[test]
fn a_run_is_started_once() {
    let keyed = |number: u32, key: &str| RunSpec { idempotency_key: Some(key.to_owned()), ..spec(json!(number)) };
    let mut fold = Fold::with_run(keyed(1, "a"));
    let started = |fold: &Fold, spec: RunSpec| [fold.started(spec)];
    let same = started(&fold, spec(json!(1)));
    assert_eq!(fold.refused(9, same), Refused::SameWork(RUN));
    let key = started(&fold, keyed(2, "a"));
    assert_eq!(fold.refused(9, key), Refused::KeyInUse(RUN));
    let Change::Started { key, spec: asked, tasks, .. } = fold.started(keyed(3, "b")) else { unreachable!() };
    let with = |run: u64, tasks: Vec<Planned>| {
        [Change::Started { run: RunId(run), key: Arc::clone(&key), spec: Arc::clone(&asked), tasks }]
    };
    assert_eq!(fold.refused(9, with(1, tasks.clone())), Refused::NotNext(RUN));
    assert_eq!(fold.refused(9, with(3, tasks.clone())), Refused::NotNext(RunId(3)));
    assert_eq!(fold.refused(9, with(2, vec![])), Refused::Empty);
    let no_task = Refused::NoTask { run: RunId(2), task: TaskId(1) };
    assert_eq!(fold.refused(9, with(2, vec![planned(0, TaskKind::Choose, &[1])])), no_task);
    let twice = vec![planned(0, TaskKind::Choose, &[]), planned(0, TaskKind::Choose, &[])];
    assert_eq!(fold.refused(9, with(2, twice)), Refused::TaskExists { run: RunId(2), task: TaskId(0) });
    fold.append(9, with(2, tasks));
    // The same work may be asked for again once it has ended.
    fold.append(9, [Change::Cancelled { run: RUN }]);
    fold.start(spec(json!(1)));
    assert_eq!(fold.refused(9, [Change::Retried { run: RUN }]), Refused::SameWork(RunId(3)));
}

#[test]
fn a_run_bears_the_newest_keys_that_joined_it_also_once_it_has_ended() {
    let with_key = RunSpec { idempotency_key: Some("a".to_owned()), ..spec(json!(1)) };
    let mut fold = Fold::with_run(with_key);
    let join = |key: &str| [Change::Joined { run: RUN, key: key.into() }];
    assert_eq!(fold.refused(9, join("a")), Refused::Already);
    fold.append(9, join("b"));
    assert_eq!(fold.refused(9, join("b")), Refused::Already);
    fold.start(RunSpec { idempotency_key: Some("c".to_owned()), ..spec(json!(2)) });
    assert_eq!(fold.refused(9, join("c")), Refused::KeyInUse(RunId(2)));
    let other = fold.started(RunSpec { idempotency_key: Some("b".to_owned()), ..spec(json!(3)) });
    assert_eq!(fold.refused(9, [other]), Refused::KeyInUse(RUN));
    for number in 1..MAX_JOINED_KEYS {
        fold.append(9, join(&format!("b{number}")));
    }
    let found = |fold: &Fold, key: &str| fold.state.run_of_key(key).map(|run| run.id);
    assert_eq!((found(&fold, "a"), found(&fold, "b")), (Some(RUN), Some(RUN)));
    fold.append(9, join("one more"));
    assert_eq!((fold.run().joined_keys.len(), found(&fold, "b")), (MAX_JOINED_KEYS, None));
    fold.append(9, [Change::Cancelled { run: RUN }]);
    assert_eq!((found(&fold, "a"), found(&fold, "one more")), (Some(RUN), Some(RUN)));
    assert_eq!(fold.refused(9, join("too late")), Refused::Ended(RUN));
}

#[test]
fn a_run_of_a_snapshot_from_before_keys_joined_is_read() {
    let fold = Fold::with_run(spec(json!(1)));
    let text = serde_json::to_string(&fold.state).unwrap();
    assert!(!text.contains("joined_keys"), "{text}");
    assert_eq!(serde_json::from_str::<State>(&text).unwrap(), fold.state);
}

#[test]
fn ended_runs_leave_the_state_in_two_steps() {
    let mut fold = Fold::with_run(spec(json!(1)));
    for change in [Change::Archived { run: RUN }, Change::Forgotten { run: RUN }] {
        assert_eq!(fold.refused(1, [change]), Refused::StillNeeded(RUN));
    }
    fold.append(1, [Change::DeadlineMissed { run: RUN }]);
    assert_eq!(fold.refused(1, [Change::DeadlineMissed { run: RUN }]), Refused::Already);
    fold.append(9, [Change::Cancelled { run: RUN }]);
    assert_eq!(fold.refused(1, [Change::Forgotten { run: RUN }]), Refused::StillNeeded(RUN));
    fold.append(1, [Change::Archived { run: RUN }]);
    assert_eq!(fold.refused(1, [Change::Archived { run: RUN }]), Refused::Already);
    assert!(fold.run().tasks.is_empty() && fold.run().counts.cancelled == 3);
    assert_eq!(fold.refused(9, [Change::Retried { run: RUN }]), Refused::Archived(RUN));
    fold.append(1, [Change::Forgotten { run: RUN }]);
    assert_eq!(fold.refused(1, [Change::Forgotten { run: RUN }]), Refused::NoRun(RUN));
    // Its number is not given again.
    fold.start(spec(json!(1)));
    assert_eq!(fold.state.runs.keys().copied().collect::<Vec<_>>(), [RunId(2)]);
}

#[test]
fn notes_are_small_and_can_be_forgotten() {
    let mut fold = Fold::with_run(spec(json!(1)));
    let note = |value| [Change::Noted { key: "hourly".to_owned(), value }];
    fold.append(1, note(json!(5)));
    fold.append(1, note(json!(6)));
    assert_eq!(fold.state.notes["hourly"], json!(6));
    assert!(matches!(fold.refused(1, note(json!("x".repeat(2_000)))), Refused::TooMuch(_)));
    fold.append(1, note(json!(null)));
    assert_eq!(fold.refused(1, note(json!(null))), Refused::Already);
}
