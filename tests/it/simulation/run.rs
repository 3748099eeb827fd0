//! Running plans: one after the other or on all cores, the same one twice, and smaller ones in place of one that
//! failed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::available_parallelism;
use std::time::Duration;

use serving_layer::Folded;
use tokio::time::{Instant, sleep};

use super::plan::{Act, Bug, Plan};
use super::readers::{Reader, Violation};
use super::receipts::Receipts;
use super::world::World;

/// How long the world may take to become complete once nothing goes wrong any more.
const PATIENCE: Duration = Duration::from_secs(150);
/// And how much longer where a clock that is behind sees a silence later.
const SKEWED_PATIENCE: Duration = Duration::from_secs(250);

/// What came of one plan.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub violation: Option<Violation>,
    /// Calls, kills, hash of everything that happened.
    pub trace: (u64, u64, u64),
    pub answers: usize,
    /// Offsets that were declared lost.
    pub lost: i64,
    /// Whether another topic took the name.
    pub is_replaced: bool,
    /// In the logs of all tables.
    pub checkpoints: usize,
    /// How far `by_page` is folded by each of its definitions that has a version.
    pub folded: Vec<Folded>,
}

/// Runs a plan in a world of its own, on this thread.
pub fn run(plan: &Plan) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let lived = catch_unwind(AssertUnwindSafe(|| runtime.block_on(live(plan.clone()))));
    lived.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let violation = Some(Violation::new("panic", text.unwrap_or_default()));
        let (trace, folded) = ((0, 0, 0), Vec::new());
        Outcome { violation, trace, answers: 0, lost: 0, is_replaced: false, checkpoints: 0, folded }
    })
}

/// Runs a plan in which nothing may be found, and whose readers are answered.
pub fn check(plan: &Plan) -> Outcome {
    let outcome = run(plan);
    assert_eq!(outcome.violation, None, "{plan:?}");
    assert!(outcome.answers > 0);
    outcome
}

async fn live(plan: Plan) -> Outcome {
    let world = World::new(plan).await;
    world.start();
    let asking = tokio::spawn(ask_on(world.clone(), world.readers(0), 0));
    for (after, act) in world.plan.acts.clone() {
        sleep(Duration::from_millis(after)).await;
        world.act(act).await;
        if has_failed(&world) {
            break;
        }
    }
    asking.abort();
    world.calm();
    let is_replaced = world.traffic.lock().await.is_replaced();
    if !has_failed(&world) {
        if is_replaced { become_aware(&world).await } else { become_complete(&world).await }
    }
    let lost = world.holes().await.iter().map(|hole| hole.to.0 - hole.from.0).sum();
    let violation = world.violation.lock().unwrap().clone();
    let answers = world.answers.load(Ordering::SeqCst);
    let checkpoints = world.checkpoints().await;
    let folded = world.folded().await;
    Outcome { violation, trace: world.chance.trace(), answers, lost, is_replaced, checkpoints, folded }
}

fn has_failed(world: &World) -> bool {
    if let Some(overlap) = world.realtime.overlap.lock().unwrap().take() {
        world.report(Violation::new("runs overlap", overlap));
    }
    world.violation.lock().unwrap().is_some()
}

/// Asks every reader again and again; after an upgrade also those of the new definitions.
async fn ask_on(world: Arc<World>, mut readers: Vec<Reader>, mut generation: usize) {
    loop {
        for reader in &mut readers {
            sleep(Duration::from_millis(world.chance.draw(|rng| rand::Rng::random_range(rng, 20..400)))).await;
            ask(&world, reader).await;
        }
        if world.generation.load(Ordering::SeqCst) > generation {
            generation += 1;
            readers.extend(world.readers(generation));
            readers.extend(world.former_readers(generation));
        }
    }
}

async fn ask(world: &World, reader: &mut Reader) -> Option<query_gateway::Envelope> {
    match reader.ask(world).await {
        Ok(envelope) => {
            let at = envelope.as_ref().map(|envelope| (&envelope.cut, &envelope.head, envelope.stale));
            world.chance.note(&format!("{} answers {at:?}", reader.name));
            world.answers.fetch_add(usize::from(envelope.is_some()), Ordering::SeqCst);
            envelope
        }
        Err(violation) => {
            world.report(violation);
            None
        }
    }
}

