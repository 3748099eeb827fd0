//! What happens in a simulated world, drawn from its seed before it begins; small enough to print, repeat and shrink.

use std::time::Duration;

use positions::TimestampMicros;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::clocks::Skew;

/// How long runs outlive the publication of the version that covers them.
pub const COURTESY: Duration = Duration::from_secs(2);

/// When worlds begin.
const START: TimestampMicros = TimestampMicros(1_700_000_000_000_000);

/// When worlds begin that fold: the first instant of the 2nd of December 2023. The end of a day, or of a month a day
/// before, comes to be old enough in the middle of them.
pub const FOLDING_START: TimestampMicros = TimestampMicros(1_701_475_200_000_000);

/// So many files of events are imported at most.
const IMPORTS: usize = 2;

/// The object store, among the parts that can be down.
pub const OBJECTS: u8 = 1;

/// How often calls go wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// Of a thousand calls, before and after each.
    pub delay: u32,
    /// Of a thousand calls.
    pub fail: u32,
    /// Of ten thousand calls of a role that can be killed.
    pub kill: u32,
}

/// Mistakes planted into stores, to see that they are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    CutTooHigh,
    AppendWithoutComparison,
    MergeByHeadAlone,
    RunsCachedByCount,
    ExpiryOneRunEarly,
    NotPrimed,
    RebasedCommit,
    BlindCompaction,
}

/// Something that happens to the world from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Events are sent.
    Send(u32),
    /// A file of events is imported, a quarter of them copies.
    Import(u32),
    /// The realtime store goes back by some changes in one partition.
    FailOver(i32, usize),
    /// The realtime store forgets everything.
    Wipe,
    /// A blob that an index names is gone.
    Evict(i32),
    /// A role stands still for some seconds.
    Pause(usize, u64),
    /// A role is killed.
    Kill(usize),
    /// The log forgets records that are archived.
    Expire(i32),
    /// The log forgets records that are not, while no archiver has them in memory.
    Lose(i32),
    /// The topic is deleted and created again.
    Recreate,
    /// An operator begins the life of the topic that took the name.
    Reset,
    /// The topic gets a partition more.
    Grow,
    /// Log, object store or realtime store cannot be reached for some seconds.
    Down(u8, u64),
    /// All roles go over to other definitions, one after the other.
    Upgrade,
    /// The source stops in the direction of the data, and starts again some seconds later.
    Stop(u64),
    /// The same, and it starts with other definitions.
    Replace(u64),
}

/// What happens in one world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub seed: u64,
    pub rates: Rates,
    /// Each after some milliseconds.
    pub acts: Vec<(u64, Act)>,
    /// Whether the speed workers share the partitions, or both own all of them.
    pub is_shared: bool,
    pub has_second_archiver: bool,
    pub has_second_batch: bool,
    /// How wrong the clocks of the roles are, and of the two kinds of gateways.
    pub skews: [Skew; ROLES + 2],
    pub bug: Option<Bug>,
    /// Whether former definitions are kept and asked after an upgrade.
    pub keeps_former: bool,
    /// At what age buckets become coarser, if ever.
    pub fold_after: Option<Duration>,
    /// Whether the speed layer alone computes the views.
    pub is_kappa: bool,
}

/// Worlds from this seed on may fold, import, or be in kappa mode: `make sim` comes there. Those before keep their
/// histories, and so do planted mistakes, which are met at the seeds that are known for them.
pub const WIDE_FROM: u64 = 1_000;

/// The roles that acts can hit: two archivers, two speed workers, two batch schedulers.
pub const ROLES: usize = 6;

impl Plan {
    /// Acts by hand, each after some milliseconds: two archivers, two batch schedulers, speed workers that both own all
    /// partitions, right clocks.
    pub fn by_hand(seed: u64, rates: Rates, acts: &[(u64, Act)]) -> Self {
        Self {
            seed,
            rates,
            acts: acts.to_vec(),
            is_shared: false,
            has_second_archiver: true,
            has_second_batch: true,
            skews: Default::default(),
            bug: None,
            keeps_former: false,
            fold_after: None,
            is_kappa: false,
        }
    }

