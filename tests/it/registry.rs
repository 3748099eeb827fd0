//! The registry of definition sets: equal sets share a number, another set gets the next, in every object store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lake::Lake;
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use serving_layer::registry::DefinitionRegistry;
use views::Pipeline;

fn pipeline(measure: &str) -> Pipeline {
    let sql = format!(
        "CREATE UNBOUNDED EXTERNAL TABLE edits (time TIMESTAMP NOT NULL, page VARCHAR, added BIGINT)
         STORED AS JSON LOCATION 'kafka://edits' OPTIONS (event_time 'time');
         CREATE MATERIALIZED VIEW by_page AS SELECT page, {measure} AS number FROM edits GROUP BY page;"
    );
    Pipeline::read(&sql, &BTreeMap::new()).unwrap()
}

async fn check(store: Arc<dyn ObjectStore>) {
    let registry = DefinitionRegistry::new(&Lake::new(store.clone(), Path::from("root")));
    let claim = async |measure: &str| registry.claim(&pipeline(measure)).await.unwrap().0;
    assert_eq!(claim("count(*)").await, 1);
    assert_eq!(claim("count(*)").await, 1, "the same set keeps its number");
    assert_eq!(claim("sum(added)").await, 2);
    assert_eq!(claim("count(*)").await, 3, "going back is a newer set, not the old one");

    let measures = ["count(*)", "sum(added)", "min(added)", "max(added)", "count(added)"];
    let mut tasks = tokio::task::JoinSet::new();
    for measure in measures.into_iter().cycle().take(15) {
        let (registry, pipeline) = (registry.clone(), pipeline(measure));
        tasks.spawn(async move { (measure, registry.claim(&pipeline).await.unwrap().0) });
    }
    let claimed: BTreeSet<(&str, u64)> = tasks.join_all().await.into_iter().collect();
    let numbers: BTreeSet<u64> = claimed.iter().map(|(_, number)| *number).collect();
    assert_eq!(numbers.len(), claimed.len(), "no number was given to two sets: {claimed:?}");
}

#[tokio::test]
async fn equal_sets_share_a_number_in_memory() {
    check(Arc::new(InMemory::new())).await;
}

#[tokio::test]
async fn equal_sets_share_a_number_on_local_files() {
    let folder = tempfile::TempDir::new().unwrap();
    check(Arc::new(LocalFileSystem::new_with_prefix(folder.path()).unwrap())).await;
}
