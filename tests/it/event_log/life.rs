//! The log in a life of its topic: the suite in the first one, where nothing differs, and the offsets of a later one.

use std::collections::BTreeMap;
use std::sync::Arc;

use ::event_log::memory::MemoryLog;
use ::event_log::{EventLog, EventLogError, LifeLog, LogBounds};
use async_trait::async_trait;
use positions::{Incarnation, Life, LifeStart, Offset, PartitionId, Position};

use super::suite::{self, Fixture, positions};
use super::{append, clock, limit, numbered, read};

struct InLife {
    memory: MemoryLog,
    log: LifeLog,
}

#[async_trait]
impl Fixture for InLife {
    fn log(&self) -> &dyn EventLog {
        &self.log
    }

    async fn grow_topic(&self, topic: &str, partitions: usize) {
        self.memory.grow_topic(topic, partitions).unwrap();
    }

    async fn recreate_topic(&self, topic: &str, _partitions: i32) {
        self.memory.recreate_topic(topic).unwrap();
    }
}

impl InLife {
    fn new(life: Life) -> Self {
        let memory = MemoryLog::new(clock());
        Self { log: LifeLog::new(Arc::new(memory.clone()), life), memory }
    }
}

conformance!(Some(InLife::new(Life::default())));

const ONE: PartitionId = PartitionId(0);

/// A topic with three records, the second of which is the first of the present life, at 950.
async fn second_life() -> InLife {
    let start = LifeStart { offset: Offset(950), log_offset: Offset(1) };
    let world = InLife::new(Life { incarnation: Incarnation(1), starts: BTreeMap::from([(ONE, start)]) });
    world.log.ensure_topic("t", 1).await.unwrap();
    append(&world.memory, "t", numbered(3)).await;
    world
}

#[tokio::test]
async fn offsets_of_a_later_life_go_on_behind_the_one_before() {
    let world = second_life().await;
    let (low, high) = (Offset(950), Offset(952));
    assert_eq!(world.log.bounds("t", ONE).await.unwrap(), LogBounds { low, high });
    let appended = world.log.append("t", numbered(1)).await;
    assert_eq!(*appended[0].as_ref().unwrap(), (ONE, Offset(952)));
    let mut consumer = world.log.consumer("t", None).await.unwrap();
    consumer.seek(&BTreeMap::from([(ONE, Offset(951))])).await.unwrap();
    let records = read(consumer.as_mut(), 2).await;
    assert_eq!(records.iter().map(|record| record.offset.0).collect::<Vec<_>>(), [951, 952]);
}

#[tokio::test]
async fn what_lies_below_a_life_has_expired_and_so_has_what_the_log_forgot() {
    let world = second_life().await;
    let mut consumer = world.log.consumer("t", None).await.unwrap();
    let before = consumer.seek(&BTreeMap::from([(ONE, Offset(949))])).await.unwrap_err();
    assert!(matches!(before, EventLogError::Expired { asked: Offset(949), low: Offset(950), .. }), "{before}");
    world.memory.expire_below("t", ONE, Offset(2)).unwrap();
    consumer.seek(&BTreeMap::from([(ONE, Offset(950))])).await.unwrap();
    let error = consumer.poll(limit()).await.unwrap_err();
    assert!(matches!(error, EventLogError::Expired { asked: Offset(950), low: Offset(951), .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_position_is_compared_with_the_topic_of_its_own_life() {
    let world = second_life().await;
    let mut consumer = world.log.consumer("t", None).await.unwrap();
    consumer.seek(&BTreeMap::from([(ONE, Offset(950))])).await.unwrap();
    let first = positions(&read(consumer.as_mut(), 1).await)[1];
    let behind = Position { incarnation: Incarnation(1), ..first.at_offset(Offset(951)) };
    world.log.check_fingerprint("t", ONE, &behind).await.unwrap();
    let error = world.log.check_fingerprint("t", ONE, &behind.at_offset(Offset(952))).await.unwrap_err();
    assert!(matches!(error, EventLogError::AnotherTopic { offset: Offset(952), .. }), "{error}");
    let former = Position { incarnation: Incarnation(0), ..behind.at_offset(Offset(952)) };
    world.log.check_fingerprint("t", ONE, &former).await.unwrap();
}
