//! Which batch version and which runs an answer is made of.

use std::sync::Arc;
use std::time::Duration;

use edge::{Principal, ProblemKind};
use positions::{Offset, PartitionId, SourceName, TimestampMicros};
use query_gateway::{Envelope, Gateway, GatewayError, GatewaySettings, Standstill};
use serving_layer::BlobKey;
use views::Pipeline;

use super::world::{World, check_against_fold, event, request};

/// Two partitions with some events each, in one run each.
async fn two_partitions() -> World {
    let world = World::new();
    world.send(0, [event(0, "A", "ann", 3), event(70, "B", "bob", 5)]);
    world.append_run(0).await;
    world.send(1, [event(1, "A", "cat", 7)]);
    world.append_run(1).await;
    world
}

async fn check(world: &World, view: &str) -> Envelope {
    let answer = world.rows(view, &[]).await.unwrap();
    if view == "by_page" {
        check_against_fold(world, &answer);
    }
    answer.envelope
}

fn offsets(pairs: &std::collections::BTreeMap<PartitionId, Offset>) -> Vec<i64> {
    pairs.values().map(|offset| offset.0).collect()
}

#[tokio::test]
async fn realtime_alone_answers_before_the_first_version() {
    let world = two_partitions().await;
    let envelope = check(&world, "by_page").await;
    assert_eq!((envelope.version, envelope.stale), (None, false));
    assert_eq!((offsets(&envelope.cut), offsets(&envelope.head)), (vec![0, 0], vec![2, 1]));
    assert_eq!((envelope.batch_rows, envelope.realtime_rows, envelope.realtime_share), (0, 3, 1.0));
}

#[tokio::test]
async fn the_newest_version_that_tiles_is_merged_with_the_runs_above_it() {
    let world = two_partitions().await;
    world.publish("by_page", &[2, 0]).await;
    world.send(0, [event(5, "A", "ann", 1), event(6, "C", "dan", 2)]);
    world.append_run(0).await;
    let newest = world.publish("by_page", &[2, 1]).await;
    let envelope = check(&world, "by_page").await;
    assert_eq!(envelope.version, Some(newest));
    assert_eq!((offsets(&envelope.cut), offsets(&envelope.head)), (vec![2, 1], vec![4, 1]));
    assert_eq!((envelope.batch_rows, envelope.realtime_rows, envelope.stale), (3, 2, false));
}

#[tokio::test]
async fn a_version_whose_cut_lies_inside_a_run_waits_for_the_next() {
    let world = two_partitions().await;
    let older = world.publish("by_page", &[2, 1]).await;
    world.send(0, [event(5, "A", "ann", 1), event(6, "C", "dan", 2)]);
    world.append_run(0).await;
    world.publish("by_page", &[3, 1]).await;
    let envelope = check(&world, "by_page").await;
    assert_eq!((envelope.version, envelope.stale), (Some(older), false));
    assert_eq!(offsets(&envelope.head), vec![4, 1]);
    let repaired = world.publish("by_page", &[4, 1]).await;
    assert_eq!(check(&world, "by_page").await.version, Some(repaired));
}

#[tokio::test]
async fn realtime_goes_on_alone_while_the_first_version_is_cut_inside_a_run() {
    let world = two_partitions().await;
    world.publish("by_page", &[1, 1]).await;
    let envelope = check(&world, "by_page").await;
    assert_eq!((envelope.version, envelope.stale), (None, false), "{envelope:?}");
    assert_eq!((offsets(&envelope.cut), offsets(&envelope.head)), (vec![0, 0], vec![2, 1]));
    world.send(0, [event(5, "A", "ann", 1), event(6, "C", "dan", 2)]);
    world.append_run(0).await;
    let envelope = check(&world, "by_page").await;
    assert_eq!((envelope.version, envelope.stale, offsets(&envelope.head)), (None, false, vec![4, 1]));
    let repaired = world.publish("by_page", &[4, 1]).await;
    let envelope = check(&world, "by_page").await;
    assert_eq!((envelope.version, envelope.stale, envelope.runs), (Some(repaired), false, 0));
}

