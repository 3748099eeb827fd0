//! Operators who change the definitions of simulated processes, one after the other and two at once, back and forth,
//! while the dice fail stores and kill processes; and what every answer is held against.
//!
//! An answer is right if it is the fold of the log by the very definition that it names. A view that has answered in a
//! process goes on answering there, as long as the sets say that it was ever complete.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use edge::Principal;
use positions::{DefinitionNumber, Offset, PartitionId};
use query_gateway::{Envelope, GatewayError, MeasureReport, RowsAnswer, RowsRequest};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serving_layer::registry::{Applied, DefinitionRegistry, DefinitionSet, Flip};
use tokio::time::{Instant, sleep};
use views::Pipeline;

use super::chance::Part;
use super::changing::{Answering, Changing, PROCESSES};
use super::family::{MEMBERS, counted_by, member, of_text, with_view_of};
use super::plan::Rates;
use super::readers::{Violation, rows_of};

/// How long a world may take until everything answers by the present set and from batch, once nothing goes wrong.
const PATIENCE: Duration = Duration::from_secs(250);
const VIEWS: [&str; 2] = ["by_page", "by_size"];

/// Something that happens from outside.
#[derive(Clone, Copy, Debug)]
enum Act {
    /// Events are sent.
    Send(u32),
    /// An operator applies a member of the family.
    Apply(usize, Flip),
    /// Two operators who have planned on the same set apply at once.
    Both(usize, usize),
    /// All goes back.
    Back,
    /// One view goes back, where it can go alone.
    BackAlone(&'static str),
    /// A process is killed and starts with a file that may be an old one.
    Restart(usize, usize),
    /// A store cannot be reached for some seconds.
    Down(Part, u64),
}

/// What happens in one world.
#[derive(Clone, Debug)]
pub struct ChangePlan {
    pub seed: u64,
    pub rates: Rates,
    /// Whether speed workers share the partitions, or each owns all of them.
    pub is_shared: bool,
    /// Whether replaced definitions are kept for a while.
    pub is_keeping: bool,
    acts: Vec<(u64, Act)>,
}

impl ChangePlan {
    /// Nothing goes wrong, and nothing happens by itself.
    fn calm() -> Self {
        Self { seed: 1, rates: Rates::default(), is_shared: true, is_keeping: true, acts: Vec::new() }
    }

    fn draw(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed ^ 0xc4a26e);
        let rates = Rates {
            delay: rng.random_range(0..60),
            fail: if rng.random_bool(0.5) { rng.random_range(0..20) } else { 0 },
            kill: if rng.random_bool(0.5) { rng.random_range(0..10) } else { 0 },
        };
        let (is_shared, is_keeping) = (rng.random_bool(0.6), rng.random_bool(0.6));
        // A third of the worlds has slow stores and no other faults: there is no excuse in them.
        let is_quiet = seed.is_multiple_of(3);
        let rates = if is_quiet { Rates { fail: 0, kill: 0, ..rates } } else { rates };
        let count = rng.random_range(8..14);
        let acts = (0..count).map(|_| {
            // Into what the last one left behind, and into what is whole again.
            let after =
                if rng.random_bool(0.5) { rng.random_range(10..1_500) } else { rng.random_range(3_000..12_000) };
            (after, draw_act(&mut rng, is_quiet))
        });
        Self { seed, rates, is_shared, is_keeping, acts: acts.collect() }
    }

    fn is_quiet(&self) -> bool {
        let is_fault = |act: &Act| matches!(act, Act::Restart(..) | Act::Down(..));
        (self.rates.fail, self.rates.kill) == (0, 0) && !self.acts.iter().any(|(_, act)| is_fault(act))
    }
}

