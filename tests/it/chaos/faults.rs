//! Does what a schedule says to processes and services, and starts them again as a supervisor does.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use super::World;
use super::schedule::{Fault, ROLES, Role, Step};
use crate::support::process::{DEADLINE, Running};

/// A process may end at a start beside a store that is not quite back; it is started again.
const MOST_STARTS: usize = 10;

/// What librdkafka 2.12 says when it aborts a consumer whose partitions are revoked while the broker is gone.
const KNOWN_CRASH: &str = "rd_kafka_assignment_partition_stopped: Assertion `rktp->rktp_started' failed.\n";

/// The running processes.
#[derive(Default)]
pub struct Cluster {
    running: BTreeMap<Role, Running>,
    /// Starts that failed and were repeated.
    pub failed_starts: usize,
    /// Crashes of the client library.
    pub crashes: usize,
    rivals: usize,
}

impl Cluster {
    /// All roles.
    pub async fn start(world: &World) -> Self {
        let mut cluster = Self::default();
        cluster.start_all(world, &ROLES).await;
        cluster
    }

    async fn start_all(&mut self, world: &World, roles: &[Role]) {
        for role in roles {
            let running = self.start_one(world, *role, role.name(), &[]).await;
            match role {
                Role::Ingest => *world.collector.lock().unwrap() = Some(running.address.clone()),
                Role::Gateway => world.serve(running.address.clone()),
                _ => {}
            }
            self.running.insert(*role, running);
        }
    }

    async fn start_one(&mut self, world: &World, role: Role, name: &str, settings: &[(&str, &str)]) -> Running {
        let setup = world.setup.beside(name);
        let setup = settings.iter().fold(setup, |setup, (key, value)| setup.with(key, value));
        for _ in 0..MOST_STARTS {
            match Running::try_start_role(&setup, role.arguments()).await {
                Ok(running) => return running,
                Err(problem) => eprintln!("    {name} did not start: {}", problem.lines().last().unwrap_or_default()),
            }
            self.failed_starts += 1;
        }
        panic!("{name} does not start\n{}", world.log(name));
    }

    fn kill(&mut self, world: &World, role: Role) {
        match role {
            Role::Ingest => *world.collector.lock().unwrap() = None,
            Role::Gateway => *world.gateway.lock().unwrap() = None,
            _ => {}
        }
        // The next one needs the lock of its folder, which this one gives back with its end.
        self.running.remove(&role).expect("it runs").kill();
    }

    /// One step of the schedule; at its end everything runs again.
    pub async fn take(&mut self, world: &World, step: &Step) {
        pause(step.quiet).await;
        match &step.fault {
            Fault::Kill { roles, down } => {
                roles.iter().for_each(|role| self.kill(world, *role));
                pause(*down).await;
                self.start_all(world, roles).await;
            }
            Fault::Pause { role, span } => {
                self.running[role].signal("STOP");
                pause(*span).await;
                self.running[role].signal("CONT");
            }
            Fault::Rival { role, span } => self.rival(world, *role, *span).await,
            Fault::Restart { service } => world.own.run(&["restart", service]).await,
            Fault::Outage { service, span, killed } => {
                world.own.run(&["kill", service]).await;
                pause(*span).await;
                killed.iter().for_each(|role| self.kill(world, *role));
                world.own.run(&["start", service]).await;
                self.start_all(world, killed.as_slice()).await;
            }
            Fault::Wipe => world.wipe().await,
            Fault::OlderCopy { age } => older_copy(world, *age).await,
        }
        self.revive(world).await;
    }

    async fn rival(&mut self, world: &World, role: Role, span: Duration) {
        self.rivals += 1;
        let name = format!("rival-{}-{}", self.rivals, role.name());
        // Without a group it reads all partitions, beside their owners.
        let mut rival = self.start_one(world, role, &name, &[("SPEED__GROUP", "")]).await;
        pause(span).await;
        assert!(rival.ended().is_none(), "{name} ended by itself\n{}", rival.log());
        rival.kill();
    }

    /// No outage ends a process that runs, but for the one crash of the client library that is a known limit.
    async fn revive(&mut self, world: &World) {
        for role in ROLES {
            let Some(ended) = self.running.get_mut(&role).and_then(Running::ended) else { continue };
            let log = world.log(role.name());
            assert!(log.ends_with(KNOWN_CRASH), "{role:?} ended by itself with {ended}\n{log}");
            eprintln!("    {role:?} crashed in librdkafka");
            self.crashes += 1;
            self.kill(world, role);
            self.start_all(world, &[role]).await;
        }
    }

    /// A process of this role.
    pub fn of(&self, role: Role) -> &Running {
        &self.running[&role]
    }
}

async fn pause(span: Duration) {
    tokio::time::sleep(span).await;
}

async fn older_copy(world: &World, age: Duration) {
    let redis = world.own.redis_folder();
    let copy = redis.with_file_name("redis-copy");
    copy_folder(&redis, &copy).await;
    pause(age).await;
    world.own.run(&["kill", "redis"]).await;
    std::fs::remove_dir_all(&redis).unwrap();
    std::fs::rename(&copy, &redis).unwrap();
    world.own.run(&["start", "redis"]).await;
}

async fn copy_folder(from: &Path, to: &Path) {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let copied = tokio::process::Command::new("cp").arg("-rT").args([from, to]).output().await.unwrap();
        if copied.status.success() {
            return;
        }
        // A file of the append-only log was replaced meanwhile.
        assert!(Instant::now() < deadline, "{copied:?}");
        let _ = std::fs::remove_dir_all(to);
    }
}