/// A partition of which the realtime store holds nothing, or less than batch: without its version it would be missing.
#[tokio::test]
async fn realtime_does_not_go_on_alone_where_it_does_not_hold_everything() {
    let world = two_partitions().await;
    world.send(1, [event(7, "B", "eve", 3)]);
    let version = world.publish("by_page", &[1, 2]).await;
    let envelope = check(&world, "by_page").await;
    assert_eq!((envelope.version, offsets(&envelope.cut)), (Some(version), vec![1, 2]), "it holds less");
    assert!(envelope.stale && envelope.stale_reasons[0].contains("no run starts at 1"), "{envelope:?}");

    let world = two_partitions().await;
    world.send(2, [event(7, "B", "eve", 3)]);
    let version = world.publish_partitions("by_page", &[(0, 1), (1, 1), (2, 1)]).await;
    let envelope = check(&world, "by_page").await;
    assert_eq!((envelope.version, offsets(&envelope.cut)), (Some(version), vec![1, 1, 1]), "it holds nothing");
    assert!(envelope.stale, "{envelope:?}");
}

/// Of imported partitions there is no index that could say that the version before covers less of them.
#[tokio::test]
async fn a_version_of_before_an_import_does_not_stand_in_for_the_one_after_it() {
    let world = two_partitions().await;
    let imported = PartitionId::FIRST_IMPORTED;
    world.publish("by_page", &[2, 0]).await;
    check(&world, "by_page").await;
    world.send(imported.0, [event(1, "A", "gus", 2), event(2, "B", "hal", 4)]);
    world.send(0, [event(5, "A", "ann", 1), event(6, "C", "dan", 2)]);
    let newest = world.publish_partitions("by_page", &[(0, 3), (1, 1), (imported.0, 2)]).await;
    let heads = |envelope: &Envelope| (envelope.version, offsets(&envelope.head));
    assert_eq!(heads(&check(&world, "by_page").await), (Some(newest), vec![3, 1, 2]));

    // Now the cut lies inside a run, above which only the version before could be merged.
    world.append_run(0).await;
    let envelope = check(&world, "by_page").await;
    assert_eq!(heads(&envelope), (Some(newest), vec![3, 1, 2]));
    assert!(envelope.stale, "{envelope:?}");
    let next = world.publish_partitions("by_page", &[(0, 4), (1, 1), (imported.0, 2)]).await;
    let envelope = check(&world, "by_page").await;
    assert_eq!((heads(&envelope), envelope.stale), ((Some(next), vec![4, 1, 2]), false));
}

#[tokio::test]
async fn a_version_at_or_above_the_head_answers_alone() {
    let world = two_partitions().await;
    world.send(0, [event(9, "A", "eve", 4)]);
    let newest = world.publish("by_page", &[3, 1]).await;
    let envelope = check(&world, "by_page").await;
    assert_eq!((envelope.version, envelope.stale, envelope.runs), (Some(newest), false, 0));
    assert_eq!(offsets(&envelope.head), vec![3, 1]);
}

#[tokio::test]
async fn runs_that_leave_a_gap_are_not_answered_from() {
    let world = two_partitions().await;
    world.publish("by_page", &[1, 1]).await;
    world.send(0, [event(5, "A", "ann", 1)]);
    world.append_run(0).await;
    world.expire(0, 2).await;
    let envelope = check(&world, "by_page").await;
    assert!(envelope.stale);
    assert_eq!(offsets(&envelope.head), vec![1, 1]);
    assert!(envelope.stale_reasons[0].contains("partition 0: no run starts at 1"), "{:?}", envelope.stale_reasons);
}

#[tokio::test]
async fn the_head_is_kept_when_the_realtime_store_forgets() {
    let world = two_partitions().await;
    world.publish("by_page", &[1, 0]).await;
    world.publish("by_page", &[2, 0]).await;
    assert_eq!(offsets(&check(&world, "by_page").await.head), vec![2, 1]);
    world.memory.wipe();
    let envelope = check(&world, "by_page").await;
    assert!(envelope.stale);
    assert_eq!(offsets(&envelope.head), vec![2, 1]);
    let fresh = world.another_gateway().rows(&Principal::anyone(), request("by_page", &[])).await.unwrap();
    assert_eq!(offsets(&fresh.envelope.head), vec![2, 0]);
    world.publish("by_page", &[2, 1]).await;
    let envelope = check(&world, "by_page").await;
    assert_eq!((offsets(&envelope.head), envelope.stale), (vec![2, 1], false));
}