fn draw_act(rng: &mut StdRng, is_quiet: bool) -> Act {
    let one = rng.random_range(0..MEMBERS);
    let flip = if rng.random_bool(0.3) { Flip::Together } else { Flip::OneByOne };
    match rng.random_range(0..16) {
        0..4 => Act::Apply(one, flip),
        4 | 5 => Act::Both(one, (one + rng.random_range(1..MEMBERS)) % MEMBERS),
        6 | 7 => Act::Back,
        8 => Act::BackAlone(VIEWS[rng.random_range(0..VIEWS.len())]),
        9 | 10 if !is_quiet => Act::Restart(rng.random_range(0..PROCESSES), one),
        11 if !is_quiet => {
            let part = [Part::Log, Part::Objects, Part::Realtime][rng.random_range(0..3_usize)];
            Act::Down(part, rng.random_range(1..6))
        }
        _ => Act::Send(rng.random_range(1..10)),
    }
}

/// What a world was made of.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    worlds: u64,
    answers: u64,
    /// Answers by a former definition.
    former: u64,
    applied: u64,
    overtaken: u64,
    rolled_back: u64,
    /// Questions that had no answer, and need not have one.
    unanswered: u64,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.worlds += 1;
        self.answers += other.answers;
        self.former += other.former;
        self.applied += other.applied;
        self.overtaken += other.overtaken;
        self.rolled_back += other.rolled_back;
        self.unanswered += other.unanswered;
    }
}

/// What one process was seen to answer of one view.
#[derive(Default)]
struct Reader {
    view: &'static str,
    /// Which life of the process.
    life: Option<u64>,
    /// By which definition it answered last.
    answered: Option<String>,
    heads: BTreeMap<PartitionId, Offset>,
}

impl Reader {
    fn all() -> [[Self; VIEWS.len()]; PROCESSES] {
        std::array::from_fn(|_| VIEWS.map(|view| Self { view, ..Self::default() }))
    }
}

impl Changing {
    async fn act(self: &Arc<Self>, act: Act) {
        self.chance.note(&format!("{act:?}"));
        match act {
            Act::Send(count) => self.send(count).await,
            Act::Apply(number, flip) => self.operate(0, &member(number), flip).await,
            Act::Both(one, two) => self.operate_at_once(one, two).await,
            Act::Back => self.go_back(None).await,
            Act::BackAlone(view) => self.go_back(Some(view)).await,
            Act::Restart(process, file) => {
                self.processes[process].file.store(file, Ordering::SeqCst);
                self.processes[process].kill.notify_one();
            }
            Act::Down(part, seconds) => {
                self.chance.set_down(part, true);
                let world = self.clone();
                tokio::spawn(async move {
                    sleep(Duration::from_secs(seconds)).await;
                    world.chance.set_down(part, false);
                });
            }
        }
    }

    async fn send(&self, count: u32) {
        for _ in 0..count {
            let mut rng = self.chance.draw(StdRng::from_rng);
            self.traffic.lock().await.send(&self.log, self.clock.now(), &mut rng).await;
            sleep(Duration::from_millis(self.chance.draw(|rng| rng.random_range(1..200)))).await;
        }
    }

    /// Asks until the store answers: an operator calls the command again.
    async fn persist<T, E: std::fmt::Display>(&self, mut call: impl AsyncFnMut() -> Result<T, E>) -> T {
        loop {
            match call().await {
                Ok(done) => return done,
                Err(error) => self.chance.note(&format!("an operator is told: {error}")),
            }
            sleep(Duration::from_millis(150)).await;
        }
    }

    async fn present(&self, registry: &DefinitionRegistry) -> DefinitionSet {
        self.persist(async || registry.present().await).await.expect("one is registered")
    }

    async fn apply(
        &self,
        registry: &DefinitionRegistry,
        pipeline: &Pipeline,
        (planned_on, flip): (DefinitionNumber, Flip),
    ) -> Applied {
        let applied = self.persist(async || registry.apply(pipeline, Some(planned_on), flip).await).await;
        let mut tally = self.tally.lock().unwrap();
        match applied {
            Applied::Now(_) => tally.applied += 1,
            Applied::Already(_) => {}
            Applied::Overtaken(_) => tally.overtaken += 1,
        }
        applied
    }

