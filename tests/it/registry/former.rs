//! The former definitions of views, as the registry gives them back.

use std::collections::BTreeMap;

use object_store::ObjectStoreExt;
use positions::DefinitionNumber;
use serving_layer::registry::DefinitionRegistry;
use views::Pipeline;

use super::{hashes_of, pipeline, with_static};
use crate::lake::memory_lake;

/// What answers while a view is being built, planned from what the registry keeps.
#[tokio::test]
async fn a_former_definition_is_planned_again_or_named_with_the_reason() {
    let lake = memory_lake(10);
    let registry = DefinitionRegistry::new(&lake);
    let (old, new) = (with_static("ann"), with_static("bob"));
    registry.claim(&old).await.unwrap();
    let former = async |pipeline: &Pipeline| {
        let set = registry.present().await.unwrap().unwrap();
        registry.former_views(&set, pipeline).await.unwrap()
    };
    assert!(former(&old).await.planned.is_empty(), "nothing was served yet");
    registry.note_served(&hashes_of(&old), None).await.unwrap();
    registry.claim(&new).await.unwrap();
    let found = former(&new).await;
    let planned: Vec<_> = found.planned.iter().map(|one| (one.view.name.as_str(), one.view.hash, one.set)).collect();
    let (by_owner, building) = (old.view("by_owner").unwrap(), new.view("by_owner").unwrap());
    assert_eq!(planned, [("by_owner", by_owner.hash, DefinitionNumber(1))], "the other view did not change");
    assert_eq!((found.planned[0].building, found.lost.len()), (building.hash, 0));
    assert!(found.planned[0].reads_as(&new.sources[0]));
    assert!(former(&old).await.planned.is_empty(), "the process of another set has none");

    // Without its static file it cannot be had.
    let set = registry.present().await.unwrap().unwrap();
    let name = set.file(DefinitionNumber(1)).unwrap().static_files["owners.csv"].object_name();
    lake.store().delete(&lake.path("definition-files").join(name)).await.unwrap();
    let found = former(&new).await;
    assert!(found.planned.is_empty() && found.lost[0].reason.contains("the object is missing"), "{:?}", found.lost);

    registry.note_served(&hashes_of(&new), None).await.unwrap();
    let found = former(&new).await;
    assert!(found.planned.is_empty() && found.lost.is_empty(), "it is served");
}

#[tokio::test]
async fn a_former_definition_answers_only_over_a_source_that_is_still_there() {
    for (from, to, told) in [
        ("edits", "changes", "its source edits is not defined any more"),
        ("kafka://edits", "kafka://other", "its source edits is read from topic other now, no longer from edits"),
    ] {
        let registry = DefinitionRegistry::new(&memory_lake(10));
        let old = pipeline("count(*)");
        registry.claim(&old).await.unwrap();
        registry.note_served(&hashes_of(&old), None).await.unwrap();
        let new = Pipeline::read(&old.text.replace(from, to), &BTreeMap::new()).unwrap();
        registry.claim(&new).await.unwrap();
        let set = registry.present().await.unwrap().unwrap();
        let found = registry.former_views(&set, &new).await.unwrap();
        assert_eq!(found.lost.iter().map(|lost| lost.reason.as_str()).collect::<Vec<_>>(), [told]);
        assert!(found.planned.is_empty());
    }
}