/// Another view of the source is dropped, so that the source is read anew.
fn successor(world: &World) -> Arc<Gateway> {
    let mut changed = Pipeline::clone(&world.pipeline);
    changed.views.retain(|view| view.name.as_str() == "by_page");
    world.gateway.successor(Arc::new(changed), Vec::new()).unwrap()
}

#[tokio::test]
async fn a_gateway_over_other_definitions_goes_on_from_what_the_one_before_has_shown() {
    let world = two_partitions().await;
    world.publish("by_page", &[2, 0]).await;
    assert_eq!(offsets(&check(&world, "by_page").await.head), vec![2, 1]);
    world.memory.wipe();
    let next = successor(&world);
    let ask = async || next.rows(&Principal::anyone(), request("by_page", &[])).await.unwrap();
    let answer = ask().await;
    check_against_fold(&world, &answer);
    assert_eq!((offsets(&answer.envelope.head), answer.envelope.stale), (vec![2, 1], true));
    world.publish("by_page", &[2, 1]).await;
    let answer = ask().await;
    assert_eq!((offsets(&answer.envelope.head), answer.envelope.stale), (vec![2, 1], false));
}

/// Between its reading of the stores and the moment from which it answers, the one before goes on.
#[tokio::test]
async fn what_was_shown_while_the_next_gateway_was_made_is_not_taken_back() {
    let world = two_partitions().await;
    world.publish("by_page", &[2, 0]).await;
    let next = successor(&world);
    next.complete_views().await;
    world.send(0, [event(5, "A", "ann", 1)]);
    world.append_run(0).await;
    assert_eq!(offsets(&check(&world, "by_page").await.head), vec![3, 1]);
    world.memory.wipe();
    next.take_over_from(&world.gateway);
    let ask = async |gateway: &Gateway| {
        let answer = gateway.rows(&Principal::anyone(), request("by_page", &[])).await.unwrap();
        check_against_fold(&world, &answer);
        (offsets(&answer.envelope.head), answer.envelope.stale)
    };
    assert_eq!(ask(&next).await, (vec![3, 1], true));
    world.send(0, [event(6, "A", "ann", 1)]);
    world.publish("by_page", &[4, 1]).await;
    assert_eq!(ask(&next).await, (vec![4, 1], false));
    // Whoever is on the way to the one before may not be shown more than the next one shows.
    assert_eq!(ask(&world.gateway).await, (vec![3, 1], false));
}

#[tokio::test]
async fn a_missing_blob_is_a_gap_and_never_an_empty_run() {
    let world = two_partitions().await;
    world.publish("by_page", &[2, 1]).await;
    world.send(0, [event(5, "A", "ann", 1)]);
    let lost = world.append_run(0).await;
    world.store.lose_blob(BlobKey { run: lost, view: world.view("by_page").hash });
    let envelope = check(&world, "by_page").await;
    assert!(envelope.stale_reasons[0].contains("has no blob"), "{:?}", envelope.stale_reasons);
    assert_eq!(offsets(&envelope.head), vec![2, 1]);
    world.store.find_blobs();
    let envelope = check(&world, "by_page").await;
    assert_eq!((offsets(&envelope.head), envelope.stale), (vec![3, 1], false));
}

#[tokio::test]
async fn answers_go_on_while_the_realtime_store_is_unreachable() {
    let world = two_partitions().await;
    world.publish("by_page", &[2, 0]).await;
    let fresh = world.another_gateway();
    world.store.set_up(false);
    let answer = fresh.rows(&Principal::anyone(), request("by_page", &[])).await.unwrap();
    check_against_fold(&world, &answer);
    assert!(answer.envelope.stale);
    assert_eq!(offsets(&answer.envelope.head), vec![2, 0]);
    // Told of, but no reason to ask elsewhere: it answers.
    assert_eq!(fresh.hindrances().await, Vec::<String>::new());
    let troubles = fresh.troubles().await;
    let told: Vec<_> = troubles.iter().map(|trouble| (&*trouble.kind, trouble.about.as_str())).collect();
    assert!(told.contains(&("realtime-store-unreadable", "source edits")), "{troubles:?}");
    assert!(told.contains(&("view-stale", "view by_page")), "{troubles:?}");
    world.store.set_up(true);
    let answer = fresh.rows(&Principal::anyone(), request("by_page", &[])).await.unwrap();
    assert_eq!((offsets(&answer.envelope.head), answer.envelope.stale), (vec![2, 1], false));
}

