//! What happens to a simulated world from outside: the acts of its plan, one by one.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;
use std::time::Duration;

use batch_layer::archive::ArchiveStatus;
use batch_layer::import::{Committed, FileId, Import, ImportComponents, Portion, read_file};
use batch_layer::source_reset::{self, CountFrom, ResetComponents, ResetOutcome};
use event_log::EventLog;
use positions::{Fingerprint, IdSource, Offset, PartitionId};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use super::chance::Part;
use super::plan::{Act, ROLES};
use super::traffic::TOPIC;
use super::world::{Role, World};

/// The archivers among the roles.
const ARCHIVERS: [usize; 2] = [0, 1];

impl World {
    /// Lets one thing happen.
    pub async fn act(self: &Arc<Self>, act: Act) {
        self.chance.note(&format!("{act:?}"));
        match act {
            Act::Send(count) => self.send(count).await,
            Act::Import(count) => self.import(count).await,
            Act::FailOver(partition, back) => {
                for place in self.places(PartitionId(partition)) {
                    self.realtime.fail_over(&place, back).await;
                }
            }
            Act::Wipe => self.realtime.memory.wipe(),
            Act::Evict(partition) => {
                for place in self.places(PartitionId(partition)) {
                    self.realtime.evict(&place).await;
                }
            }
            Act::Pause(role, seconds) => {
                self.roles[role].is_paused.store(true, Ordering::SeqCst);
                self.later(seconds, move |world| world.resume(role));
            }
            Act::Kill(role) => self.roles[role].kill.notify_one(),
            Act::Expire(partition) => self.expire(PartitionId(partition)).await,
            Act::Lose(partition) => self.lose(PartitionId(partition)).await,
            Act::Grow => self.log.grow_topic(TOPIC, 3).unwrap(),
            Act::Recreate => self.recreate().await,
            Act::Reset => self.reset().await,
            Act::Down(part, seconds) => {
                let part = [Part::Log, Part::Objects, Part::Realtime][usize::from(part)];
                self.chance.set_down(part, true);
                self.later(seconds, move |world| world.chance.set_down(part, false));
            }
            Act::Upgrade => self.upgrade().await,
            Act::Stop(seconds) => self.stop_source(seconds).await,
            Act::Replace(seconds) => {
                self.stop_source(seconds).await;
                self.generation.store(1, Ordering::SeqCst);
                self.roles.iter().for_each(|role| role.generation.store(1, Ordering::SeqCst));
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

    /// Past the dice: what goes wrong is that archivers commit at the same time.
    async fn import(&self, count: u32) {
        let mut rng = self.chance.draw(StdRng::from_rng);
        let components = ImportComponents {
            master: self.master_dataset(),
            source: self.source(),
            clock: Arc::clone(&self.clock),
            ids: self.ids.clone(),
            workers: 2,
            give_up_after_bad: 0,
            keeps_rejected: true,
        };
        let mut import = Import::open(components).await.unwrap();
        let payloads = self.traffic.lock().await.import(count, self.clock.now(), &mut rng);
        let (sender, receiver) = mpsc::channel(1);
        sender.send(Ok(Portion::Events(payloads))).await.unwrap();
        drop(sender);
        let name = format!("file {:032x}", self.ids.next_id());
        let file = FileId { identity: name.clone(), name };
        read_file(&mut import, file, receiver, |_| ()).await.unwrap();
        assert_eq!(import.commit().await.unwrap(), Committed::Done);
    }

    async fn upgrade(&self) {
        self.generation.store(1, Ordering::SeqCst);
        for role in &self.roles {
            role.generation.store(1, Ordering::SeqCst);
            role.kill.notify_one();
            sleep(Duration::from_millis(self.chance.draw(|rng| rng.random_range(0..2_000)))).await;
        }
    }

    /// As the topology of a process does: archivers, then speed workers, then the batch role.
    async fn stop_source(self: &Arc<Self>, seconds: u64) {
        for role in &self.roles {
            role.stop().await;
        }
        self.later(seconds, |world| world.roles.iter().for_each(Role::start));
    }

    fn later(self: &Arc<Self>, seconds: u64, then: impl FnOnce(&Self) + Send + 'static) {
        let world = self.clone();
        tokio::spawn(async move {
            sleep(Duration::from_secs(seconds)).await;
            then(&world);
        });
    }

    /// Lets a paused role go on.
    fn resume(&self, role: usize) {
        self.roles[role].is_paused.store(false, Ordering::SeqCst);
        self.roles[role].waker.lock().unwrap().take().into_iter().for_each(Waker::wake);
    }

    async fn expire(&self, partition: PartitionId) {
        let traffic = self.traffic.lock().await;
        let end = |told: &watch::Sender<ArchiveStatus>| {
            let facts = &told.borrow().facts;
            let known = facts.partitions.get(&partition).filter(|_| facts.life == *traffic.life());
            known.and_then(|known| facts.life.log_offset(partition, known.archived.end.offset)).unwrap_or_default()
        };
        let archived = self.archived.iter().map(end).max().unwrap_or_default();
        let low = self.chance.draw(|rng| rng.random_range(0..=archived.0));
        // What another topic forgets cannot be told from what the first one had.
        if !traffic.is_replaced() {
            self.log.expire_below(TOPIC, partition, Offset(low)).unwrap();
        }
    }

    /// The archivers die, and when they are back the log has forgotten what they had not committed.
    async fn lose(&self, partition: PartitionId) {
        ARCHIVERS.iter().for_each(|role| self.roles[*role].kill.notify_one());
        sleep(Duration::from_millis(1)).await;
        let archived = self.master().await.map_or(Offset(0), |master| {
            master.facts.partitions.get(&partition).map_or(Offset(0), |known| known.archived.end.offset)
        });
        let mut rng = self.chance.draw(StdRng::from_rng);
        let lost = self.traffic.lock().await.lose(partition, archived, &mut rng);
        if let Some(low) = lost {
            self.chance.note(&format!("partition {partition} loses [{archived}, {low})"));
            let low = self.traffic.lock().await.life().log_offset(partition, low).unwrap();
            self.log.expire_below(TOPIC, partition, low).unwrap();
        }
    }

    /// Another topic takes the name, once something of each partition of the first is archived: before that nobody
    /// could tell them apart.
    async fn recreate(&self) {
        let Some(master) = self.master().await else { return };
        let mut traffic = self.traffic.lock().await;
        let is_archived = |partition| {
            let end = master.facts.partitions.get(partition).map(|one| one.archived.end);
            end.is_some_and(|end| end.fingerprint != Fingerprint(0) && end.incarnation == traffic.life().incarnation)
        };
        if self.log.partitions(TOPIC).await.unwrap().iter().all(is_archived) {
            self.chance.note("another topic");
            self.log.recreate_topic(TOPIC).unwrap();
            traffic.replace();
        }
    }

    /// An operator begins the life of the topic that has the name now; refused where it is the archived one.
    async fn reset(&self) {
        let components = ResetComponents {
            log: Arc::new(self.log.clone()),
            master: self.master_dataset(),
            store: Some(self.realtime.memory.clone()),
            source: self.source(),
            ids: self.ids.clone(),
        };
        let mut traffic = self.traffic.lock().await;
        match source_reset::reset(&components, CountFrom::Start).await {
            Ok(ResetOutcome::Begun(facts)) => {
                self.chance.note(&format!("{:?}", facts.life));
                assert!(traffic.is_replaced(), "the archived topic was reset");
                traffic.begin_life(facts.life);
            }
            Ok(ResetOutcome::NothingRead(_)) => assert!(!traffic.is_replaced()),
            Err(error) => assert!(!traffic.is_replaced(), "{error}"),
        }
    }

    /// From now on everything goes well.
    pub fn calm(&self) {
        self.chance.note("calm");
        self.chance.calm();
        (0..ROLES).for_each(|role| self.resume(role));
        self.roles.iter().for_each(Role::start);
    }
}
