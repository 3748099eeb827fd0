//! Does what a schedule says to processes and services, and starts them again as a supervisor does.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use super::World;
use super::schedule::{Death, Fault, ROLES, Role, Step};
use crate::support::process::{DEADLINE, FAIL_POINTS_MISSING, Running};

/// A process may end at a start beside a store that is not quite back; it is started again.
const MAX_STARTS: usize = 10;

/// So long a role that need not come to a fail point is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// The running processes.
#[derive(Default)]
pub struct Cluster {
    running: BTreeMap<Role, Running>,
    /// Starts that failed and were repeated.
    pub failed_starts: usize,
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
            self.put(world, *role, running);
        }
    }

    fn put(&mut self, world: &World, role: Role, running: Running) {
        match role {
            Role::Collector => *world.collector.lock().unwrap() = Some(running.address.clone()),
            Role::Gateway => world.serve(running.address.clone()),
            _ => {}
        }
        self.running.insert(role, running);
    }

    /// In the place of a role, one that dies at a fail point; then the role as it was.
    async fn die(&mut self, world: &World, death: &Death) {
        let Death { role, point, .. } = death;
        self.kill(world, *role);
        let before = deaths(world, death);
        let setup = world.setup.beside(role.name()).dying_at(point, death.nth);
        // It may die before it is ready.
        let mut has_died = true;
        if let Ok(running) = Running::try_start_role(&setup, role.arguments()).await {
            self.put(world, *role, running);
            has_died = self.has_ended(*role, if death.is_sure { DEADLINE } else { PATIENCE }).await;
            self.kill(world, *role);
        }
        assert!(
            has_died || !death.is_sure,
            "{role:?} never came to {point}: {FAIL_POINTS_MISSING}\n{}",
            world.log(role.name())
        );
        let died = deaths(world, death) - before;
        assert!(died == 1 || !has_died, "not ended by {point}: {FAIL_POINTS_MISSING}\n{}", world.log(role.name()));
        self.start_all(world, &[*role]).await;
    }

    async fn has_ended(&mut self, role: Role, within: Duration) -> bool {
        let deadline = Instant::now() + within;
        while self.running.get_mut(&role).and_then(Running::ended).is_none() {
            if Instant::now() >= deadline {
                return false;
            }
            pause(Duration::from_millis(20)).await;
        }
        true
    }

    /// A role stopped and started again, as an operator does who has edited a file.
    pub async fn restart(&mut self, world: &World, role: Role) {
        self.kill(world, role);
        self.start_all(world, &[role]).await;
    }

    async fn start_one(&mut self, world: &World, role: Role, name: &str, settings: &[(&str, &str)]) -> Running {
        let setup = world.setup.beside(name);
        let setup = settings.iter().fold(setup, |setup, (key, value)| setup.with(key, value));
        for _ in 0..MAX_STARTS {
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
            Role::Collector => *world.collector.lock().unwrap() = None,
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
            Fault::Die(death) => self.die(world, death).await,
            Fault::Zombie { point, span } => self.zombie(world, point, *span).await,
        }
        self.check_all_run(world);
    }

    fn name_rival(&mut self, role: Role) -> String {
        self.rivals += 1;
        format!("rival-{}-{}", self.rivals, role.name())
    }

    /// It wakes with what it had decided before others went on, and must be refused; then it is killed.
    async fn zombie(&mut self, world: &World, point: &str, span: Duration) {
        let role = Role::Archive;
        let name = self.name_rival(role);
        let setup = world.setup.beside(&name).held_up_at(point, span);
        let mut zombie = Running::start_role(&setup, role.arguments()).await;
        let refused = "another archiver continued the master dataset";
        let deadline = Instant::now() + DEADLINE;
        while !zombie.log().contains(refused) {
            assert!(Instant::now() < deadline, "{name} was not refused at {point}\n{}", zombie.log());
            pause(Duration::from_millis(20)).await;
        }
        zombie.kill();
    }

    async fn rival(&mut self, world: &World, role: Role, span: Duration) {
        let name = self.name_rival(role);
        // Without a group it reads all partitions, beside their owners.
        let mut rival = self.start_one(world, role, &name, &[("SPEED__GROUP", "")]).await;
        pause(span).await;
        assert!(rival.ended().is_none(), "{name} ended by itself\n{}", rival.log());
        rival.kill();
    }

    /// No outage ends a process that runs.
    fn check_all_run(&mut self, world: &World) {
        for (role, running) in &mut self.running {
            if let Some(ended) = running.ended() {
                panic!("{role:?} ended by itself with {ended}\n{}", world.log(role.name()));
            }
        }
    }

    /// A process of this role.
    pub fn of(&self, role: Role) -> &Running {
        &self.running[&role]
    }
}

/// How often a role has died at a point, by its own words.
pub fn deaths(world: &World, death: &Death) -> usize {
    world.log(death.role.name()).matches(&format!("fail point {}: this process dies here", death.point)).count()
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