    /// Plans on what is present and applies; plans again when somebody else was first.
    async fn operate(&self, operator: usize, pipeline: &Pipeline, flip: Flip) {
        let registry = self.operators_registry(operator);
        loop {
            let planned_on = self.present(&registry).await.number;
            // Reading a plan takes a while.
            sleep(Duration::from_millis(self.chance.draw(|rng| rng.random_range(0..300)))).await;
            if !matches!(self.apply(&registry, pipeline, (planned_on, flip)).await, Applied::Overtaken(_)) {
                return;
            }
        }
    }

    async fn operate_at_once(&self, one: usize, two: usize) {
        let registries = [self.operators_registry(0), self.operators_registry(1)];
        let on = (self.present(&registries[0]).await.number, Flip::OneByOne);
        let members = [member(one), member(two)];
        let applied =
            tokio::join!(self.apply(&registries[0], &members[0], on), self.apply(&registries[1], &members[1], on));
        if let (Applied::Now(first), Applied::Now(second)) = applied {
            let text = format!("both were told that they were first, under {first:?} and {second:?}");
            self.report(Violation::new("two winners", text));
        }
        for (operator, applied) in [applied.0, applied.1].into_iter().enumerate() {
            if matches!(applied, Applied::Overtaken(_)) {
                self.operate(operator, &members[operator], Flip::OneByOne).await;
            }
        }
    }

    async fn go_back(&self, view: Option<&str>) {
        let registry = self.operators_registry(0);
        let present = self.present(&registry).await;
        let Some(earlier) = self.persist(async || registry.before_present(view).await).await else { return };
        let text = |set: &DefinitionSet| of_text(&set.file(set.number).unwrap().text);
        let wanted = match view {
            None => Some(text(&earlier)),
            Some(view) => with_view_of(&text(&present), &text(&earlier), view),
        };
        let Some(wanted) = wanted else { return };
        let applied = self.apply(&registry, &wanted, (present.number, Flip::OneByOne)).await;
        self.tally.lock().unwrap().rolled_back += u64::from(matches!(applied, Applied::Now(_)));
    }

    /// Asks a process once.
    async fn ask(&self, number: usize, reader: &mut Reader) -> Option<Envelope> {
        let answering = self.processes[number].answering.lock().unwrap().clone()?;
        if reader.life != Some(answering.life) {
            *reader = Reader { view: reader.view, life: Some(answering.life), ..Reader::default() };
        }
        loop {
            let gateway = answering.gateway.borrow().clone();
            let error = match gateway.rows(&Principal::anyone(), RowsRequest::new(reader.view)).await {
                Ok(answer) => {
                    self.check(number, reader, (&answering, &answer)).await;
                    return Some(answer.envelope);
                }
                Err(error) => error,
            };
            match error {
                GatewayError::Unknown { .. } => {
                    (reader.answered, reader.heads) = (None, BTreeMap::new());
                    return None;
                }
                // Another one may have taken its place while it was asked.
                GatewayError::Building { .. } | GatewayError::Unavailable { .. } if !answering.is_by(&gateway) => {}
                GatewayError::Building { .. } | GatewayError::Unavailable { .. } => {
                    self.tally.lock().unwrap().unanswered += 1;
                    if self.must_answer(reader, &answering) {
                        let text = format!("process {number}, {}, answered before: {error}", reader.view);
                        self.report(Violation::new("missing answer", text));
                    }
                    return None;
                }
                error => {
                    let text = format!("process {number}, {}: {error}", reader.view);
                    self.report(Violation::new("failed query", text));
                    return None;
                }
            }
        }
    }

    /// Whether a view that answered before has to answer now: by the definition it answered by, always; by another one
    /// where no store fails and nobody dies.
    fn must_answer(&self, reader: &Reader, answering: &Answering) -> bool {
        let set = answering.definitions.borrow();
        let former = set.former.iter().find(|former| former.view.name.as_str() == reader.view);
        let view = former.map(|former| &former.view).or_else(|| set.pipeline.view(reader.view));
        let is_served = answering.served.lock().unwrap().contains(reader.view);
        let by_same = |last: &String| view.is_some_and(|view| view.hash.to_string() == *last);
        is_served && reader.answered.as_ref().is_some_and(|last| self.plan.is_quiet() || by_same(last))
    }

