//! Definitions that are applied on a plan: of two at once one is told, all views flip in one step where that is asked
//! for, and there is a way back.

use std::collections::BTreeMap;

use positions::DefinitionNumber;
use serving_layer::registry::{Applied, DefinitionRegistry, Flip};
use tokio::task::JoinSet;
use twofold::definitions::RunningDefinitions;
use views::Pipeline;

use super::{hashes_of, pipeline, with_static};
use crate::lake::{all_lakes, memory_lake};

/// Two views, of which both change with the measure.
fn two_views(measure: &str) -> Pipeline {
    let sql = format!(
        "CREATE UNBOUNDED EXTERNAL TABLE edits (time TIMESTAMP NOT NULL, page VARCHAR, added BIGINT)
         STORED AS JSON LOCATION 'kafka://edits' OPTIONS (event_time 'time');
         CREATE MATERIALIZED VIEW one AS SELECT page, {measure} AS number FROM edits GROUP BY page;
         CREATE MATERIALIZED VIEW two AS SELECT added, {measure} AS number FROM edits GROUP BY added;"
    );
    Pipeline::read(&sql, &BTreeMap::new()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_those_who_apply_at_once_one_wins_and_the_others_are_told() {
    let (lakes, _folder) = all_lakes(10);
    for lake in lakes {
        let registry = DefinitionRegistry::new(&lake);
        let first = registry.apply(&pipeline("count(*)"), None, Flip::OneByOne).await.unwrap();
        assert_eq!(first, Applied::Now(DefinitionNumber(1)));
        let mut tasks = JoinSet::new();
        for measure in ["sum(added)", "min(added)", "max(added)", "count(added)"] {
            let (registry, pipeline) = (registry.clone(), pipeline(measure));
            tasks.spawn(async move {
                (registry.apply(&pipeline, Some(DefinitionNumber(1)), Flip::OneByOne).await.unwrap(), pipeline)
            });
        }
        let applied = tasks.join_all().await;
        let winners: Vec<_> = applied.iter().filter(|(applied, _)| matches!(applied, Applied::Now(_))).collect();
        let [(Applied::Now(number), winner)] = winners.as_slice() else { panic!("{winners:?}") };
        let told = applied.iter().filter(|(applied, _)| *applied == Applied::Overtaken(*number)).count();
        assert_eq!(told, 3, "{applied:?}");
        assert_eq!(registry.present().await.unwrap().unwrap().newest_hashes().len(), 1);
        let again = registry.apply(winner, Some(DefinitionNumber(1)), Flip::OneByOne).await.unwrap();
        assert_eq!(again, Applied::Already(*number), "who applies what is present changes nothing");
    }
}

/// A source without views, or another number of partitions, is in no hash: processes have to hear of it nevertheless.
#[tokio::test]
async fn what_no_definition_depends_on_is_applied_as_well_and_builds_nothing() {
    let registry = DefinitionRegistry::new(&memory_lake(10));
    let first = pipeline("count(*)");
    registry.claim(&first).await.unwrap();
    registry.note_served(&hashes_of(&first), None).await.unwrap();
    let on = Some(DefinitionNumber(1));
    assert_eq!(registry.apply(&first, on, Flip::OneByOne).await.unwrap(), Applied::Already(DefinitionNumber(1)));
    let text = first.text.replace("event_time 'time'", "event_time 'time', partitions '7'");
    let more = Pipeline::read(&text, &BTreeMap::new()).unwrap();
    assert_eq!(hashes_of(&more), hashes_of(&first));
    let applied = registry.apply(&more, on, Flip::OneByOne).await.unwrap();
    assert_eq!(applied, Applied::Now(DefinitionNumber(3)));
    let set = registry.present().await.unwrap().unwrap();
    assert_eq!(set.being_built().count(), 0);
    assert_eq!(registry.pipeline(&set, set.number).await.unwrap().unwrap().sources[0].partitions, Some(7));
}

#[tokio::test]
async fn all_views_of_a_set_come_to_be_served_in_one_entry_where_that_is_asked_for() {
    let registry = DefinitionRegistry::new(&memory_lake(10));
    let (old, new) = (two_views("count(*)"), two_views("sum(added)"));
    registry.claim(&old).await.unwrap();
    registry.note_served(&hashes_of(&old), None).await.unwrap();
    for flip in [Flip::Together, Flip::OneByOne] {
        let pipeline = if flip == Flip::Together { &new } else { &old };
        let planned_on = registry.present().await.unwrap().unwrap().number;
        registry.apply(pipeline, Some(planned_on), flip).await.unwrap();
        let mut served = hashes_of(pipeline);
        let second = served.pop_last().unwrap();
        registry.note_served(&served, None).await.unwrap();
        let set = registry.present().await.unwrap().unwrap();
        let expected: &[&str] = if flip == Flip::Together { &["one", "two"] } else { &["two"] };
        assert_eq!(set.being_built().collect::<Vec<_>>(), expected);
        served.insert(second.0, second.1);
        registry.note_served(&served, None).await.unwrap();
        assert_eq!(registry.present().await.unwrap().unwrap().being_built().count(), 0);
    }
}

#[tokio::test]
async fn the_definitions_before_the_present_ones_are_found_again_with_their_files() {
    let registry = DefinitionRegistry::new(&memory_lake(10));
    assert!(registry.before_present(None).await.unwrap().is_none());
    let (old, new) = (with_static("ann"), with_static("bob"));
    registry.claim(&old).await.unwrap();
    registry.note_served(&hashes_of(&old), None).await.unwrap();
    assert!(registry.before_present(None).await.unwrap().is_none());
    registry.claim(&new).await.unwrap();
    registry.note_served(&hashes_of(&new), None).await.unwrap();
    for view in [None, Some("by_owner")] {
        let before = registry.before_present(view).await.unwrap().unwrap();
        let read = registry.pipeline(&before, before.number).await.unwrap().unwrap();
        assert_eq!(hashes_of(&read), hashes_of(&old));
        assert_eq!(read.static_files, old.static_files);
    }
    assert!(registry.before_present(Some("by_page")).await.unwrap().is_none(), "it never was another one");
    assert!(registry.before_present(Some("nobody")).await.unwrap().is_none());
}

#[tokio::test]
async fn a_role_of_its_own_registers_nothing_beside_others() {
    let lake = memory_lake(11);
    let registry = DefinitionRegistry::new(&lake);
    let start = async |measure: &str| RunningDefinitions::follow_at_start(&lake, pipeline(measure)).await.unwrap();
    assert_eq!(start("count(*)").await.number, DefinitionNumber(1), "the first one is registered by whoever comes");
    let beside = start("sum(added)").await;
    assert_eq!((beside.number, hashes_of(&beside.pipeline)), (DefinitionNumber(1), hashes_of(&pipeline("count(*)"))));
    assert_eq!(registry.present().await.unwrap().unwrap().number, DefinitionNumber(1));
    registry.claim(&pipeline("sum(added)")).await.unwrap();
    for measure in ["sum(added)", "count(*)", "max(added)"] {
        let started = start(measure).await;
        let is_present = hashes_of(&started.pipeline) == hashes_of(&pipeline("sum(added)"));
        assert_eq!((started.number, is_present), (DefinitionNumber(2), true), "{measure}");
    }
}