#[tokio::test]
async fn what_was_read_is_answered_from_while_the_store_is_down() {
    let world = two_partitions().await;
    world.publish("by_page", &[2, 0]).await;
    assert!(!check(&world, "by_page").await.stale);
    world.store.set_up(false);
    let envelope = check(&world, "by_page").await;
    assert_eq!((offsets(&envelope.head), envelope.stale), (vec![2, 1], true));
    world.store.set_up(true);
    assert!(!check(&world, "by_page").await.stale);
}

#[tokio::test]
async fn an_old_answer_is_marked_stale() {
    let world = two_partitions().await;
    assert!(!check(&world, "by_page").await.stale);
    world.clock.advance(Duration::from_secs(60));
    let envelope = check(&world, "by_page").await;
    assert!(envelope.stale_reasons[0].contains("60 seconds ago"), "{:?}", envelope.stale_reasons);
    assert_eq!(envelope.age_ms, Some(60_000));
}

#[tokio::test]
async fn a_view_that_nothing_covers_yet_is_being_built() {
    let world = World::new();
    let error = world.rows("totals", &[]).await.unwrap_err();
    assert!(matches!(&error, GatewayError::Building { view, .. } if view == "totals"), "{error}");
    world.send(0, [event(0, "A", "ann", 3)]);
    world.append_run_of(0, &["by_page"]).await;
    world.own(1).await;
    assert!(!check(&world, "by_page").await.stale);
    let error = world.rows("totals", &[]).await.unwrap_err();
    assert_eq!((error.problem().status().as_u16(), error.problem().retry_after_seconds()), (503, Some(1)));
    assert_eq!(world.gateway.hindrances().await, Vec::<String>::new());
    world.publish("totals", &[1, 0]).await;
    check(&world, "totals").await;
}

#[tokio::test]
async fn who_waits_for_a_view_is_told_to_ask_ever_less_often_and_at_last_where_to_look() {
    let world = World::new();
    let problem = async || world.rows("totals", &[]).await.unwrap_err().problem();
    for (passed, told, has_hint) in [(0, 1, false), (20, 20, false), (30, 50, false), (30, 60, true), (900, 60, true)] {
        world.clock.advance(Duration::from_secs(passed));
        let problem = problem().await;
        assert_eq!((problem.kind(), problem.retry_after_seconds()), (ProblemKind::BeingBuilt, Some(told)));
        assert_eq!(problem.hint().is_some_and(|hint| hint.contains("/v1/status")), has_hint, "{problem:?}");
    }
}

#[tokio::test]
async fn a_view_that_nobody_builds_is_not_said_to_be_being_built() {
    let world = World::new();
    world.send(0, [event(0, "A", "ann", 3)]);
    world.append_run_of(0, &["by_page"]).await;
    world.own(1).await;
    world.announce_partitions(&[0, 1]);
    let standstill = |is_for_good| Standstill {
        reason: "source edits has stopped: archive: the topic is another one".to_owned(),
        way_out: "call somebody".to_owned(),
        is_for_good,
    };
    let source = SourceName::new("edits");
    world.board.0.lock().unwrap().standstills.insert(source.clone(), standstill(true));
    world.gateway.status(&Principal::anyone()).await;
    let problem = world.rows("totals", &[]).await.unwrap_err().problem();
    assert_eq!((problem.kind(), problem.retry_after_seconds()), (ProblemKind::SourceStopped, None));
    assert_eq!(problem.hint(), Some("call somebody"));
    assert!(problem.detail().contains("the topic is another one"), "{}", problem.detail());
    let status = world.gateway.status(&Principal::anyone()).await;
    let totals = status.views.iter().find(|view| view.view == "totals").unwrap();
    assert_eq!(totals.state, "unavailable");
    // The other view is answered, and says why nothing comes any more.
    let envelope = check(&world, "by_page").await;
    assert!(envelope.stale && envelope.stale_reasons[0].contains("call somebody"), "{:?}", envelope.stale_reasons);
    assert_eq!(world.gateway.hindrances().await, Vec::<String>::new());

    // What passes by itself is only told with it.
    world.board.0.lock().unwrap().standstills.insert(source.clone(), standstill(false));
    world.gateway.status(&Principal::anyone()).await;
    let problem = world.rows("totals", &[]).await.unwrap_err().problem();
    assert_eq!((problem.kind(), problem.retry_after_seconds()), (ProblemKind::BeingBuilt, Some(1)));
    assert!(problem.detail().contains("call somebody"), "{}", problem.detail());
    world.board.0.lock().unwrap().standstills.remove(&source);
    world.gateway.status(&Principal::anyone()).await;
    assert!(!check(&world, "by_page").await.stale);
}

