//! Places for SQL queries and the line in front of them: who waits, who is turned away, and that nobody starves.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use edge::Principal;
use query_gateway::{Entered, FairQueue, GatewayError, GatewaySettings, SqlRequest, Ticket};
use tokio::task::JoinSet;

use super::world::{World, event};

fn waits(entered: Entered) -> Ticket {
    let Entered::Waits { ticket, displaced: None } = entered else { panic!("{entered:?}") };
    ticket
}

#[test]
fn nobody_waits_while_a_place_is_free_and_nobody_comes_in_beyond_the_line() {
    let mut queue = FairQueue::new(2, 2);
    assert_eq!([queue.enter(&1), queue.enter(&1)], [Entered::Runs; 2]);
    let (first, second) = (waits(queue.enter(&1)), waits(queue.enter(&1)));
    assert_eq!(queue.enter(&1), Entered::Full);
    assert_eq!((queue.running(), queue.waiting()), (2, 2));
    assert_eq!([queue.finish(), queue.finish(), queue.finish()], [Some(first), Some(second), None]);
    assert_eq!((queue.running(), queue.waiting()), (1, 0));
    assert_eq!(queue.finish(), None);
    assert_eq!(queue.enter(&1), Entered::Runs);
}

#[test]
fn places_that_there_are_none_of_are_not_waited_for() {
    assert_eq!(FairQueue::new(0, 5).enter(&1), Entered::Full);
    let mut queue = FairQueue::new(1, 0);
    assert_eq!([queue.enter(&1), queue.enter(&2)], [Entered::Runs, Entered::Full]);
}

#[test]
fn clients_are_called_in_turn_however_many_each_sends() {
    let mut queue = FairQueue::new(1, 10);
    assert_eq!(queue.enter(&"flood"), Entered::Runs);
    let flood: Vec<Ticket> = (0..4).map(|_| waits(queue.enter(&"flood"))).collect();
    let (one, other) = (waits(queue.enter(&"one")), waits(queue.enter(&"other")));
    let called: Vec<Option<Ticket>> = (0..6).map(|_| queue.finish()).collect();
    assert_eq!(called, [flood[0], one, other, flood[1], flood[2], flood[3]].map(Some));
}

#[test]
fn a_full_line_makes_room_for_who_has_less_in_it() {
    let mut queue = FairQueue::new(1, 3);
    assert_eq!(queue.enter(&1), Entered::Runs);
    let flood: Vec<Ticket> = (0..3).map(|_| waits(queue.enter(&1))).collect();
    let Entered::Waits { ticket, displaced } = queue.enter(&2) else { panic!("turned away") };
    assert_eq!(displaced, Some(flood[2]), "the newest of the largest");
    assert!(!queue.leave(&1, flood[2]), "it is gone");
    assert_eq!(queue.enter(&2), Entered::Full, "both would have as many then");
    assert_eq!(queue.waiting(), 3);
    assert!(queue.leave(&2, ticket) && !queue.leave(&2, ticket));
    assert_eq!([queue.finish(), queue.finish(), queue.finish()], [Some(flood[0]), Some(flood[1]), None]);
}

async fn world(settings: GatewaySettings) -> World {
    let world = World::with_settings(settings);
    world.send(0, (0..60).map(|minute| event(minute * 7, ["A", "B", "C"][minute as usize % 3], "ann", minute)));
    world.append_run(0).await;
    world.own(1).await;
    world
}

const PANEL: &str = "SELECT date_bin(INTERVAL '5 minutes', hour) AS time, page, sum(edits) AS c, MEASURE(editors) AS u \
                     FROM by_page GROUP BY 1, 2 ORDER BY 1";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dashboard_that_is_opened_twice_is_answered_whole() {
    let world = world(GatewaySettings::default()).await;
    for _ in 0..3 {
        let mut panels = JoinSet::new();
        for _ in 0..24 {
            let gateway = world.gateway.clone();
            panels.spawn(async move {
                gateway.sql(&Principal::anyone(), SqlRequest::new(PANEL)).await.map(|answer| answer.rows.num_rows())
            });
        }
        let mut rows = Vec::new();
        while let Some(panel) = panels.join_next().await {
            rows.push(panel.unwrap().unwrap());
        }
        assert_eq!(rows.len(), 24);
        assert!(rows.iter().all(|found| *found == rows[0]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn places_and_line_are_free_again_after_whatever_happened_to_a_query() {
    let settings = GatewaySettings { max_sql_queries: 1, sql_queue: 4, ..GatewaySettings::default() };
    let world = world(settings).await;
    for _ in 0..20 {
        let gateway = world.gateway.clone();
        let mut queries = JoinSet::new();
        for address in 0..5 {
            let client = Some(IpAddr::V4(Ipv4Addr::new(10, 0, 0, address)));
            let request = SqlRequest { client, ..SqlRequest::new(PANEL) };
            let gateway = gateway.clone();
            queries.spawn(async move { gateway.sql(&Principal::anyone(), request).await.map(|_| ()) });
        }
        // The clients leave while some run and some wait.
        tokio::task::yield_now().await;
        queries.shutdown().await;
        for sql in [PANEL, "SELECT no_such FROM by_page", "SELECT 1 / (edits - edits) AS x FROM by_page"] {
            let answer = world.sql(sql).await;
            assert!(!matches!(answer, Err(GatewayError::Overloaded { .. })), "{sql}");
        }
    }
}

#[tokio::test]
async fn who_finds_no_place_in_time_is_told_to_come_again() {
    let sql = "SELECT page FROM by_page LIMIT 1";
    for (settings, setting) in [
        (GatewaySettings { max_sql_queries: 0, ..GatewaySettings::default() }, "gateway.max_sql_queries"),
        (GatewaySettings { max_sql_queries: 1, sql_queue: 0, ..GatewaySettings::default() }, "gateway.max_sql_queries"),
        (GatewaySettings { max_sql_queries: 1, sql_queue: 1, ..GatewaySettings::default() }, "gateway.sql_queue"),
        (
            GatewaySettings { max_sql_queries: 1, sql_queue_wait: Duration::ZERO, ..GatewaySettings::default() },
            "gateway.max_sql_queries",
        ),
    ] {
        let world = world(settings).await;
        let all = futures::future::join_all((0..12).map(|_| world.sql(sql))).await;
        let refused: Vec<GatewayError> = all.into_iter().filter_map(Result::err).collect();
        assert!(!refused.is_empty(), "{setting}");
        for error in refused {
            assert!(error.to_string().contains(setting), "{setting}: {error}");
            assert_eq!((error.problem().status().as_u16(), error.problem().retry_after_seconds()), (429, Some(1)));
        }
    }
}
