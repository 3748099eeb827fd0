//! Several writers of one publication: the same rows as of one writer, in about as few files.

use std::collections::BTreeSet;

use lake::LakeError;
use positions::TimestampMicros;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serving_layer::{
    BatchVersion, BatchViewStore, BucketRanges, Publication, PublicationPart, ServingError, WrittenPart, always,
};

use super::{Model, facts, model, rows_of, store, stream};
use crate::lake::memory_lake;
use crate::support::seeds::seeds;

/// What one publication does.
struct Step {
    number: i64,
    /// `None`: everything is replaced.
    replaced: Option<BTreeSet<i64>>,
    new: Model,
    /// Where writers meet.
    borders: BTreeSet<i64>,
}

impl Step {
    /// The newest bucket, and some older ones.
    fn draw(number: i64, random: &mut StdRng) -> Self {
        let newest = number / 4;
        let mut replaced = BTreeSet::from([newest * 60]);
        for _ in 0..[0, 0, 1, 3][random.random_range(0..4)] {
            replaced.insert(random.random_range(0..=newest) * 60);
        }
        let mut new = Model::new();
        for bucket in &replaced {
            for channel in 0..random.random_range(0..4) {
                new.insert((*bucket, format!("c{channel}")), number);
            }
        }
        let borders = (0..random.random_range(0..4)).map(|_| random.random_range(0..newest + 2) * 60).collect();
        Self { number, replaced: (number > 1).then_some(replaced), new, borders }
    }

    fn ranges(&self) -> Option<BucketRanges> {
        let bucket = |start: &i64| (TimestampMicros(*start), TimestampMicros(*start + 1));
        self.replaced.as_ref().map(|replaced| replaced.iter().map(bucket).collect())
    }

    fn apply(&self, expected: &mut Model) {
        expected.retain(|(bucket, _), _| self.replaced.as_ref().is_some_and(|replaced| !replaced.contains(bucket)));
        expected.extend(self.new.clone());
    }

    async fn publish(
        &self,
        store: &BatchViewStore,
        on: Option<&BatchVersion>,
        borders: &BTreeSet<i64>,
    ) -> BatchVersion {
        let ranges = self.ranges();
        let edges: Vec<i64> = [i64::MIN].into_iter().chain(borders.iter().copied()).chain([i64::MAX]).collect();
        let mut parts: Vec<WrittenPart> = Vec::new();
        for edge in edges.windows(2) {
            let name = format!("{}-{}", self.number, parts.len());
            let (from, to) = (TimestampMicros(edge[0]), TimestampMicros(edge[1]));
            let part = PublicationPart { replaced: ranges.as_ref(), from, to, name: &name };
            let mut share = self.new.clone();
            share.retain(|(bucket, _), _| (edge[0]..edge[1]).contains(bucket));
            let written = store.write_part(on, &part, stream(store, &share)).await.unwrap();
            // Another process commits it.
            parts.push(serde_json::from_str(&serde_json::to_string(&written).unwrap()).unwrap());
        }
        let publication = Publication {
            replaced: ranges.as_ref(),
            parts: &parts,
            facts: facts(self.number),
            name: &format!("{}-joined", self.number),
            nonce: self.number as u128,
            may_commit: &always,
        };
        store.publish_parts(on, publication).await.unwrap()
    }
}

/// Least and largest bucket of each file, in order.
async fn ranges_of(version: &BatchVersion) -> Vec<(i64, i64)> {
    let mut ranges = Vec::new();
    for file in version.snapshot.files() {
        let rows = version.snapshot.read(std::slice::from_ref(file), None).await.unwrap();
        let buckets: Vec<i64> = rows
            .iter()
            .flat_map(|batch| {
                let column = arrow::array::AsArray::as_primitive::<arrow::datatypes::TimestampMicrosecondType>(
                    batch.column(0).as_ref(),
                );
                column.values().to_vec()
            })
            .collect();
        ranges.push((buckets[0], buckets[buckets.len() - 1]));
    }
    ranges.sort_unstable();
    ranges
}