    /// The plan of a seed; the four mixes of faults take turns.
    pub fn draw(seed: u64, bug: Option<Bug>) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let mix = seed % 4;
        let rates = Rates {
            delay: rng.random_range(0..80),
            fail: if rng.random_bool(0.5) { rng.random_range(0..28) } else { 0 },
            kill: if rng.random_bool(0.5) { rng.random_range(0..28) } else { 0 },
        };
        let count = rng.random_range(6..16);
        let mut acts: Vec<(u64, Act)> =
            (0..count).map(|_| (rng.random_range(50..3_500), draw_act(&mut rng, mix))).collect();
        if (mix == 2 || mix == 3) && rng.random_bool(0.4) {
            let place = rng.random_range(0..acts.len());
            acts.insert(place, (500, Act::Upgrade));
        }
        let mut plan = Self {
            seed,
            rates,
            acts,
            is_shared: bug == Some(Bug::NotPrimed) || rng.random_bool(0.4),
            has_second_archiver: rng.random_bool(0.5),
            has_second_batch: rng.random_bool(0.5),
            skews: Default::default(),
            bug,
            keeps_former: false,
            fold_after: None,
            is_kappa: false,
        };
        plan.upset(mix);
        if bug.is_none() && seed >= WIDE_FROM {
            plan.grow_old();
            plan.choose_mode();
        }
        plan
    }

    /// Adds history: buckets that are folded, and files that are imported. Drawn apart, so that the rest of a plan does
    /// not depend on it.
    fn grow_old(&mut self) {
        let mut rng = StdRng::seed_from_u64(self.seed ^ 0x01da6e);
        if rng.random_bool(0.3) {
            let days = rng.random_range(0..2);
            self.fold_after = Some(Duration::from_secs(days * 24 * 3600 + rng.random_range(0..45)));
        }
        if rng.random_bool(0.25) {
            for _ in 0..rng.random_range(1..=IMPORTS) {
                let place = rng.random_range(0..=self.acts.len());
                let import = Act::Import(rng.random_range(1..8));
                self.acts.insert(place, (rng.random_range(1..2_000), import));
            }
        }
    }

    /// When the world begins.
    pub fn start(&self) -> TimestampMicros {
        if self.fold_after.is_some() { FOLDING_START } else { START }
    }

    /// Adds wrong clocks, lost records and another topic. Drawn apart, so that the rest of a plan does not depend on
    /// it.
    fn upset(&mut self, mix: u64) {
        let mut rng = StdRng::seed_from_u64(self.seed ^ 0x0ff5e7);
        if rng.random_bool(0.3) {
            self.skews = std::array::from_fn(|_| Skew::draw(&mut rng));
        }
        let sends: Vec<usize> = (0..self.acts.len()).filter(|at| matches!(self.acts[*at].1, Act::Send(_))).collect();
        if mix != 0 && rng.random_bool(0.3) && !sends.is_empty() {
            let after = sends[rng.random_range(0..sends.len())];
            self.acts.insert(after + 1, (1, Act::Lose(rng.random_range(0..2))));
        }
        if mix >= 2 && rng.random_bool(0.1) {
            let place = rng.random_range(self.acts.len() / 2..=self.acts.len());
            self.acts.insert(place, (rng.random_range(1..3_000), Act::Recreate));
            if rng.random_bool(0.7) {
                let later = rng.random_range(place + 1..=self.acts.len());
                self.acts.insert(later, (rng.random_range(1..4_000), Act::Reset));
                self.acts.push((rng.random_range(1..3_000), Act::Send(rng.random_range(1..12))));
            }
        }
    }

    /// Every fifth world is in kappa mode, but for those of planted mistakes, which are met at known seeds. A topic
    /// whose source is in that mode has one life.
    fn choose_mode(&mut self) {
        let mut rng = StdRng::seed_from_u64(self.seed ^ 0x6a99a);
        if self.bug.is_none() && rng.random_bool(0.2) {
            self.is_kappa = true;
            self.fold_after = None;
            // Behind what is lost at the end of a partition a worker goes on with the next record, which may never come
            // (docs/limits.md).
            let is_left_out = |act: &Act| matches!(act, Act::Recreate | Act::Reset | Act::Import(_) | Act::Lose(_));
            self.acts.retain(|(_, act)| !is_left_out(act));
        }
    }

    /// Whether all clocks go right.
    pub fn has_right_clocks(&self) -> bool {
        self.skews == <[Skew; ROLES + 2]>::default()
    }

    /// Whether records may be lost before they are archived.
    pub fn has_holes(&self) -> bool {
        self.acts.iter().any(|(_, act)| matches!(act, Act::Lose(_) | Act::Reset))
    }

    /// Whether no run can be missing that a gateway needs: the realtime store never loses what it has acknowledged,
    /// definitions stay, and no gateway is kept from the published versions for longer than the courtesy.
    pub fn is_lossless(&self) -> bool {
        let is_loss = |act: &Act| match act {
            Act::FailOver(..) | Act::Wipe | Act::Evict(_) | Act::Upgrade | Act::Replace(_) | Act::Recreate => true,
            Act::Down(OBJECTS, seconds) => *seconds >= COURTESY.as_secs(),
            _ => false,
        };
        !self.acts.iter().any(|(_, act)| is_loss(act))
    }

    /// Smaller plans, boldest first, that may show the same violation.
    pub fn smaller(&self) -> Vec<Self> {
        let mut plans = Vec::new();
        let mut propose = |change: &dyn Fn(&mut Self)| {
            let mut plan = self.clone();
            change(&mut plan);
            if plan != *self {
                plans.push(plan);
            }
        };
        propose(&|plan| plan.rates = Rates::default());
        propose(&|plan| plan.rates.kill = 0);
        propose(&|plan| plan.rates.fail = 0);
        propose(&|plan| plan.rates.delay = 0);
        propose(&|plan| plan.skews = Default::default());
        propose(&|plan| plan.fold_after = None);
        propose(&|plan| plan.has_second_archiver = false);
        propose(&|plan| plan.has_second_batch = false);
        let count = self.acts.len();
        for size in [count / 2, count / 4, 1].into_iter().filter(|size| *size > 0) {
            for first in (0..count).step_by(size) {
                propose(&|plan| drop(plan.acts.drain(first..(first + size).min(count))));
            }
        }
        for place in 0..count {
            propose(&|plan| {
                if let (_, Act::Send(events) | Act::Import(events)) = &mut plan.acts[place] {
                    *events = (*events / 2).max(1);
                }
            });
        }
        plans
    }
}

fn draw_act(rng: &mut StdRng, mix: u64) -> Act {
    let partition = rng.random_range(0..2);
    let is_losing = mix == 1 || mix == 3;
    match rng.random_range(0..24) {
        0 | 1 if is_losing => Act::FailOver(partition, rng.random_range(1..6)),
        2 if is_losing => Act::Wipe,
        3 if is_losing => Act::Evict(partition),
        4 | 5 => Act::Pause(rng.random_range(0..ROLES), rng.random_range(1..12)),
        6 => Act::Kill(rng.random_range(0..ROLES)),
        7 if mix != 0 => Act::Expire(partition),
        8 if mix >= 2 => Act::Grow,
        9 => Act::Down(rng.random_range(0..3), rng.random_range(1..6)),
        _ => Act::Send(rng.random_range(1..12)),
    }
}