/// After the faults everything must reach batch, where there is one, and the answers must be complete and not stale.
async fn become_complete(world: &Arc<World>) {
    let deadline = Instant::now() + if world.plan.has_right_clocks() { PATIENCE } else { SKEWED_PATIENCE };
    let ends = world.traffic.lock().await.ends();
    let mut readers = world.readers(world.generation.load(Ordering::SeqCst));
    let mut receipts = Receipts::default();
    loop {
        sleep(Duration::from_secs(2)).await;
        let mut lags = Vec::new();
        for reader in &mut readers {
            let envelope = ask(world, reader).await;
            receipts.take(world, reader).await;
            let is_complete = envelope.as_ref().is_some_and(|envelope| {
                let is_there = |(partition, end)| {
                    let is_in_batch = world.plan.is_kappa || envelope.cut.get(partition) == Some(end);
                    is_in_batch && envelope.head.get(partition) == Some(end)
                };
                ends.iter().all(is_there) && !is_stale(world, envelope)
            });
            if !is_complete {
                lags.push(format!("{} {:?} at {envelope:?}", reader.name, reader.view));
            }
            // Where a mistake is planted, answers tell of it.
            if world.plan.bug.is_none()
                && let Err(violation) = reader.check_reports(world).await
            {
                world.report(violation);
            }
        }
        if lags.is_empty()
            && let Err(violation) = receipts.check(world).await
        {
            world.report(violation);
        }
        if has_failed(world) || lags.is_empty() {
            return;
        }
        if Instant::now() >= deadline {
            world.report(Violation::new("stuck", format!("the log ends at {ends:?}; {}", lags.join("; "))));
            return;
        }
    }
}

/// By a wrong clock an answer may look old; nothing else may depend on it.
fn is_stale(world: &World, envelope: &query_gateway::Envelope) -> bool {
    let is_age = |reason: &String| reason.starts_with("it was last known to be right");
    envelope.stale && (world.plan.has_right_clocks() || !envelope.stale_reasons.iter().all(is_age))
}

/// Where another topic took the name, everyone who reads it must find out, and no answer may hold anything of it.
async fn become_aware(world: &Arc<World>) {
    let deadline = Instant::now() + PATIENCE;
    let mut readers = world.readers(world.generation.load(Ordering::SeqCst));
    loop {
        sleep(Duration::from_secs(2)).await;
        for reader in &mut readers {
            ask(world, reader).await;
        }
        let unaware = world.unaware();
        if has_failed(world) || unaware.is_empty() {
            return;
        }
        if Instant::now() >= deadline {
            world.report(Violation::new("not stopped", format!("roles {unaware:?} go on with another topic")));
            return;
        }
    }
}

/// Runs the plans of many seeds on all cores until one fails; the first that did, and how many ran.
pub fn sweep(seeds: std::ops::Range<u64>, bug: Option<Bug>) -> (Option<(Plan, Violation)>, Totals) {
    let next = AtomicU64::new(seeds.start);
    let found = std::sync::Mutex::new(None::<(Plan, Violation)>);
    let totals = std::sync::Mutex::new(Totals::default());
    std::thread::scope(|scope| {
        for _ in 0..available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while found.lock().unwrap().is_none() {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    if seed >= seeds.end {
                        return;
                    }
                    let plan = Plan::draw(seed, bug);
                    let outcome = run(&plan);
                    if seed % 500 == 499 {
                        eprintln!("simulation: seed {seed}");
                    }
                    totals.lock().unwrap().add(&plan, &outcome);
                    if let Some(violation) = outcome.violation {
                        let mut found = found.lock().unwrap();
                        if found.as_ref().is_none_or(|(first, _)| seed < first.seed) {
                            *found = Some((plan, violation));
                        }
                    }
                }
            });
        }
    });
    (found.into_inner().unwrap(), totals.into_inner().unwrap())
}

/// What a sweep was made of.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    pub worlds: u64,
    pub calls: u64,
    pub kills: u64,
    pub answers: usize,
    pub lost: i64,
    pub replaced: u64,
    pub checkpoints: usize,
    /// Definitions of views that were folded.
    pub folded: usize,
    /// Worlds in which files were imported.
    pub imported: u64,
}

impl Totals {
    fn add(&mut self, plan: &Plan, outcome: &Outcome) {
        self.worlds += 1;
        self.imported += u64::from(plan.acts.iter().any(|(_, act)| matches!(act, Act::Import(_))));
        self.folded += outcome.folded.iter().filter(|folded| **folded != Folded::default()).count();
        self.calls += outcome.trace.0;
        self.kills += outcome.trace.1;
        self.answers += outcome.answers;
        self.lost += outcome.lost;
        self.replaced += u64::from(outcome.is_replaced);
        self.checkpoints += outcome.checkpoints;
    }
}

/// The smallest plan found that shows the same kind of violation, within a number of tries.
pub fn shrink(plan: Plan, violation: Violation, tries: usize) -> (Plan, Violation) {
    let (mut plan, mut violation, mut left) = (plan, violation, tries);
    'again: loop {
        for smaller in plan.smaller() {
            if left == 0 {
                return (plan, violation);
            }
            left -= 1;
            let found = run(&smaller).violation.filter(|found| found.kind == violation.kind);
            if let Some(found) = found {
                (plan, violation) = (smaller, found);
                continue 'again;
            }
        }
        return (plan, violation);
    }
}
