//! Events that are erased while a worker runs: it begins again, and its runs are the fold of what is left.

use std::time::Duration;

use positions::{Cut, ErasedRecord, PartitionId};
use rand::Rng;
use rand::rngs::StdRng;
use records::master::MasterDataset;
use serving_layer::RealtimeStore;

use super::for_each;
use super::system::{Event, PARTITIONS, System};

/// Puts a share of the events on the list, and takes them out of the truth; returns one that has an id.
async fn erase(system: &mut System, rng: &mut StdRng) -> Option<Event> {
    let (mut chosen, mut one) = (Vec::new(), None);
    for (record, event) in system.sent.values_mut().flatten() {
        if event.is_some() && rng.random_bool(0.2) {
            one = event.take().filter(|event| event.id.is_some()).or(one);
            let (partition, offset) = (record.partition, record.offset);
            chosen.push(ErasedRecord::whole(partition, offset));
        }
    }
    let list = MasterDataset::new(&system.lake, system.source.clone()).erased();
    system.erased = list.add(&chosen, system.ids.as_ref()).await.unwrap().number;
    one
}

/// Whether the runs hold everything that was sent, without what was erased.
async fn is_without_erased(system: &System) -> bool {
    for partition in PARTITIONS {
        if !is_partition_without_erased(system, partition).await {
            return false;
        }
    }
    system.is_at_end().await
}

async fn is_partition_without_erased(system: &System, partition: PartitionId) -> bool {
    let sent = system.sent.get(&partition).map_or(&[][..], Vec::as_slice);
    let rejected = sent.iter().filter(|(_, event)| event.is_none()).count();
    system.index(partition).await.map(|index| index.counters.rejected as usize) == Some(rejected)
}

#[tokio::test]
async fn runs_are_computed_again_without_what_was_erased() {
    for_each(12, async |seed, mut rng| {
        let mut system = System::new(seed).await;
        system.send(&mut rng, 200).await;
        let (worker, stop) = system.spawn(System::settings(&mut rng));
        system.until("heads at the end", || system.is_at_end()).await;
        let one = erase(&mut system, &mut rng).await;
        // The worker learns of it by a version that says so, or by an index that is gone.
        match seed % 3 {
            0 => system.publish(&Cut::default()).await,
            1 => {
                for partition in PARTITIONS {
                    system.memory.forget(&system.key(partition)).await.unwrap();
                }
            }
            // A partition that starts by itself in between, and so reads the list, speaks for none of the others.
            _ => {
                let first = PARTITIONS[0];
                system.memory.forget(&system.key(first)).await.unwrap();
                let begins_again = || is_partition_without_erased(&system, first);
                system.until("the first partition begins again", begins_again).await;
                system.publish(&Cut::default()).await;
            }
        }
        system.until("runs without what was erased", || is_without_erased(&system)).await;
        // The very event that was erased is none that was seen.
        if let Some(one) = one {
            let newest = system.sent.values().flatten().map(|(record, _)| record.timestamp.0).max();
            system.send_one(Some(one), newest.unwrap_or_default()).await;
        }
        system.send(&mut rng, 60).await;
        system.until("heads at the end again", || is_without_erased(&system)).await;
        stop.cancel();
        worker.await.unwrap().unwrap();
        system.check(&Cut::default()).await;
    })
    .await;
}

#[tokio::test]
async fn a_worker_that_starts_later_leaves_out_what_was_erased() {
    for_each(6, async |seed, mut rng| {
        let mut system = System::new(seed).await;
        system.send(&mut rng, 150).await;
        erase(&mut system, &mut rng).await;
        system.clock.advance(Duration::from_millis(5));
        system.run_to_end(System::settings(&mut rng)).await;
        system.check(&Cut::default()).await;
        assert!(is_without_erased(&system).await);
    })
    .await;
}
