//! Definitions that are read, claimed or noted while somebody else applies others: nothing is taken for what it was.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lake::Lake;
use object_store::Result;
use object_store::memory::InMemory;
use object_store::path::Path;
use positions::{DefinitionHash, DefinitionNumber, TimestampMicros};
use serving_layer::registry::{DefinitionRegistry, FormerView};
use twofold::definitions::RunningDefinitions;

use super::{hashes_of, pipeline};
use crate::support::object_layer::{Layer, Layered};

/// What somebody applies right after the first request of a kind: a third definition of the view.
#[derive(Debug)]
struct Overtaken {
    inner: Arc<InMemory>,
    after: &'static str,
    is_due: AtomicBool,
}

impl Layer for Overtaken {
    type Inner = InMemory;

    fn inner(&self) -> &InMemory {
        &self.inner
    }

    async fn call<T: Send>(&self, name: &str, request: impl Future<Output = Result<T>> + Send) -> Result<T> {
        let answer = request.await;
        if name.starts_with(self.after) && self.is_due.swap(false, Ordering::SeqCst) {
            calm(&self.inner).claim(&pipeline("min(added)")).await.unwrap();
        }
        answer
    }
}

fn calm(objects: &Arc<InMemory>) -> DefinitionRegistry {
    DefinitionRegistry::new(&Lake::new(objects.clone(), Path::from("root")))
}

/// The first definition is served; the second one may be being built. Then the lake of somebody who is overtaken.
async fn world(is_building: bool, after: &'static str) -> (Arc<InMemory>, Lake) {
    let inner = Arc::new(InMemory::new());
    let registry = calm(&inner);
    let first = pipeline("count(*)");
    registry.claim(&first).await.unwrap();
    registry.note_served(&hashes_of(&first), None).await.unwrap();
    if is_building {
        registry.claim(&pipeline("sum(added)")).await.unwrap();
    }
    let layer = Overtaken { inner: inner.clone(), after, is_due: AtomicBool::new(true) };
    (inner, Lake::new(Arc::new(Layered::new(layer)), Path::from("root")))
}

fn hash_of(measure: &str) -> DefinitionHash {
    pipeline(measure).views[0].hash
}

fn hashes(views: &[FormerView]) -> Vec<DefinitionHash> {
    views.iter().map(|former| former.view.hash).collect()
}

#[tokio::test]
async fn a_set_is_read_with_its_own_former_definitions() {
    let (inner, lake) = world(true, "get").await;
    let read = RunningDefinitions::read_present(&DefinitionRegistry::new(&lake)).await.unwrap();
    assert_eq!(calm(&inner).present().await.unwrap().unwrap().number, DefinitionNumber(4), "somebody applied");
    assert_eq!((read.number, read.pipeline.views[0].hash), (DefinitionNumber(3), hash_of("sum(added)")));
    assert_eq!(hashes(&read.former), [hash_of("count(*)")], "what answers until it is built");
}

#[tokio::test]
async fn whoever_is_overtaken_while_claiming_runs_the_present_set() {
    let (_inner, lake) = world(false, "put").await;
    let claimed = RunningDefinitions::claim_at_start(&lake, pipeline("sum(added)")).await.unwrap();
    assert_eq!((claimed.number, claimed.pipeline.views[0].hash), (DefinitionNumber(4), hash_of("min(added)")));
    assert_eq!((hashes(&claimed.former), claimed.superseded_by), (vec![hash_of("count(*)")], None));
}

#[tokio::test]
async fn what_is_not_being_built_any_more_is_not_noted() {
    let (inner, _lake) = world(true, "").await;
    let registry = calm(&inner);
    let second = hashes_of(&pipeline("sum(added)"));
    let until = Some(TimestampMicros(1));
    registry.claim(&pipeline("count(*)")).await.unwrap();
    assert_eq!(registry.note_served(&second, until).await.unwrap(), BTreeMap::new());
    registry.claim(&pipeline("sum(added)")).await.unwrap();
    assert_eq!(registry.note_served(&second, until).await.unwrap(), second);
    assert_eq!(registry.note_served(&second, until).await.unwrap(), BTreeMap::new(), "it is known");
}
