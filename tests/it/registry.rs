//! The registry of definition sets: equal sets share a number, another set gets a higher one, in every object store;
//! what was claimed can be planned again; what is served and being built is kept, and what nobody needs is removed.

mod applying;
mod former;
mod overtaken;
mod unnamed;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::TryStreamExt;
use lake::{Lake, LakeError, Vacuumed};
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutOptions, PutPayload, PutResult};
use positions::{DefinitionHash, DefinitionNumber, TimestampMicros, ViewName};
use serving_layer::ServingError;
use serving_layer::registry::{DefinitionRegistry, DefinitionSet, Standing};
use views::Pipeline;

use crate::lake::{all_lakes, memory_lake};
use crate::support::object_layer::{Layer, Layered};

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

/// Whoever starts last does not win by that: what was present before and was replaced claims nothing.
#[tokio::test]
async fn definitions_of_the_past_claim_nothing_by_starting() {
    let lake = memory_lake(10);
    let registry = DefinitionRegistry::new(&lake);
    let start = async |measure: &str| registry.claim_at_start(&pipeline(measure)).await.unwrap();
    let present = |number| Standing::Present(DefinitionNumber(number));
    let past = |own, present| Standing::Past { own: DefinitionNumber(own), present: DefinitionNumber(present) };
    assert_eq!(start("count(*)").await, present(1));
    assert_eq!(start("sum(added)").await, present(2));
    assert_eq!(start("count(*)").await, past(1, 2));
    assert_eq!(start("sum(added)").await, present(2));
    assert_eq!(entries(&lake).await, 2, "nothing is written");
    assert_eq!(start("min(added)").await, present(3), "what was never there is new");
    assert_eq!(start("sum(added)").await, past(2, 3));

    // Asked for, they are present again, and what they replaced is of the past.
    assert_eq!(registry.claim(&pipeline("count(*)")).await.unwrap(), DefinitionNumber(4));
    assert_eq!(start("count(*)").await, present(4));
    assert_eq!(start("min(added)").await, past(3, 4));
    // Also once the old entries are gone, and a definition came to be served.
    registry.note_served(&hashes_of(&pipeline("count(*)")), None).await.unwrap();
    registry.clean(1, GRACE, in_graces(1)).await.unwrap();
    assert_eq!((start("sum(added)").await, start("min(added)").await), (past(2, 4), past(3, 4)));
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

/// The set is that of the pipeline, and its own file says so.
fn assert_is(set: &DefinitionSet, pipeline: &Pipeline) {
    let hashes: BTreeMap<&str, _> = pipeline.views.iter().map(|view| (view.name.as_str(), view.hash)).collect();
    assert_eq!(set.newest_hashes(), hashes);
    for state in set.views.values() {
        assert_eq!(state.building.or(state.served).unwrap().file, set.number);
    }
}

fn hashes_of(pipeline: &Pipeline) -> BTreeMap<ViewName, DefinitionHash> {
    pipeline.views.iter().map(|view| (view.name.clone(), view.hash)).collect()
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
    let name = set.files[0].static_files["owners.csv"].object_name();
    lake.store().put(&folder.clone().join(name.as_str()), "page,owner\n".into()).await.unwrap();
    let error = registry.pipeline(&set, number).await.unwrap_err();
    assert!(error.to_string().contains("its content is not what its name says"), "{error}");
    lake.store().delete(&folder.join(name)).await.unwrap();
    let error = registry.pipeline(&set, number).await.unwrap_err();
    assert!(matches!(&error, ServingError::Corrupt { .. }) && error.to_string().contains("missing"), "{error}");
}

/// The number of the newest entry.
async fn entries(lake: &Lake) -> u64 {
    lake.sequence("definitions").newest().await.unwrap().0
}

/// While a view is being built anew, its old file stands in the same set.
#[tokio::test]
async fn a_view_is_served_by_its_old_file_until_the_new_definition_is_noted_as_served() {
    let (lakes, _folder) = all_lakes(10);
    for lake in lakes {
        let registry = DefinitionRegistry::new(&lake);
        let (old, new) = (pipeline("count(*)"), pipeline("sum(added)"));
        registry.claim(&old).await.unwrap();
        let first = registry.present().await.unwrap().unwrap();
        assert_eq!(first.being_built().collect::<Vec<_>>(), ["by_page"], "nothing answers yet");
        assert_eq!(first.views["by_page"].served, None);

        registry.note_served(&hashes_of(&old), None).await.unwrap();
        let served = registry.present().await.unwrap().unwrap();
        assert_eq!((served.number, served.being_built().count()), (DefinitionNumber(1), 0));
        assert_eq!(registry.claim(&old).await.unwrap(), DefinitionNumber(1), "the number is that of the claim");
        registry.note_served(&hashes_of(&old), None).await.unwrap();
        assert_eq!(entries(&lake).await, 2, "nothing is written where nothing changes");

        assert_eq!(registry.claim(&new).await.unwrap(), DefinitionNumber(3));
        let set = registry.present().await.unwrap().unwrap();
        let state = &set.views["by_page"];
        for (defined, claimed) in [(state.served.unwrap(), &old), (state.building.unwrap(), &new)] {
            let read = registry.pipeline(&set, defined.file).await.unwrap().unwrap();
            assert_eq!(read.views[0].hash, defined.hash);
            assert_eq!(read.text, claimed.text);
        }
        assert_eq!(registry.claim(&new).await.unwrap(), DefinitionNumber(3), "it is being built already");
        registry.note_served(&hashes_of(&old), None).await.unwrap();
        assert_eq!(entries(&lake).await, 3, "that the old one answers is no news");

        registry.note_served(&hashes_of(&new), None).await.unwrap();
        let set = registry.present().await.unwrap().unwrap();
        assert_eq!((set.number, set.being_built().count()), (DefinitionNumber(3), 0));
        assert_is(&set, &new);
        assert_eq!(set.files.len(), 1, "no view comes from the old file any more");
        assert_eq!(registry.claim(&old).await.unwrap(), DefinitionNumber(5));
    }
}

#[tokio::test]
async fn going_back_before_the_new_definition_was_built_builds_nothing() {
    let registry = DefinitionRegistry::new(&memory_lake(10));
    let (old, new) = (pipeline("count(*)"), pipeline("sum(added)"));
    registry.claim(&old).await.unwrap();
    registry.note_served(&hashes_of(&old), None).await.unwrap();
    registry.claim(&new).await.unwrap();
    registry.claim(&old).await.unwrap();
    let set = registry.present().await.unwrap().unwrap();
    assert_eq!((set.number, set.being_built().count()), (DefinitionNumber(4), 0));
    assert_is(&set, &old);
    assert_eq!(set.files.len(), 1);
}

/// Those who see a definition answer note it at once; one entry says so.
#[tokio::test]
async fn gateways_that_note_the_same_at_once_make_one_entry() {
    let lake = memory_lake(10);
    let registry = DefinitionRegistry::new(&lake);
    registry.claim(&pipeline("count(*)")).await.unwrap();
    let served = hashes_of(&pipeline("count(*)"));
    let noted = futures::future::join_all((0..5).map(|_| registry.note_served(&served, None))).await;
    noted.into_iter().for_each(|noted| drop(noted.unwrap()));
    assert_eq!(entries(&lake).await, 2);
}

const GRACE: Duration = Duration::from_secs(60);

/// An instant so many graces from now, and a little more.
fn in_graces(count: u32) -> TimestampMicros {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    TimestampMicros(i64::try_from((since + count * GRACE).as_micros()).unwrap() + 1_000_000)
}

/// The names of the static files, and of what else lies beside them.
async fn static_objects(lake: &Lake) -> BTreeSet<String> {
    let objects = lake.store().list(Some(&lake.path("definition-files")));
    let names = objects.map_ok(|object| object.location.filename().unwrap().to_owned());
    names.try_collect().await.unwrap()
}

async fn check_clean(store: Arc<dyn ObjectStore>) {
    let lake = Lake::new(store, Path::from("root"));
    let registry = DefinitionRegistry::new(&lake);
    let mut names = Vec::new();
    for owner in ["ann", "bob", "cid"] {
        registry.claim(&with_static(owner)).await.unwrap();
        let set = registry.present().await.unwrap().unwrap();
        names.push(set.file(set.number).unwrap().static_files["owners.csv"].object_name());
    }
    // As a claim of the next set leaves it that dies before its entry, an earlier version, and somebody else.
    let to_come = names[0].replace("-0000000001", "-0000000004");
    let [by_content, foreign] = [names[0].replace("-0000000001", ""), "notes.txt".to_owned()];
    for name in [&to_come, &by_content, &foreign] {
        lake.store().put(&lake.path("definition-files").join(name.as_str()), "x".into()).await.unwrap();
    }
    let all: BTreeSet<String> = names.iter().chain([&to_come, &by_content, &foreign]).cloned().collect();

    let removed = registry.clean(2, GRACE, in_graces(0)).await.unwrap();
    assert_eq!((removed.objects, removed.log_objects), (0, 0), "all of it is young");
    assert_eq!(static_objects(&lake).await, all);

    let removed = registry.clean(2, GRACE, in_graces(1)).await.unwrap();
    assert_eq!((removed.objects, removed.log_objects), (2, 1), "the first set, its file, and what has no number");
    let kept = [&names[1], &names[2], &to_come, &foreign].map(String::clone);
    assert_eq!(static_objects(&lake).await, BTreeSet::from(kept));
    let set = registry.present().await.unwrap().unwrap();
    assert!(registry.pipeline(&set, set.number).await.unwrap().is_some());
    assert_eq!(registry.clean(2, GRACE, in_graces(1)).await.unwrap(), Vacuumed::default());

    // The number of the dead claim is given to another set: what was stored for it will never be named.
    assert_eq!(registry.claim(&with_static("dan")).await.unwrap(), DefinitionNumber(4));
    registry.clean(2, GRACE, in_graces(1)).await.unwrap();
    let objects = static_objects(&lake).await;
    assert!(!objects.contains(&to_come) && objects.contains(&names[2]) && objects.contains(&foreign), "{objects:?}");
    // A file that was removed is stored again for whoever claims it again.
    let again = registry.claim(&with_static("ann")).await.unwrap();
    let set = registry.present().await.unwrap().unwrap();
    let read = registry.pipeline(&set, again).await.unwrap().unwrap();
    assert_eq!(read.static_files, with_static("ann").static_files);
}

#[tokio::test]
async fn what_no_kept_set_names_is_removed_after_the_grace_in_memory() {
    check_clean(Arc::new(InMemory::new())).await;
}

#[tokio::test]
async fn what_no_kept_set_names_is_removed_after_the_grace_on_local_files() {
    let folder = tempfile::TempDir::new().unwrap();
    check_clean(Arc::new(LocalFileSystem::new_with_prefix(folder.path()).unwrap())).await;
}

#[tokio::test]
async fn a_static_file_that_stays_is_stored_once() {
    let lake = memory_lake(10);
    let registry = DefinitionRegistry::new(&lake);
    let first = with_static("ann");
    registry.claim(&first).await.unwrap();
    let text = first.text.replace("sum(added)", "max(added)");
    let changed = Pipeline::read(&text, &first.static_files).unwrap();
    assert_eq!(registry.claim(&changed).await.unwrap(), DefinitionNumber(2));
    assert_eq!(static_objects(&lake).await.len(), 1);
    registry.clean(1, GRACE, in_graces(1)).await.unwrap();
    let set = registry.present().await.unwrap().unwrap();
    assert_eq!(registry.pipeline(&set, set.number).await.unwrap().unwrap().text, changed.text);
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

/// A store that lets nobody put a static file, or has one there of which this client was not told.
#[derive(Debug)]
struct Guarded {
    inner: InMemory,
    is_denied: bool,
}

impl Layer for Guarded {
    type Inner = InMemory;

    fn inner(&self) -> &InMemory {
        &self.inner
    }

    async fn put(&self, location: &Path, payload: PutPayload, options: PutOptions) -> object_store::Result<PutResult> {
        let path = location.to_string();
        if !path.contains("definition-files") {
            return self.inner.put_opts(location, payload, options).await;
        }
        if self.is_denied {
            return Err(Error::PermissionDenied { path, source: "not yours".into() });
        }
        self.inner.put_opts(location, payload, options).await?;
        Err(Error::Precondition { path, source: "there is one".into() })
    }
}

fn guarded(is_denied: bool) -> DefinitionRegistry {
    let store = Layered::new(Guarded { inner: InMemory::new(), is_denied });
    DefinitionRegistry::new(&Lake::new(Arc::new(store), Path::from("root")))
}

#[tokio::test]
async fn a_store_that_denies_a_static_file_is_no_unreachable_one() {
    let error = guarded(true).claim(&with_static("ann")).await.unwrap_err();
    assert!(matches!(&error, ServingError::Lake(LakeError::Unusable { .. })), "{error}");
    assert!(error.to_string().contains("definition-files/"), "{error}");
}

#[tokio::test]
async fn a_static_file_whose_put_was_repeated_is_there() {
    assert_eq!(guarded(false).claim(&with_static("ann")).await.unwrap(), DefinitionNumber(1));
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

#[tokio::test]
async fn a_definition_is_replaced_once_the_present_set_neither_serves_nor_builds_it() {
    let registry = DefinitionRegistry::new(&memory_lake(10));
    assert!(registry.replaced().await.unwrap().is_empty());
    let [first, second, third] = ["count(*)", "sum(added)", "min(added)"].map(pipeline);
    let hash = |pipeline: &Pipeline| pipeline.views[0].hash;
    let served = |pipeline: &Pipeline| BTreeMap::from([(ViewName::new("by_page"), hash(pipeline))]);
    registry.claim(&first).await.unwrap();
    registry.note_served(&served(&first), None).await.unwrap();
    registry.claim(&second).await.unwrap();
    assert!(registry.replaced().await.unwrap().is_empty(), "one answers, the other is being built");
    registry.claim(&third).await.unwrap();
    assert_eq!(registry.replaced().await.unwrap(), BTreeSet::from([hash(&second)]), "it never answered");
    registry.note_served(&served(&third), None).await.unwrap();
    assert_eq!(registry.replaced().await.unwrap(), BTreeSet::from([hash(&first), hash(&second)]));
    registry.claim(&first).await.unwrap();
    assert_eq!(registry.replaced().await.unwrap(), BTreeSet::from([hash(&second)]), "it is being built again");
}
