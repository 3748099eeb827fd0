//! The dice of a simulated world: at every call to log, object store and realtime store they decide whether it is
//! delayed, fails before or after it was done, or takes the caller with it.
//!
//! Guarantee: one seed, one history: each decision is drawn in the order of the calls and goes into the trace.

use std::collections::hash_map::DefaultHasher;
use std::future::pending;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use super::plan::Rates;

/// What a call goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    Log,
    Objects,
    Realtime,
}

/// When in a call something happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Moment {
    Before,
    After,
}

/// What becomes of one call.
#[derive(Clone, Copy, Debug, Hash)]
struct Fate {
    delays: [u64; 2],
    fails: Option<Moment>,
    kills: Option<Moment>,
}

struct State {
    rng: StdRng,
    rates: Rates,
    down: Vec<Part>,
    trace: DefaultHasher,
    calls: u64,
    kills: u64,
    told: bool,
}

/// The dice of one world.
pub struct Chance {
    began: Instant,
    state: Mutex<State>,
}

impl Chance {
    pub fn new(seed: u64, rates: Rates) -> Self {
        let rng = StdRng::seed_from_u64(seed ^ 0x5eed);
        let told = std::env::var("TWOFOLD_SIM_TRACE").is_ok();
        let state = State { rng, rates, down: Vec::new(), trace: DefaultHasher::new(), calls: 0, kills: 0, told };
        Self { began: Instant::now(), state: Mutex::new(state) }
    }

    /// Nothing goes wrong any more.
    pub fn calm(&self) {
        let mut state = self.state.lock().unwrap();
        state.rates = Rates::default();
        state.down.clear();
    }

    /// Takes a part away, or brings it back.
    pub fn set_down(&self, part: Part, is_down: bool) {
        let mut state = self.state.lock().unwrap();
        state.down.retain(|one| *one != part);
        if is_down {
            state.down.push(part);
        }
    }

    /// Draws from the dice for something else than a call.
    pub fn draw<T>(&self, draw: impl FnOnce(&mut StdRng) -> T) -> T {
        draw(&mut self.state.lock().unwrap().rng)
    }

    /// Adds something that happened to the trace.
    pub fn note(&self, what: &str) {
        let at = self.began.elapsed();
        let mut state = self.state.lock().unwrap();
        (at, what).hash(&mut state.trace);
        if state.told {
            eprintln!("{:9.3} {what}", at.as_secs_f64());
        }
    }

    /// Calls, kills and the hash of everything that happened.
    pub fn trace(&self) -> (u64, u64, u64) {
        let state = self.state.lock().unwrap();
        (state.calls, state.kills, state.trace.finish())
    }

    fn fate(&self, part: Part, can_die: bool) -> Fate {
        let mut state = self.state.lock().unwrap();
        state.calls += 1;
        let rates = state.rates;
        let is_down = state.down.contains(&part);
        let rng = &mut state.rng;
        let moment = |rng: &mut StdRng| if rng.random_bool(0.5) { Moment::Before } else { Moment::After };
        let delay = |rng: &mut StdRng| match rng.random_range(0..1_000) {
            short if short < rates.delay => rng.random_range(1..400),
            _ => 0,
        };
        let delays = [delay(rng), delay(rng)];
        let fails = (rng.random_range(0..1_000) < rates.fail).then(|| moment(rng));
        let kills = (can_die && rng.random_range(0..10_000) < rates.kill).then(|| moment(rng));
        state.kills += u64::from(kills.is_some());
        Fate { delays, fails: if is_down { Some(Moment::Before) } else { fails }, kills }
    }
}

/// Where a role's calls pass through.
#[derive(Clone)]
pub struct Gate {
    pub chance: Arc<Chance>,
    pub role: String,
    /// Told when the dice kill the role; `None`: it cannot be killed.
    pub kill: Option<Arc<Notify>>,
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.role)
    }
}

impl Gate {
    /// Makes a call, or lets happen to it what the dice say.
    pub async fn call<T, E>(
        &self,
        (part, name): (Part, &str),
        call: impl Future<Output = Result<T, E>>,
        failed: impl FnOnce(&'static str) -> E,
    ) -> Result<T, E> {
        let fate = self.chance.fate(part, self.kill.is_some());
        self.chance.note(&format!("{} {part:?} {name} {fate:?}", self.role));
        wait(fate.delays[0]).await;
        self.die(fate.kills == Some(Moment::Before)).await;
        if fate.fails == Some(Moment::Before) {
            return Err(failed("simulated: it was not done"));
        }
        let answer = call.await;
        wait(fate.delays[1]).await;
        self.die(fate.kills == Some(Moment::After)).await;
        if fate.fails == Some(Moment::After) { Err(failed("simulated: the reply was lost")) } else { answer }
    }

    async fn die(&self, is_killed: bool) {
        if let Some(kill) = self.kill.as_ref().filter(|_| is_killed) {
            kill.notify_one();
            pending::<()>().await;
        }
    }
}

async fn wait(millis: u64) {
    match millis {
        0 => tokio::task::yield_now().await,
        millis => sleep(Duration::from_millis(millis)).await,
    }
}
