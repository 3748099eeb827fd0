//! The registry of definition sets: equal sets share a number, another set gets the next, in every object store; and
//! what was claimed can be planned again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lake::Lake;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use positions::DefinitionNumber;
use serving_layer::ServingError;
use serving_layer::registry::{DefinitionRegistry, DefinitionSet};
use views::Pipeline;

use crate::lake::{all_lakes, memory_lake};

fn pipeline(measure: &str) -> Pipeline {
    let sql = format!(
        "CREATE UNBOUNDED EXTERNAL TABLE edits (time TIMESTAMP NOT NULL, page VARCHAR, added BIGINT)
         STORED AS JSON LOCATION 'kafka://edits' OPTIONS (event_time 'time');
         CREATE MATERIALIZED VIEW by_page AS SELECT page, {measure} AS number FROM edits GROUP BY page;"
    );
    Pipeline::read(&sql, &BTreeMap::new()).unwrap()
}

async fn check(store: Arc<dyn ObjectStore>) {
    check_lake(&Lake::new(store, Path::from("root"))).await;
}

async fn check_lake(lake: &Lake) {
    let registry = DefinitionRegistry::new(lake);
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn equal_sets_share_a_number_on_every_store() {
    let (lakes, _folder) = all_lakes(10);
    for lake in lakes {
        check_lake(&lake).await;
    }
}

/// A pipeline with a static table, and the bytes of that.
fn with_static(owner: &str) -> Pipeline {
    let sql = "CREATE UNBOUNDED EXTERNAL TABLE edits (time TIMESTAMP NOT NULL, page VARCHAR, added BIGINT)
         STORED AS JSON LOCATION 'kafka://edits' OPTIONS (event_time 'time');
         CREATE EXTERNAL TABLE owners (page VARCHAR, owner VARCHAR) STORED AS CSV LOCATION 'owners.csv'
         OPTIONS (has_header 'true');
         -- a comment stays, too
         CREATE MATERIALIZED VIEW by_owner AS SELECT owner, count(*) AS number
         FROM edits JOIN owners ON edits.page = owners.page GROUP BY owner;
         CREATE MATERIALIZED VIEW by_page AS SELECT page, sum(added) AS added FROM edits GROUP BY page;";
    let csv = format!("page,owner\nmain,{owner}\n");
    let files = [("owners.csv".to_owned(), csv.into()), ("foreign.csv".to_owned(), "x".into())];
    Pipeline::read(sql, &BTreeMap::from(files)).unwrap()
}

fn assert_is(set: &DefinitionSet, pipeline: &Pipeline) {
    let hashes: BTreeMap<&str, _> = pipeline.views.iter().map(|view| (view.name.as_str(), view.hash)).collect();
    assert_eq!(set.newest_hashes(), hashes);
    for state in set.views.values() {
        assert!(state.building.is_none());
        assert_eq!(state.served.unwrap().file, set.number);
    }
}

#[tokio::test]
async fn what_was_claimed_is_planned_again_with_the_same_hashes() {
    let (lakes, _folder) = all_lakes(10);
    for lake in lakes {
        let registry = DefinitionRegistry::new(&lake);
        assert_eq!(registry.present().await.unwrap(), None);
        for (owner, number) in [("ann", 1), ("bob", 2), ("ann", 3)] {
            let claimed = with_static(owner);
            assert_eq!(registry.claim(&claimed).await.unwrap(), DefinitionNumber(number));
            let set = registry.present().await.unwrap().unwrap();
            assert_is(&set, &claimed);
            let read = registry.pipeline(&set, set.number).await.unwrap().unwrap();
            assert_is(&set, &read);
            assert_eq!((&read.text, &read.static_files), (&claimed.text, &claimed.static_files));
            assert_eq!(read.static_files.keys().collect::<Vec<_>>(), ["owners.csv"], "only what the text names");
            let columns = &set.file(set.number).unwrap().sources["edits"];
            let columns: Vec<_> = columns.iter().map(|column| (column.name.as_str(), column.is_nullable)).collect();
            assert_eq!(columns, [("time", false), ("page", true), ("added", true)]);
            assert_eq!(registry.pipeline(&set, DefinitionNumber(99)).await.unwrap().map(|read| read.text), None);
        }
    }
}

#[tokio::test]
async fn a_file_that_reads_otherwise_than_it_was_stored_is_refused() {
    let lake = memory_lake(10);
    let registry = DefinitionRegistry::new(&lake);
    let number = registry.claim(&with_static("ann")).await.unwrap();
    let set = registry.present().await.unwrap().unwrap();
    let mut other = set.clone();
    other.files[0].text = other.files[0].text.replace("sum(added)", "max(added)");
    let error = registry.pipeline(&other, number).await.unwrap_err();
    assert!(error.to_string().contains("view by_page has another hash"), "{error}");

    let folder = lake.path("definition-files");
    let digest = set.files[0].static_files["owners.csv"].digest.clone();
    lake.store().put(&folder.clone().join(digest.as_str()), "page,owner\n".into()).await.unwrap();
    let error = registry.pipeline(&set, number).await.unwrap_err();
    assert!(error.to_string().contains("its content is not what its name says"), "{error}");
    lake.store().delete(&folder.join(digest)).await.unwrap();
    let error = registry.pipeline(&set, number).await.unwrap_err();
    assert!(matches!(&error, ServingError::Corrupt { .. }) && error.to_string().contains("missing"), "{error}");
}

/// While a view is being built anew, its old file stands in the same set.
#[tokio::test]
async fn a_view_may_be_served_by_another_file_than_the_one_that_is_being_built() {
    let lake = memory_lake(10);
    let registry = DefinitionRegistry::new(&lake);
    let (old, new) = (pipeline("count(*)"), pipeline("sum(added)"));
    registry.claim(&old).await.unwrap();
    let mut both = registry.present().await.unwrap().unwrap();
    registry.claim(&new).await.unwrap();
    let newest = registry.present().await.unwrap().unwrap();
    both.number = DefinitionNumber(3);
    both.files.extend(newest.files.clone());
    both.views.get_mut("by_page").unwrap().building = newest.views["by_page"].served;
    let object = lake.path("definitions/0000000003.json");
    lake.store().put(&object, serde_json::to_vec(&both).unwrap().into()).await.unwrap();

    let set = registry.present().await.unwrap().unwrap();
    assert_eq!(set, both);
    let state = &set.views["by_page"];
    for (defined, claimed) in [(state.served.unwrap(), &old), (state.building.unwrap(), &new)] {
        let read = registry.pipeline(&set, defined.file).await.unwrap().unwrap();
        assert_eq!(read.views[0].hash, defined.hash);
        assert_eq!(read.text, claimed.text);
    }
    assert_eq!(registry.claim(&new).await.unwrap(), DefinitionNumber(3), "it is being built already");
    assert_eq!(registry.claim(&old).await.unwrap(), DefinitionNumber(4));
}

/// Objects as earlier versions wrote them: a number and hashes, no file.
#[tokio::test]
async fn registries_of_earlier_versions_are_gone_on_with() {
    let (lakes, _folder) = all_lakes(10);
    for lake in lakes {
        let registry = DefinitionRegistry::new(&lake);
        for (number, measure) in [(1, "count(*)"), (2, "sum(added)")] {
            let views = BTreeMap::from([("by_page", pipeline(measure).views[0].hash)]);
            let text = serde_json::to_vec_pretty(&serde_json::json!({"number": number, "views": views})).unwrap();
            lake.store().put(&lake.path(&format!("definitions/{number:010}.json")), text.into()).await.unwrap();
        }
        assert_eq!(registry.claim(&pipeline("sum(added)")).await.unwrap(), DefinitionNumber(2));
        let set = registry.present().await.unwrap().unwrap();
        assert_is(&set, &pipeline("sum(added)"));
        assert!(registry.pipeline(&set, set.number).await.unwrap().is_none(), "its file was not kept");
        assert_eq!(registry.claim(&pipeline("count(*)")).await.unwrap(), DefinitionNumber(3));
        assert_eq!(registry.claim(&pipeline("count(*)")).await.unwrap(), DefinitionNumber(3));
    }
}

#[tokio::test]
async fn an_object_that_is_no_definition_set_is_named() {
    let lake = memory_lake(10);
    let registry = DefinitionRegistry::new(&lake);
    lake.store().put(&lake.path("definitions/0000000001.json"), "{\"views\": 7}".into()).await.unwrap();
    let error = registry.claim(&pipeline("count(*)")).await.unwrap_err();
    assert!(matches!(&error, ServingError::Corrupt { .. }), "{error}");
    assert!(error.to_string().contains("definitions/0000000001.json"), "{error}");
}
