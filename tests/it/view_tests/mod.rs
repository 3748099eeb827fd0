//! Unit tests of views, as users write them: what passes, what fails in which words, what is refused.

mod answers;
mod command;
mod histories;
mod refusals;

use std::path::PathBuf;
use std::time::Duration;

use twofold::pipeline_file::read_pipeline;
use twofold::view_test::case::{Case, read_cases};
use twofold::view_test::report::CaseReport;
use twofold::view_test::{TestPlan, run_case};

/// One source whose events have ids, one whose have none, one whose time is that of the record.
const PIPELINE: &str = "
CREATE UNBOUNDED EXTERNAL TABLE hits (
  id VARCHAR, time TIMESTAMP NOT NULL, page VARCHAR, bytes BIGINT, price DECIMAL(10, 2), weight DOUBLE
) STORED AS JSON LOCATION 'kafka://hits'
OPTIONS (event_time 'time', event_id 'id', horizon '10 minutes', late_after '1 minute', partitions '2');
CREATE UNBOUNDED EXTERNAL TABLE lines (time TIMESTAMP NOT NULL, host VARCHAR)
STORED AS JSON LOCATION 'kafka://lines' OPTIONS (event_time 'time');

CREATE MATERIALIZED VIEW by_page AS
SELECT page, count(*) AS hits, sum(bytes) AS bytes, sum(price) AS price, avg(weight) AS weight,
       approx_distinct(id) AS ids
FROM hits GROUP BY page;
CREATE MATERIALIZED VIEW by_minute AS
SELECT date_bin(INTERVAL '1 minute', time) AS minute, count(*) AS hits FROM hits GROUP BY minute;
CREATE MATERIALIZED VIEW first_pages AS
SELECT date_bin(INTERVAL '1 hour', time) AS hour, first_value(page) AS page FROM hits GROUP BY hour;
CREATE MATERIALIZED VIEW by_host AS SELECT host, count(*) AS lines FROM lines GROUP BY host;
";

const PLAN: TestPlan = TestPlan { runs: 4, seed: 1, time_limit: Duration::from_secs(60) };

/// A folder of a pipeline and its tests.
struct Place(tempfile::TempDir);

impl Place {
    fn new(pipeline: &str) -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        place.write("pipeline.sql", pipeline);
        place
    }

    /// The pipeline of all suites with one file of tests.
    fn with(tests: &str) -> Self {
        let place = Self::new(PIPELINE);
        place.write("tests/some.toml", tests);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// The tests, or everything that is wrong with them.
    fn cases(&self) -> Result<Vec<Case>, String> {
        let file = self.path("pipeline.sql");
        read_cases(&file, &read_pipeline(&file).unwrap()).map_err(|error| format!("{error:#}"))
    }

    async fn run(&self) -> Vec<CaseReport> {
        let mut reports = Vec::new();
        for case in self.cases().unwrap() {
            reports.push(run_case(&case, &PLAN).await);
        }
        reports
    }
}

/// What comes of the only test of a file.
async fn run_one(tests: &str) -> CaseReport {
    let reports = Place::with(tests).run().await;
    let [report] = reports.as_slice() else { panic!("one test is written: {reports:#?}") };
    report.clone()
}

/// A file of one test of `view`, with these events and what is expected.
fn one_test(view: &str, events: &str, expect: &str) -> String {
    format!(
        "[[test]]\nname = 'some'\nview = '{view}'\n[[test.given]]\nevents = '''\n{events}\n'''\n[test.expect]\n{expect}\n"
    )
}
