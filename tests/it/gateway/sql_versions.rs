//! Batch versions of a view in SQL: `by_page@1` beside `by_page@2`, and beside the view as it is answered.

use edge::{Names, Principal};
use query_gateway::{GatewayError, GatewaySettings, Layer};
use serving_layer::Version;

use super::sql::{check, fill, world};
use super::world::World;
use crate::support::principals::reader;

#[tokio::test]
async fn a_version_of_a_view_is_a_table_of_what_it_held() {
    for (sql, rows) in [
        ("SELECT sum(edits) AS n FROM by_page@1", r#"[{"n":2}]"#),
        ("SELECT sum(edits) AS n FROM by_page@2", r#"[{"n":3}]"#),
        ("SELECT sum(edits) AS n FROM by_page", r#"[{"n":5}]"#),
        ("SELECT sum(edits) AS n FROM twofold.public.\"by_page@1\" AS v", r#"[{"n":2}]"#),
        (
            "SELECT a.page, a.edits AS one, b.edits AS two FROM by_page@1 a JOIN by_page@2 b \
             ON a.page = b.page AND a.hour = b.hour WHERE a.edits <> b.edits",
            r#"[{"page":"A","one":1,"two":2}]"#,
        ),
        (
            "SELECT (SELECT MEASURE(edits) FROM by_page) - (SELECT MEASURE(edits) FROM by_page@1) AS since",
            r#"[{"since":3}]"#,
        ),
    ] {
        check(sql, rows).await;
    }
}

#[tokio::test]
async fn the_envelope_of_a_version_says_which_it_is_and_holds_no_realtime_states() {
    let world = world().await;
    let answer = world.sql("SELECT count(*) AS n FROM by_page@1 CROSS JOIN by_page").await.unwrap();
    let of_version = &answer.envelope.views["by_page@1"];
    assert_eq!((of_version.version, of_version.layer, of_version.runs), (Some(Version(1)), Layer::Batch, 0));
    assert_eq!(answer.envelope.views["by_page"].layer, Layer::Merged);
}

#[tokio::test]
async fn a_version_has_the_columns_of_its_view_and_is_in_no_list_of_names() {
    let world = world().await;
    let of_view = world.sql("DESCRIBE by_page").await.unwrap().rows;
    assert_eq!(world.sql("DESCRIBE by_page@1").await.unwrap().rows, of_view);
    let listed = world.sql("SHOW TABLES").await.unwrap().to_json().unwrap();
    assert!(listed.contains("by_page") && !listed.contains('@'), "{listed}");
}

#[tokio::test]
async fn a_version_that_is_not_there_is_refused_with_those_that_are() {
    let world = world().await;
    let error = world.sql("SELECT * FROM by_page@99").await.unwrap_err().problem();
    assert_eq!((error.status().as_u16(), error.known().to_vec()), (404, vec!["2".to_owned(), "1".to_owned()]));
    for sql in ["SELECT * FROM nothing@1", "SELECT * FROM by_page@one", "SELECT * FROM by_page@"] {
        let error = world.sql(sql).await.unwrap_err().problem();
        assert!(error.known().contains(&"by_page".to_owned()), "{sql}: {:?}", error.known());
    }
}

#[tokio::test]
async fn versions_count_towards_the_memory_of_sql() {
    let world = World::with_settings(GatewaySettings { sql_memory_bytes: 64, ..GatewaySettings::default() });
    fill(&world).await;
    world.publish("by_page", &[3, 0]).await;
    let error = world.sql("SELECT 1 AS one FROM by_page@1").await.unwrap_err();
    assert!(matches!(error, GatewayError::TooLarge { .. }), "{error}");
    assert!(error.to_string().contains("by_page@1"), "{error}");
}

/// Bytes of states of the view in memory, as a principal is told.
async fn memory(world: &World, principal: &Principal) -> Vec<usize> {
    let status = world.gateway.status(principal).await;
    let view = status.views.iter().find(|view| view.view == "by_page").unwrap();
    let of_answering = world.view("by_page").hash.to_string();
    assert!(view.memory_bytes.keys().all(|hash| *hash == of_answering), "{:?}", view.memory_bytes);
    view.memory_bytes.values().copied().collect()
}

#[tokio::test]
async fn what_a_view_takes_in_memory_is_told_to_who_operates_and_grows_with_versions_that_are_named() {
    let world = world().await;
    let before = memory(&world, &Principal::anyone()).await;
    assert!(before.len() == 1 && before[0] > 0, "{before:?}");
    world.sql("SELECT count(*) AS n FROM by_page@1").await.unwrap();
    let after = memory(&world, &Principal::anyone()).await;
    assert!(after[0] > before[0], "{before:?} {after:?}");
    assert_eq!(memory(&world, &reader(Names::All, &[])).await, Vec::<usize>::new());
}
