//! What goes wrong, when, and for how long: drawn from a seed before anything starts, so that a run can be repeated.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

/// A process of the system under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Collector,
    Archive,
    FirstSpeed,
    SecondSpeed,
    Batch,
    Gateway,
}

pub const ROLES: [Role; 6] =
    [Role::Collector, Role::Archive, Role::FirstSpeed, Role::SecondSpeed, Role::Batch, Role::Gateway];

impl Role {
    /// What its files are called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Collector => "collector",
            Self::Archive => "archive",
            Self::FirstSpeed => "speed-1",
            Self::SecondSpeed => "speed-2",
            Self::Batch => "batch",
            Self::Gateway => "gateway",
        }
    }

    /// How it is started.
    pub fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Collector => &["collector"],
            Self::Archive => &["archive"],
            Self::FirstSpeed | Self::SecondSpeed => &["speed"],
            Self::Batch => &["batch", "loop"],
            Self::Gateway => &["gateway"],
        }
    }
}

/// One bad thing.
#[derive(Clone, Debug)]
pub enum Fault {
    /// SIGKILL of some roles at once, started again after a while.
    Kill { roles: Vec<Role>, down: Duration },
    /// SIGSTOP, then SIGCONT.
    Pause { role: Role, span: Duration },
    /// Another process of a role beside it, a speed worker for all partitions; killed after a while.
    Rival { role: Role, span: Duration },
    /// An ordered restart of a service.
    Restart { service: &'static str },
    /// SIGKILL of a service, perhaps of a role meanwhile; both are started again after a while.
    Outage { service: &'static str, span: Duration, killed: Option<Role> },
    /// Redis forgets everything.
    Wipe,
    /// Redis comes back as it was a while ago.
    OlderCopy { age: Duration },
    /// A role dies about one of its writes.
    Die(Death),
    /// Another archiver is held up at one of its writes, while the role goes on, until it was refused.
    Zombie { point: &'static str, span: Duration },
}

/// A role at whose `nth` coming to a fail point it dies.
#[derive(Clone, Debug)]
pub struct Death {
    pub role: Role,
    pub point: String,
    pub nth: usize,
    /// It must come there. Otherwise it is killed where it is after a while: a machine may be too busy.
    pub is_sure: bool,
}

impl Fault {
    /// How many processes get a SIGKILL.
    pub fn kills(&self) -> usize {
        match self {
            Self::Kill { roles, .. } => roles.len(),
            Self::Rival { .. } | Self::OlderCopy { .. } | Self::Die(_) | Self::Zombie { .. } => 1,
            Self::Outage { killed, .. } => 1 + usize::from(killed.is_some()),
            Self::Pause { .. } | Self::Restart { .. } | Self::Wipe => 0,
        }
    }
}

/// A fault, and how long nothing goes wrong before it.
#[derive(Clone, Debug)]
pub struct Step {
    pub quiet: Duration,
    pub fault: Fault,
}

/// The steps of a seed, up to the one with the last of `kills`.
pub fn draw(seed: u64, kills: usize) -> Vec<Step> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut steps: Vec<Step> = Vec::new();
    while steps.iter().map(|step| step.fault.kills()).sum::<usize>() < kills {
        // Mostly into what the last one left behind, sometimes into a system that is whole again.
        let quiet = if rng.random_bool(0.3) { millis(&mut rng, 2_000, 8_000) } else { millis(&mut rng, 50, 1_500) };
        steps.push(Step { quiet, fault: draw_fault(&mut rng) });
    }
    steps
}

fn draw_fault(rng: &mut StdRng) -> Fault {
    match rng.random_range(0..34) {
        0..12 => Fault::Kill { roles: some_roles(rng, 1), down: millis(rng, 0, 1_000) },
        12..14 => Fault::Kill { roles: some_roles(rng, 2), down: millis(rng, 0, 1_000) },
        14 => Fault::Kill { roles: some_roles(rng, ROLES.len()), down: millis(rng, 0, 1_000) },
        // Beyond the session time-out: it comes back to partitions that are another's.
        15..18 => Fault::Pause { role: speed(rng), span: millis(rng, 3_000, 5_000) },
        18 => Fault::Pause { role: role(rng), span: millis(rng, 50, 2_000) },
        19 => Fault::Rival { role: Role::Archive, span: millis(rng, 500, 4_000) },
        20 => Fault::Rival { role: Role::Batch, span: millis(rng, 500, 4_000) },
        21 => Fault::Rival { role: speed(rng), span: millis(rng, 500, 4_000) },
        22 => Fault::Restart { service: "redis" },
        // Rarely: a lone broker takes half a minute to end by itself.
        23 if rng.random_bool(0.2) => Fault::Restart { service: "kafka" },
        24 => outage(rng, "redis"),
        23 | 25 => outage(rng, "kafka"),
        26 => outage(rng, "s3"),
        27 => Fault::OlderCopy { age: millis(rng, 200, 3_000) },
        28..30 => Fault::Wipe,
        _ => Fault::Die(death(rng)),
    }
}

/// Every role comes to these within a second or two.
const WRITES: [(Role, &[&str]); 4] = [
    (Role::Collector, &["log.append"]),
    (Role::Archive, &["lake.master.file", "lake.master.facts", "lake.master.commit"]),
    (Role::FirstSpeed, &["realtime.blobs", "realtime.index"]),
    (Role::Batch, &["lake.views.file", "lake.views.facts", "lake.views.commit"]),
];

fn death(rng: &mut StdRng) -> Death {
    let (role, writes) = WRITES[rng.random_range(0..WRITES.len())];
    let write = writes[rng.random_range(0..writes.len())];
    let moment = if rng.random_bool(0.5) { "before" } else { "after" };
    Death { role, point: format!("{write}.{moment}"), nth: rng.random_range(1..=2), is_sure: false }
}

fn outage(rng: &mut StdRng, service: &'static str) -> Fault {
    let killed = rng.random_bool(0.5).then(|| role(rng));
    Fault::Outage { service, span: millis(rng, 0, 4_000), killed }
}

fn some_roles(rng: &mut StdRng, count: usize) -> Vec<Role> {
    ROLES.choose_multiple(rng, count).copied().collect()
}

fn role(rng: &mut StdRng) -> Role {
    ROLES[rng.random_range(0..ROLES.len())]
}

fn speed(rng: &mut StdRng) -> Role {
    if rng.random_bool(0.5) { Role::FirstSpeed } else { Role::SecondSpeed }
}

fn millis(rng: &mut StdRng, from: u64, to: u64) -> Duration {
    Duration::from_millis(rng.random_range(from..to))
}
