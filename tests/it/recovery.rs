//! SIGKILL of the whole process at random moments while events come in: after a restart every count is exact.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::support::parts::{Kind, Parts};
use crate::support::process::{DEADLINE, Running, Setup};
use crate::support::seeds::one_seed;

const KILLS: usize = 20;
const EVENTS_PER_REQUEST: usize = 200;
const PIPELINE: &str = "
CREATE UNBOUNDED EXTERNAL TABLE hits (
  id VARCHAR NOT NULL, time TIMESTAMP NOT NULL, page VARCHAR NOT NULL, amount BIGINT
) STORED AS JSON LOCATION 'kafka://hits'
  OPTIONS (event_time 'time', event_id 'id', grid '64', gap '500ms', partitions '2');

CREATE MATERIALIZED VIEW hits_by_page AS
SELECT page, count(*) AS hits, sum(amount) AS amount, count(DISTINCT amount) AS amounts FROM hits GROUP BY page;
";

/// The events of one request. The same number always makes the same events, so that a request may be repeated.
fn request(number: usize) -> Vec<String> {
    (number * EVENTS_PER_REQUEST..(number + 1) * EVENTS_PER_REQUEST)
        .map(|event| {
            let (hour, minute) = (event / 60 % 24, event % 60);
            let page = event % 7;
            format!(
                r#"{{"id":"e{event}","time":"2026-01-05T{hour:02}:{minute:02}:00Z","page":"p{page}","amount":{event}}}"#
            )
        })
        .collect()
}

/// Sends requests without end; `acknowledged` counts those that were answered. The one in flight at a kill is sent
/// again after the restart: its ids make that safe.
async fn send(running: &Running, acknowledged: &AtomicUsize) {
    loop {
        let lines = request(acknowledged.load(Ordering::SeqCst));
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        match running.try_post("hits", &lines).await {
            Ok((200, _)) => acknowledged.fetch_add(1, Ordering::SeqCst),
            Ok((429 | 503, _)) => continue,
            other => panic!("{other:?}\n{}", running.log()),
        };
    }
}

async fn kill_while_sending(setup: &Setup, rng: &mut StdRng, acknowledged: &AtomicUsize) {
    let mut running = Running::start(setup).await;
    let moment = Duration::from_millis(rng.random_range(0..1_500));
    tokio::select! {
        biased;
        () = tokio::time::sleep(moment) => {}
        () = send(&running, acknowledged) => {}
    }
    running.kill();
}

async fn check_exact(running: &Running, requests: usize, token: &str) {
    let events = requests * EVENTS_PER_REQUEST;
    let answer = running.rows("hits_by_page", &[("by", ""), ("after", token)]).await;
    let row = &answer["rows"][0];
    assert_eq!(row["hits"].as_i64(), Some(events as i64), "{}\n{}", answer["envelope"], running.log());
    assert_eq!(row["amount"].as_i64(), Some((events * (events - 1) / 2) as i64));
    assert_eq!(row["amounts"].as_i64(), Some(events as i64));
}

tests::on_all_parts!(counts_are_exact_after_twenty_kills);

async fn counts_are_exact_after_twenty_kills(kind: Kind) {
    let Some(parts) = Parts::of(kind).await else { return };
    let mut rng = StdRng::seed_from_u64(one_seed("kills"));
    let folder = tempfile::tempdir().unwrap();
    let setup = setup(folder.path(), &parts);
    let acknowledged = AtomicUsize::new(0);
    for _ in 0..KILLS {
        kill_while_sending(&setup, &mut rng, &acknowledged).await;
    }
    let running = Running::start(&setup).await;
    let acknowledged = acknowledged.into_inner();
    let last = request(acknowledged);
    let lines: Vec<&str> = last.iter().map(String::as_str).collect();
    let token = running.post("hits", &lines).await;
    check_exact(&running, acknowledged + 1, &token).await;
    let batch = running.run_batch(&["--full"]).await;
    assert!(batch.status.success(), "{batch:?}");
    check_exact(&running, acknowledged + 1, &token).await;
    assert!(running.terminate().success(), "an ordered end within {DEADLINE:?}");
}

fn setup(folder: &Path, parts: &Parts) -> Setup {
    // So often that kills fall into commits, publications and the dropping of runs.
    Setup::new(folder, &parts.pipeline(PIPELINE), parts.settings())
        .with("BATCH__INTERVAL", "300ms")
        .with("ARCHIVE__COMMIT_INTERVAL", "50ms")
        .with("SPEED__COURTESY", "200ms")
}