    async fn check(&self, number: usize, reader: &mut Reader, (answering, answer): (&Answering, &RowsAnswer)) {
        let envelope = &answer.envelope;
        let about = || format!("process {number}, {}", reader.view);
        let view = counted_by(&envelope.definition);
        let right = self.traffic.lock().await.folds(view, &envelope.cut, &envelope.head, &[]);
        let found = rows_of(answer, view);
        if !right.iter().any(|(rows, _)| *rows == found) {
            let text = format!("{} by {view:?}: {found:?} instead of {right:?} at {envelope:?}", about());
            self.report(Violation::new("wrong answer", text));
        }
        let is_same = reader.answered.as_ref() == Some(&envelope.definition);
        let is_served = answering.served.lock().unwrap().contains(reader.view);
        // Where stores fail, a gateway that takes the place of another may have nothing of theirs yet, and says so.
        let may_go_back = envelope.stale && !self.plan.is_quiet();
        for (partition, head) in reader.heads.iter().filter(|_| is_same && is_served && !may_go_back) {
            if envelope.head.get(partition).is_none_or(|now| now < head) {
                let text = format!("{}: partition {partition} was at {head}, now {envelope:?}", about());
                self.report(Violation::new("head went back", text));
            }
        }
        reader.heads.clone_from(&envelope.head);
        reader.answered = Some(envelope.definition.clone());
        let mut tally = self.tally.lock().unwrap();
        tally.answers += 1;
        tally.former += u64::from(envelope.former.is_some());
    }

    /// Asks every process of every view, without end.
    async fn ask_on(self: Arc<Self>) {
        let mut readers = Reader::all();
        loop {
            for (number, readers) in readers.iter_mut().enumerate() {
                for reader in readers {
                    sleep(Duration::from_millis(self.chance.draw(|rng| rng.random_range(20..300)))).await;
                    self.ask(number, reader).await;
                }
            }
        }
    }

    /// What keeps the processes from answering by the present set; `is_whole`: from batch alone, too.
    async fn lags(&self, readers: &mut [[Reader; VIEWS.len()]; PROCESSES], is_whole: bool) -> Vec<String> {
        let Some(set) = self.calm_registry().present().await.unwrap() else { return vec!["no set".to_owned()] };
        let ends = self.traffic.lock().await.ends();
        let mut lags: Vec<String> = set.being_built().map(|view| format!("{view} is being built")).collect();
        for (number, readers) in readers.iter_mut().enumerate() {
            for reader in readers {
                let envelope = self.ask(number, reader).await;
                let Some(state) = set.views.get(reader.view) else { continue };
                let wanted = state.building.or(state.served).map(|defined| defined.hash.to_string());
                let is_there = envelope.as_ref().is_some_and(|envelope| {
                    let at_end = |(partition, end)| {
                        envelope.cut.get(partition) == Some(end) && envelope.head.get(partition) == Some(end)
                    };
                    wanted.as_ref() == Some(&envelope.definition)
                        && envelope.former.is_none()
                        && !envelope.stale
                        && (!is_whole || ends.iter().all(at_end))
                });
                if !is_there {
                    lags.push(format!("process {number}, {} at {envelope:?}", reader.view));
                }
            }
        }
        lags
    }

    /// What a publication changed of an exact measure has a cause that is known, whatever definitions came before.
    async fn check_reports(&self, number: usize) {
        let Some(answering) = self.processes[number].answering.lock().unwrap().clone() else { return };
        let gateway = answering.gateway.borrow().clone();
        gateway.compare_versions(self.ids.as_ref()).await;
        for view in VIEWS {
            let Ok(told) = gateway.exactness(&Principal::anyone(), view).await else { continue };
            let is_unexplained = |measure: &MeasureReport| measure.cause.as_deref() == Some("unknown");
            if let Some(report) = told.reports.iter().find(|report| report.measures.iter().any(is_unexplained)) {
                let text = format!("process {number}, {view}: {report:?}");
                self.report(Violation::new("unexplained difference", text));
            }
        }
    }

