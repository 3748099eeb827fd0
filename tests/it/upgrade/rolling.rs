//! A system on Kafka, Redis and S3 in the roles of an older build, replaced one by one by this one: no wrong answer,
//! and none missing. The older build is named by `TWOFOLD_TEST_OLD_BINARY`, as `make upgrade` does; without it, nothing
//! is tested here.

use std::path::PathBuf;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use serde_json::json;
use tests::services::Services;

use crate::support::process::{ROLES, Running, Setup};
use crate::support::seeds::one_seed;

const EVENTS: i64 = 200;
const PIPELINE: &str = "
CREATE UNBOUNDED EXTERNAL TABLE hits (id VARCHAR NOT NULL, time TIMESTAMP NOT NULL, page VARCHAR NOT NULL, n BIGINT)
STORED AS JSON LOCATION 'kafka://hits' OPTIONS (event_time 'time', event_id 'id', grid '64', gap '500ms', partitions '2');
CREATE MATERIALIZED VIEW hits_by_page AS
SELECT page, count(*) AS hits, sum(n) AS n, count(DISTINCT n) AS numbers FROM hits GROUP BY page;
";

/// The roles as they run, in the order of [`ROLES`].
struct System {
    running: Vec<Option<Running>>,
    sent: i64,
}

impl System {
    fn role(&self, name: &str) -> &Running {
        let index = ROLES.iter().position(|(known, _)| *known == name).unwrap();
        self.running[index].as_ref().unwrap()
    }

    /// Sends events, and holds the answer to everything that was sent so far.
    async fn check(&mut self, moment: &str) {
        let event = |n: i64| format!(r#"{{"id":"{n}","time":"2026-01-05T10:00:00Z","page":"p{}","n":{n}}}"#, n % 3);
        let lines: Vec<String> = (self.sent..self.sent + EVENTS).map(event).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let token = self.role("collector").post("hits", &lines).await;
        self.sent += EVENTS;
        let gateway = self.role("gateway");
        let answer = gateway.rows("hits_by_page", &[("by", ""), ("after", &token), ("timeout", "30s")]).await;
        let expected = json!([{ "hits": self.sent, "n": self.sent * (self.sent - 1) / 2, "numbers": self.sent }]);
        assert_eq!(answer["rows"], expected, "{moment}: {}\n{}", answer["envelope"], gateway.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_are_replaced_one_by_one_without_a_wrong_or_missing_answer() {
    let Some(old) = std::env::var_os("TWOFOLD_TEST_OLD_BINARY").map(PathBuf::from) else {
        eprintln!("skipped: no older build is named; `make upgrade OLD=BINARY` does");
        return;
    };
    let Some(services) = Services::find() else { return };
    let folder = tempfile::tempdir().unwrap();
    let setup = Setup::new(folder.path(), &services.pipeline(PIPELINE), services.settings())
        .with_short_waits()
        .with("ARCHIVE__COMMIT_INTERVAL", "100ms")
        .with("BATCH__INTERVAL", "1s")
        .with("SPEED__COURTESY", "500ms")
        .with("SPEED__GROUP", &services.named("workers"))
        .with("LOG__SESSION_TIMEOUT", "3s");
    let mut system = System { running: Vec::new(), sent: 0 };
    for (name, command) in ROLES {
        system.running.push(Some(Running::start_role_of(&old, &setup.beside(name), command).await));
    }
    system.check("all roles are of the older build").await;

    let mut order: Vec<usize> = (0..ROLES.len()).collect();
    order.shuffle(&mut StdRng::seed_from_u64(one_seed("roles replaced")));
    for index in order {
        let (name, command) = ROLES[index];
        eprintln!("  {name}");
        assert!(system.running[index].take().unwrap().terminate().success(), "{name} of the older build");
        system.running[index] = Some(Running::start_role(&setup.beside(name), command).await);
        system.check(&format!("{name} was replaced")).await;
    }
    let full = system.role("batch").run_batch(&["--full"]).await;
    // 3: it waits for the silence behind the last record.
    assert!(matches!(full.status.code(), Some(0 | 3)), "{full:?}");
    system.check("all roles are of this build").await;
}