#[tokio::test]
async fn five_hundred_rounds_of_several_writers_leave_about_the_files_of_one() {
    for seed in seeds(2) {
        let random = &mut StdRng::seed_from_u64(seed);
        let (alone, shared) = (store(&memory_lake(10)), store(&memory_lake(10)));
        let (mut by_one, mut by_many): (Option<BatchVersion>, Option<BatchVersion>) = (None, None);
        let mut expected = Model::new();
        for number in 1..=500 {
            let step = Step::draw(number, random);
            step.apply(&mut expected);
            let one = step.publish(&alone, by_one.as_ref(), &BTreeSet::new()).await;
            let many = step.publish(&shared, by_many.as_ref(), &step.borders).await;
            let [few, files] = [&one, &many].map(|version| version.snapshot.files().len());
            assert!(files <= few + few / 2 + 6, "step {number}: {files} files by several writers, {few} by one");
            if number % 50 == 0 {
                assert_eq!(rows_of(&many).await, expected, "step {number}");
                assert_eq!(rows_of(&one).await, expected, "step {number}");
                let ranges = ranges_of(&many).await;
                assert!(ranges.windows(2).all(|two| two[0].1 <= two[1].0), "step {number}: {ranges:?}");
            }
            (by_one, by_many) = (Some(one), Some(many));
        }
    }
}

#[tokio::test]
async fn small_files_of_several_writers_become_one() {
    let store = store(&memory_lake(10));
    let step = Step {
        number: 1,
        replaced: None,
        new: (0..6).map(|bucket| ((bucket * 60, "a".to_owned()), 1)).collect(),
        borders: (1..6).map(|bucket| bucket * 60).collect(),
    };
    let one = step.publish(&store, None, &step.borders).await;
    assert_eq!(one.snapshot.files().len(), 1, "six rows of six writers");
    assert_eq!(rows_of(&one).await, step.new);
}

#[tokio::test]
async fn a_part_holds_its_own_stretch_alone() {
    let store = store(&memory_lake(10));
    let rows = model(&[(0, "a", 1), (60, "a", 1)]);
    let (from, to) = (TimestampMicros(i64::MIN), TimestampMicros(60));
    let part = PublicationPart { replaced: None, from, to, name: "part" };
    let error = store.write_part(None, &part, stream(&store, &rows)).await.unwrap_err();
    assert!(error.to_string().contains("bucket 60 has rows, but is not to be replaced"), "{error}");
    assert!(store.newest().await.unwrap().is_none());
}

/// Parts that nobody wrote would lose what is carried over, and parts that overlap would double it.
#[tokio::test]
async fn only_parts_that_are_all_of_event_time_once_are_published() {
    let store = store(&memory_lake(10));
    let rows = model(&[(0, "a", 1), (60, "a", 1)]);
    let one = store.publish(None, None, stream(&store, &rows), facts(1), 1).await.unwrap();
    let replaced = BucketRanges::from(vec![(TimestampMicros(0), TimestampMicros(1))]);
    let edges = [i64::MIN, 60, i64::MAX].map(TimestampMicros);
    let mut parts: Vec<WrittenPart> = Vec::new();
    for (number, edge) in edges.windows(2).enumerate() {
        let name = format!("part-{number}");
        let part = PublicationPart { replaced: Some(&replaced), from: edge[0], to: edge[1], name: &name };
        let new = if number == 0 { model(&[(0, "b", 2)]) } else { Model::new() };
        parts.push(store.write_part(Some(&one), &part, stream(&store, &new)).await.unwrap());
    }
    let is_refused = |error: &ServingError| matches!(error, ServingError::Lake(LakeError::Refused { .. }));
    let doubled = [parts.clone(), parts[1..].to_vec()].concat();
    for wrong in [&parts[..0], &parts[..1], &parts[1..], &doubled[..]] {
        let error = publish(&store, &one, (wrong, &replaced), true).await.unwrap_err();
        assert!(is_refused(&error), "{error}");
    }
    // Written for another replacement than this one, which rewrites no file.
    let error = publish(&store, &one, (&parts, &BucketRanges::default()), true).await.unwrap_err();
    assert!(is_refused(&error) && error.to_string().contains("rewrite other files"), "{error}");
    let error = publish(&store, &one, (&parts, &replaced), false).await.unwrap_err();
    assert!(matches!(error, ServingError::Withdrawn { .. }), "{error}");
    assert_eq!(store.newest().await.unwrap().unwrap().number(), one.number());
    let two = publish(&store, &one, (&parts, &replaced), true).await.unwrap();
    assert_eq!(rows_of(&two).await, model(&[(0, "b", 2), (60, "a", 1)]));
}

async fn publish(
    store: &BatchViewStore,
    on: &BatchVersion,
    (parts, replaced): (&[WrittenPart], &BucketRanges),
    may_commit: bool,
) -> Result<BatchVersion, ServingError> {
    let may_commit = || futures::FutureExt::boxed(futures::future::ready(may_commit));
    let publication = Publication {
        replaced: Some(replaced),
        parts,
        facts: facts(2),
        name: "joined",
        nonce: 2,
        may_commit: &may_commit,
    };
    store.publish_parts(Some(on), publication).await
}