    /// Waits until every process answers by the present set.
    async fn until_present(&self, is_whole: bool, pause: Duration) {
        let (mut readers, deadline) = (Reader::all(), Instant::now() + PATIENCE);
        loop {
            sleep(pause).await;
            let lags = self.lags(&mut readers, is_whole).await;
            for number in (0..PROCESSES).filter(|_| is_whole) {
                self.check_reports(number).await;
            }
            if self.has_failed() || lags.is_empty() {
                return;
            }
            if Instant::now() >= deadline {
                return self.report(Violation::new("stuck", lags.join("; ")));
            }
        }
    }
}

/// What came of one plan: calls, kills, the hash of everything that happened; what it was made of; what was wrong.
type Outcome = ((u64, u64, u64), Tally, Option<Violation>);

fn run(plan: &ChangePlan) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let lived = catch_unwind(AssertUnwindSafe(|| runtime.block_on(live(plan.clone()))));
    lived.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        ((0, 0, 0), Tally::default(), Some(Violation::new("panic", text.unwrap_or_default())))
    })
}

async fn live(plan: ChangePlan) -> Outcome {
    let world = Changing::new(plan).await;
    world.start();
    world.send(8).await;
    world.until_present(false, Duration::from_secs(1)).await;
    let asking = tokio::spawn(world.clone().ask_on());
    for (after, act) in world.plan.acts.clone() {
        sleep(Duration::from_millis(after)).await;
        world.act(act).await;
        if world.has_failed() {
            break;
        }
    }
    asking.abort();
    world.chance.note("calm");
    world.chance.calm();
    if !world.has_failed() {
        world.until_present(true, Duration::from_secs(2)).await;
    }
    let (tally, violation) = (*world.tally.lock().unwrap(), world.violation.lock().unwrap().clone());
    (world.chance.trace(), tally, violation)
}

/// Runs the plans of many seeds on all cores.
pub fn sweep(seeds: std::ops::Range<u64>) -> Tally {
    let next = std::sync::atomic::AtomicU64::new(seeds.start);
    let totals = std::sync::Mutex::new(Tally::default());
    let found = std::sync::Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while found.lock().unwrap().is_empty() {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    if seed >= seeds.end {
                        return;
                    }
                    let plan = ChangePlan::draw(seed);
                    let (_, tally, violation) = run(&plan);
                    totals.lock().unwrap().add(tally);
                    if let Some(violation) = violation {
                        found.lock().unwrap().insert(seed, (plan, violation));
                    }
                }
            });
        }
    });
    if let Some((seed, (plan, violation))) = found.into_inner().unwrap().pop_first() {
        panic!("{}: {}\n{plan:#?}\nrepeat with TWOFOLD_SIM_SEED={seed}", violation.kind, violation.text);
    }
    totals.into_inner().unwrap()
}

/// Whether something of each kind was met; in few worlds it need not be.
pub fn check_tally(tally: &Tally) {
    let met = [tally.former, tally.applied, tally.overtaken, tally.rolled_back];
    assert!(tally.worlds < 40 || met.iter().all(|count| *count > 0), "{tally:?}");
}

#[test]
fn a_seed_of_changes_repeats_its_history() {
    for seed in 0..3 {
        let plan = ChangePlan::draw(seed);
        assert_eq!(run(&plan).0, run(&plan).0, "seed {seed} went two ways");
    }
}

#[test]
fn what_was_replaced_answers_again_within_a_second_while_it_is_kept() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let world = Changing::new(ChangePlan::calm()).await;
        world.start();
        world.send(12).await;
        let often = Duration::from_millis(10);
        world.until_present(true, often).await;
        world.operate(0, &member(1), Flip::OneByOne).await;
        world.until_present(false, often).await;
        let began = Instant::now();
        world.go_back(None).await;
        world.until_present(false, often).await;
        let took = began.elapsed();
        assert_eq!((world.violation.lock().unwrap().clone(), world.tally.lock().unwrap().rolled_back), (None, 1));
        assert!(took < Duration::from_secs(1), "{took:?}");
    });
}
