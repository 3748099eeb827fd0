//! Tables of definitions that no set names are removed, and no other.

use std::collections::BTreeSet;
use std::sync::Arc;

use batch_layer::BatchContext;
use batch_layer::unnamed::remove_unnamed;
use lake::Lake;
use positions::{DefinitionHash, TimestampMicros};
use serving_layer::registry::DefinitionRegistry;
use views::Pipeline;

use super::{GRACE, hashes_of, in_graces, pipeline};
use crate::lake::memory_lake;
use crate::support::seams::{ManualClock, SeededIds};

fn hash_of(pipeline: &Pipeline) -> DefinitionHash {
    pipeline.views[0].hash
}

/// A process with this pipeline, by a clock that stands there.
fn context(lake: &Lake, pipeline: &Pipeline, now: TimestampMicros) -> BatchContext {
    let (clock, ids) = (Arc::new(ManualClock::at(now.0)), Arc::new(SeededIds::new(1)));
    BatchContext { lake: lake.clone(), pipeline: Arc::new(pipeline.clone()), clock, ids }
}

async fn folders(lake: &Lake) -> BTreeSet<String> {
    lake.folders("views").await.unwrap().into_iter().collect()
}

#[tokio::test]
async fn a_table_is_removed_once_no_set_and_no_process_names_its_definition() {
    let lake = memory_lake(10);
    let registry = DefinitionRegistry::new(&lake);
    let [first, second, third, fourth] = ["count(*)", "sum(added)", "min(added)", "max(added)"].map(pipeline);
    let table = |pipeline: &Pipeline| format!("by_page-{}", hash_of(pipeline));
    for folder in [table(&first), table(&second), table(&third), table(&fourth), "notes-of-somebody".to_owned()] {
        let path = lake.path(&format!("views/{folder}/_delta_log/00000000000000000000.json"));
        lake.put_once(&path, "{}".into()).await.unwrap();
    }
    let all = folders(&lake).await;
    assert_eq!(all.len(), 5);
    let later = in_graces(2);
    let remove = async |process: &Pipeline, now: TimestampMicros| {
        remove_unnamed(&context(&lake, process, now), &[], GRACE).await.unwrap()
    };
    assert!(remove(&fourth, later).await.is_empty(), "without a registry nothing is known");

    for claimed in [&first, &second, &third, &fourth] {
        registry.claim(claimed).await.unwrap();
        registry.note_served(&hashes_of(claimed), None).await.unwrap();
    }
    assert!(remove(&fourth, later).await.is_empty(), "all of them are in sets that are kept");
    registry.clean(1, GRACE, later).await.unwrap();
    assert!(remove(&fourth, in_graces(0)).await.is_empty(), "all of it is young");
    assert_eq!(remove(&first, later).await, [table(&second)], "an old process still runs the first one");
    assert_eq!(remove(&fourth, later).await, [table(&first)]);
    // The oldest entry of the set that is left says that the third one was served until the fourth was built.
    let left = [table(&third), table(&fourth), "notes-of-somebody".to_owned()];
    assert_eq!(folders(&lake).await, BTreeSet::from(left));
    assert!(remove(&fourth, later).await.is_empty());
}
