//! Columns that were never seen while a near key was: told by the archive until they are.

use std::collections::BTreeMap;
use std::time::Duration;

use batch_layer::archive::{ArchiveSettings, UnseenColumn, run_archive};
use event_log::{EventLog, NewRecord, PollLimit};
use positions::{Clock, Offset, PartitionId};
use tokio_util::sync::CancellationToken;

use super::world::{START, end_of, wait_until};
use crate::support::surroundings::Surroundings;

const PIPELINE: &str = "
CREATE UNBOUNDED EXTERNAL TABLE hits (time TIMESTAMP NOT NULL, user_id BIGINT, page VARCHAR)
STORED AS JSON LOCATION 'kafka://hits' OPTIONS (event_time 'time', partitions '1');
";

fn event(rest: &str) -> String {
    format!(r#"{{"time":"2023-11-14T22:13:20Z"{rest}}}"#)
}

/// Archives these payloads, one group after the other; what was told once each group was archived.
async fn told_after(pipeline: &str, groups: &[Vec<String>]) -> Vec<Vec<UnseenColumn>> {
    let surroundings = Surroundings::new(pipeline, START, 1);
    surroundings.log.ensure_topic("hits", 1).await.unwrap();
    let (components, told) = surroundings.archive_components();
    let settings = ArchiveSettings {
        commit_interval: Duration::ZERO,
        poll: PollLimit { records: 1_000, bytes: 1 << 20, wait: Duration::from_millis(2) },
        ..ArchiveSettings::default()
    };
    let shutdown = CancellationToken::new();
    let (mut end, mut found) = (0, Vec::new());
    let sending = async {
        for group in groups {
            let timestamp = surroundings.clock.now();
            let record = |payload: &String| NewRecord {
                key: None,
                payload: payload.clone().into(),
                timestamp,
                clock_shift: None,
            };
            surroundings.log.append("hits", group.iter().map(record).collect()).await;
            end += group.len() as i64;
            wait_until(told.clone(), |status| end_of(status, PartitionId(0)) == Offset(end)).await;
            found.push(told.borrow().unseen.clone());
        }
        shutdown.cancel();
    };
    let (ended, ()) = tokio::join!(run_archive(components, settings, shutdown.clone()), sending);
    ended.unwrap();
    found
}

fn unseen(column: &str, keys: &[(&str, u64)]) -> UnseenColumn {
    let keys: BTreeMap<String, u64> = keys.iter().map(|(key, payloads)| (key.to_string(), *payloads)).collect();
    UnseenColumn { column: column.to_owned(), keys }
}

#[tokio::test]
async fn a_column_is_told_while_its_values_come_under_another_key_and_no_longer() {
    let (near, null) = (event(r#","userId":7,"page":"/""#), event(r#","user_id":null,"page":"/""#));
    let groups = [
        vec![event(r#","page":"/""#)],
        vec![near.clone(), near.clone()],
        vec![null, near.clone()],
        vec![event(r#","USER_ID":8"#)],
        vec![near],
    ];
    let told = told_after(PIPELINE, &groups).await;
    let so_often = |payloads: u64| vec![unseen("user_id", &[("userId", payloads)])];
    assert_eq!(told, [vec![], so_often(2), so_often(3), vec![], vec![]]);
}

#[tokio::test]
async fn a_column_that_rejects_every_record_is_told_as_well() {
    let pipeline = PIPELINE.replace("user_id BIGINT", "user_id BIGINT NOT NULL");
    let told = told_after(&pipeline, &[vec![event(r#","user-id":7"#), event("").replace('}', "")]]).await;
    assert_eq!(told, [[unseen("user_id", &[("user-id", 1)])]]);
}

#[tokio::test]
async fn of_a_large_commit_few_payloads_are_looked_at() {
    let told = told_after(PIPELINE, &[vec![event(r#","userId":7"#); 500]]).await;
    assert_eq!(told, [[unseen("user_id", &[("userId", 16)])]]);
}

#[test]
fn the_way_out_is_what_a_pipeline_file_takes() {
    for (keys, way_out) in [
        (
            &[("userID", 2), ("userId", 3)][..],
            "declare the column as \"userId\", in double quotes, or write OPTIONS (path = 'userId') behind the type of \
             the column",
        ),
        (
            &[("user-id", 1)][..],
            "declare the column as \"user-id\", in double quotes, or write OPTIONS (path = '\"user-id\"') behind the \
             type of the column",
        ),
        (&[("user id", 1)][..], "write OPTIONS (path = '\"user id\"') behind the type of the column"),
        (&[("it's\"", 1)][..], "write OPTIONS (path = '\"it''s\"\"\"') behind the type of the column"),
        (&[("_user_id", 1)][..], "write OPTIONS (path = '_user_id') behind the type of the column"),
    ] {
        assert_eq!(unseen("user_id", keys).way_out(), way_out);
    }
}