#[tokio::test]
async fn a_partition_that_appears_later_is_answered_from() {
    let world = two_partitions().await;
    world.send(4, [event(2, "D", "fay", 9)]);
    world.append_run(4).await;
    assert_eq!(offsets(&check(&world, "by_page").await.head), vec![2, 1]);
    world.announce_partitions(&[0, 1, 4]);
    world.gateway.status(&Principal::anyone()).await;
    assert_eq!(offsets(&check(&world, "by_page").await.head), vec![2, 1, 1]);
}

#[tokio::test]
async fn one_version_can_be_asked_for_by_its_number() {
    let world = two_partitions().await;
    let first = world.publish("by_page", &[1, 0]).await;
    world.publish("by_page", &[2, 1]).await;
    let answer = world.rows("by_page", &[("version", &first.to_string())]).await.unwrap();
    check_against_fold(&world, &answer);
    assert_eq!((answer.envelope.version, offsets(&answer.envelope.head)), (Some(first), vec![1, 0]));
    let error = world.rows("by_page", &[("version", "99")]).await.unwrap_err();
    assert_eq!(
        (error.problem().status().as_u16(), error.problem().known().to_vec()),
        (404, vec!["2".to_owned(), "1".to_owned()])
    );
    world.purge("by_page").await;
    let error = world.rows("by_page", &[("version", &first.to_string())]).await.unwrap_err();
    assert_eq!((error.problem().status().as_u16(), error.problem().known().to_vec()), (404, vec!["2".to_owned()]));
}

#[tokio::test]
async fn a_partition_that_nobody_has_read_makes_an_answer_stale() {
    let world = World::new();
    world.send(0, [event(0, "A", "ann", 3)]);
    world.append_run(0).await;
    for version in [None, Some(&[1][..]), Some(&[1, 0])] {
        if let Some(cuts) = version {
            world.publish("by_page", cuts).await;
        }
        let envelope = check(&world, "by_page").await;
        assert!(envelope.stale, "{version:?}");
        assert!(envelope.stale_reasons[0].starts_with("partition 1: not read to its end yet"), "{envelope:?}");
        assert_eq!((envelope.as_of, envelope.stale_reasons.len()), (None, 1), "{version:?}");
        assert!(world.sql("SELECT page FROM by_page").await.unwrap().envelope.stale);
    }
    world.own_as_of(1, TimestampMicros(0)).await;
    let envelope = check(&world, "by_page").await;
    assert_eq!((envelope.stale, envelope.as_of), (true, None), "a worker that has just begun does not know");
    world.own(1).await;
    let envelope = check(&world, "by_page").await;
    assert_eq!((envelope.stale, envelope.stale_reasons.len()), (false, 0), "an empty partition that is owned is known");
    assert!(envelope.as_of.is_some());
}

