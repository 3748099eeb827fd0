//! Sets of offsets, and the list of what was erased, each against a naive one.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../tests/it/support/seeds.rs"]
#[expect(dead_code, reason = "the other test binary uses all of it")]
mod seeds;

use std::collections::{BTreeMap, BTreeSet};

use positions::{Erased, ErasedItems, ErasedRecord, Offset, OffsetSet, PartitionId};
use rand::Rng;
use rand::rngs::StdRng;

use seeds::for_each_seed;

/// Partitions with gaps between their numbers.
const PARTITIONS: [PartitionId; 3] = [PartitionId(0), PartitionId(1), PartitionId(1_000_000)];
const OFFSETS: i64 = 60;

type Place = (PartitionId, Offset);

fn all_places() -> impl Iterator<Item = Place> {
    PARTITIONS.into_iter().flat_map(|partition| (0..OFFSETS).map(move |offset| (partition, Offset(offset))))
}

fn random_partition(rng: &mut StdRng) -> PartitionId {
    PARTITIONS[rng.random_range(0..PARTITIONS.len())]
}

/// `[from, to)`, now and then empty.
fn random_stretch(rng: &mut StdRng) -> (PartitionId, Offset, Offset) {
    let from = rng.random_range(0..OFFSETS);
    let to = (from + rng.random_range(-1..9)).min(OFFSETS);
    (random_partition(rng), Offset(from), Offset(to))
}

/// Partitions and offsets from the first to the last of them.
fn random_window(rng: &mut StdRng) -> ([PartitionId; 2], [Offset; 2]) {
    let (mut partitions, from) = ([random_partition(rng), random_partition(rng)], rng.random_range(0..OFFSETS));
    partitions.sort();
    (partitions, [Offset(from), Offset(rng.random_range(from..OFFSETS))])
}

fn is_in(place: &Place, (partitions, offsets): &([PartitionId; 2], [Offset; 2])) -> bool {
    (partitions[0]..=partitions[1]).contains(&place.0) && (offsets[0]..=offsets[1]).contains(&place.1)
}

#[test]
fn a_set_of_offsets_is_a_set_whatever_its_stretches() {
    for_each_seed(300, |mut rng| {
        let (mut set, mut naive) = (OffsetSet::default(), BTreeSet::new());
        for _ in 0..rng.random_range(0..30) {
            let (partition, from, to) = random_stretch(&mut rng);
            set.insert(partition, from, to);
            naive.extend((from.0..to.0).map(|offset| (partition, Offset(offset))));
        }
        assert!(all_places().all(|place| set.contains(place.0, place.1) == naive.contains(&place)));
        assert_eq!((set.count(), set.is_empty()), (naive.len() as u64, naive.is_empty()));
        let stretches: Vec<_> = set.stretches().collect();
        let are_apart = |pair: &[(PartitionId, Offset, Offset)]| pair[0].0 < pair[1].0 || pair[0].2 < pair[1].1;
        assert!(stretches.windows(2).all(are_apart), "{stretches:?}");
        for _ in 0..20 {
            let window = random_window(&mut rng);
            let (partitions, offsets) = window;
            let found = set.has_any_of(partitions[0]..=partitions[1], offsets[0]..=offsets[1]);
            assert_eq!(found, naive.iter().any(|place| is_in(place, &window)), "{window:?} of {stretches:?}");
        }
        // One by one, from the last.
        let mut again = OffsetSet::default();
        naive.iter().rev().for_each(|(partition, offset)| again.insert(*partition, *offset, offset.next()));
        assert_eq!(again, set);
    });
}

/// All rows of a record by the number 0, others by their own.
type Naive = BTreeMap<Place, BTreeSet<i32>>;

fn random_erased(rng: &mut StdRng) -> ErasedRecord {
    let (partition, from, to) = random_stretch(rng);
    match rng.random_range(0..3) {
        0 => ErasedRecord::whole(partition, from),
        1 => ErasedRecord::stretch(partition, from, to),
        _ => {
            let items = (0..rng.random_range(1..4)).map(|_| rng.random_range(1..6)).collect();
            ErasedRecord { items, ..ErasedRecord::whole(partition, from) }
        }
    }
}

fn add_naively(naive: &mut Naive, erased: &ErasedRecord) {
    let to = erased.to.unwrap_or(erased.offset.next());
    for offset in erased.offset.0..to.0 {
        let items = naive.entry((erased.partition, Offset(offset))).or_default();
        items.extend(&erased.items);
        if erased.items.is_empty() {
            items.insert(0);
        }
    }
}

#[test]
fn the_list_of_what_was_erased_says_of_every_record_what_was_added() {
    for_each_seed(300, |mut rng| {
        let (mut erased, mut naive) = (Erased::default(), Naive::new());
        let added: Vec<_> = (0..rng.random_range(0..25)).map(|_| random_erased(&mut rng)).collect();
        for record in &added {
            // As it is stored.
            let stored = serde_json::to_string(record).unwrap();
            erased.add(serde_json::from_str(&stored).unwrap());
            add_naively(&mut naive, record);
        }
        for place in all_places() {
            let expected = naive.get(&place).map(|items| match items.contains(&0) {
                true => ErasedItems::All,
                false => ErasedItems::Some(items.clone()),
            });
            assert_eq!(erased.of(place.0, place.1), expected.as_ref(), "{place:?} of {added:?}");
        }
        assert_eq!((erased.len(), erased.is_empty()), (naive.len(), naive.is_empty()));
        for _ in 0..20 {
            let window = random_window(&mut rng);
            let (partitions, offsets) = window;
            let found = erased.is_within((partitions[0], partitions[1]), (offsets[0], offsets[1]));
            assert_eq!(found, naive.keys().any(|place| is_in(place, &window)), "{window:?} of {added:?}");
        }
        let mut backwards = Erased::default();
        added.into_iter().rev().for_each(|record| backwards.add(record));
        assert_eq!(backwards, erased);
    });
}

#[test]
fn a_place_is_stored_as_it_was_before_there_were_stretches() {
    let place = ErasedRecord::whole(PartitionId(2), Offset(7));
    assert_eq!(serde_json::to_string(&place).unwrap(), r#"{"partition":2,"offset":7}"#);
    assert_eq!(ErasedRecord::stretch(PartitionId(2), Offset(7), Offset(8)), place);
    let stored = r#"{"partition":2,"offset":7,"items":[1,3]}"#;
    let read: ErasedRecord = serde_json::from_str(stored).unwrap();
    assert_eq!((read.items, read.to), (vec![1, 3], None));
}