#[tokio::test]
async fn a_view_that_is_read_for_the_first_time_is_being_built_until_a_worker_has_seen_the_end() {
    let world = World::new();
    world.send(0, [event(0, "A", "ann", 3)]);
    for partition in [0, 1] {
        world.own_as_of(partition, TimestampMicros(0)).await;
    }
    let building = async |expected: &str| {
        let error = world.rows("by_page", &[]).await.unwrap_err();
        assert!(matches!(error, GatewayError::Building { .. }), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    };
    building("partition 0: it is read for the first time, and has come to offset 0").await;
    world.append_run(0).await;
    building("partition 1: it is read for the first time, and has come to offset 0").await;
    world.own(1).await;
    world.forget_end(0).await;
    building("partition 0: it is read for the first time, and has come to offset 1").await;
    world.send(0, [event(1, "A", "ann", 3)]);
    world.append_run(0).await;
    assert_eq!(offsets(&check(&world, "by_page").await.head), vec![2, 0]);
}

/// As after a restart that lost the store in memory, before there was a version.
#[tokio::test]
async fn a_former_definition_of_which_nothing_is_left_answers_nothing() {
    let world = World::new();
    world.send(0, [event(0, "A", "ann", 3)]);
    world.own(1).await;
    world.own_as_of(0, TimestampMicros(0)).await;
    let former = world.gateway_by_former();
    let ask = async || former.rows(&Principal::anyone(), request("by_page", &[])).await;
    let error = ask().await.unwrap_err();
    assert!(error.to_string().contains("partition 0: it is read for the first time"), "{error}");
    // The runs are of the present definition alone.
    world.append_run(0).await;
    let error = ask().await.unwrap_err();
    assert!(matches!(error, GatewayError::Building { .. }), "{error}");
    assert!(error.to_string().contains("no run of its former definition is left"), "{error}");
}

#[tokio::test]
async fn runs_that_follow_other_records_than_the_cut_are_not_answered_from() {
    let world = two_partitions().await;
    world.publish("by_page", &[2, 1]).await;
    world.send(0, [event(5, "A", "ann", 1)]);
    world.append_run(0).await;
    world.forge_last_run(0).await;
    let envelope = check(&world, "by_page").await;
    assert_eq!(offsets(&envelope.head), vec![2, 1]);
    assert!(envelope.stale_reasons[0].contains("does not follow the records"), "{:?}", envelope.stale_reasons);
    world.publish("by_page", &[3, 1]).await;
    assert!(!check(&world, "by_page").await.stale);
}

/// Groups enough that the states of one partition do not fit into the limit of the test below.
fn crowd(pages: &[&'static str]) -> Vec<super::world::Event> {
    let users = (0..2_000).map(|number| event(number * 60, pages[number as usize % pages.len()], "x", number));
    users.map(|event| super::world::Event { user: Some(format!("user-{}", event.amount())), ..event }).collect()
}

#[tokio::test]
async fn realtime_states_beyond_their_limit_are_left_to_batch() {
    let settings = GatewaySettings { realtime_memory_bytes: 64 << 10, ..GatewaySettings::default() };
    let world = World::with_settings(settings.clone());
    world.send(0, [event(0, "A", "ann", 3), event(70, "B", "bob", 5)]);
    world.append_run(0).await;
    world.send(1, [event(1, "A", "cat", 7)]);
    world.append_run(1).await;
    world.publish("by_page", &[1, 0]).await;
    world.publish("by_page", &[2, 0]).await;
    assert!(!check(&world, "by_page").await.stale);
    let newcomer = world.another_gateway_with(settings);

    world.send(0, crowd(&["A", "B", "C"]));
    world.append_run(0).await;
    for _ in 0..2 {
        let kept = check(&world, "by_page").await;
        assert_eq!(offsets(&kept.head), vec![2, 1], "the last answer that fits stays");
        assert!(kept.stale_reasons[0].contains("partition 0: its realtime states do not fit"), "{kept:?}");
        let first = newcomer.rows(&Principal::anyone(), request("by_page", &[("limit", "10000")])).await.unwrap();
        check_against_fold(&world, &first);
        assert_eq!(offsets(&first.envelope.head), vec![2, 1], "the partition that fits is answered to its head");
        assert!(first.envelope.stale);
    }
    let end = world.log_end(0);
    world.publish("by_page", &[end, 1]).await;
    let answer = world.rows("by_page", &[("limit", "10000")]).await.unwrap();
    check_against_fold(&world, &answer);
    assert_eq!((offsets(&answer.envelope.head), answer.envelope.stale), (vec![end, 1], false));
}
