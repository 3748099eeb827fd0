//! What watches Twofold from outside: every metric is there from the start with its HELP text, the catalogue and its
//! page are whole, and the alert rules and the dashboard ask for nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use serde_json::Value;
use twofold::metric_catalogue::{Kind, METRICS, Metric};

use crate::support::parts::{self, Parts};
use crate::support::process::{DEADLINE, Running, Setup};
use crate::tidy::product_sources;

/// A source and a view with everything that a counter may have as a label.
const PIPELINE: &str = "
CREATE UNBOUNDED EXTERNAL TABLE hits (id VARCHAR NOT NULL, time TIMESTAMP NOT NULL, page VARCHAR NOT NULL, bytes BIGINT)
STORED AS JSON LOCATION 'kafka://hits'
OPTIONS (event_time 'time', event_id 'id', gap '200ms', partitions '2');

CREATE MATERIALIZED VIEW hits_by_page AS
SELECT page, count(*) AS hits, sum(100 / bytes) AS shares FROM hits GROUP BY page;
";

fn deploy() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("deploy")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(deploy().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The words of a text that are names of our metrics.
fn names(text: &str) -> BTreeSet<&str> {
    let words = text.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'));
    words.filter(|word| word.starts_with("twofold_") || word.starts_with("process_")).collect()
}

fn catalogue() -> BTreeMap<&'static str, &'static Metric> {
    METRICS.iter().map(|metric| (metric.name, metric)).collect()
}

/// A name of the catalogue, of which a summary also tells the sum and the number.
fn is_known(name: &str) -> bool {
    let metrics = catalogue();
    let of_summary = ["_sum", "_count"].iter().find_map(|end| name.strip_suffix(*end));
    let is_summary = |name: &str| metrics.get(name).is_some_and(|metric: &&Metric| metric.kind == Kind::Summary);
    metrics.contains_key(name) || of_summary.is_some_and(is_summary)
}

#[test]
fn the_catalogue_has_each_metric_of_the_layers_and_no_other() {
    let mut raised = BTreeSet::new();
    for (path, text) in product_sources() {
        if !path.ends_with("/metric_catalogue.rs") {
            let literals = text.split('"').filter(|part| part.starts_with("twofold_"));
            let is_name = |part: &&str| part.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
            raised.extend(literals.filter(is_name).map(str::to_owned));
        }
    }
    let listed: BTreeSet<String> =
        METRICS.iter().map(|metric| metric.name.to_owned()).filter(|name| name.starts_with("twofold_")).collect();
    assert_eq!(raised, listed);
    assert_eq!(catalogue().len(), METRICS.len(), "a name is listed twice");
    for Metric { name, kind, .. } in METRICS {
        assert_eq!(*kind == Kind::Counter, name.ends_with("_total"), "{name}");
        assert!(*kind != Kind::Summary || name.ends_with("_seconds"), "{name}");
    }
}

#[test]
fn the_page_shows_the_catalogue() {
    let page = read("../docs/operations.md");
    let missing: Vec<String> = METRICS.iter().map(Metric::row).filter(|row| !page.contains(row.as_str())).collect();
    assert!(missing.is_empty(), "docs/operations.md lacks:\n{}", missing.join("\n"));
}

/// What stands behind a mark at the start of a line: a name, and the rest.
fn marked<'a>(text: &'a str, mark: &'static str) -> impl Iterator<Item = (&'a str, &'a str)> {
    text.lines().filter_map(move |line| line.strip_prefix(mark)?.split_once(' '))
}

/// The families of a scrape, each with its type and HELP text.
fn families(text: &str) -> BTreeMap<&str, (&str, Option<&str>)> {
    let helps: BTreeMap<&str, &str> = marked(text, "# HELP ").collect();
    marked(text, "# TYPE ").map(|(name, kind)| (name, (kind, helps.get(name).copied()))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_tells_every_counter_from_its_start_and_says_what_each_metric_is() {
    let folder = tempfile::tempdir().unwrap();
    let embedded = Parts::of(parts::Kind::Embedded).await.unwrap();
    let running = Running::start(&Setup::new(folder.path(), PIPELINE, embedded.settings())).await;
    let metrics = catalogue();
    let deadline = Instant::now() + DEADLINE;
    // Nothing was sent: what is there is there from the start, once each role has started.
    let text = loop {
        let text = reqwest::get(format!("{}/metrics", running.address)).await.unwrap().text().await.unwrap();
        let must_be_there = |metric: &&Metric| {
            let gauges = ["twofold_source_stopped", "twofold_problems", "twofold_gateway_stale"];
            metric.kind == Kind::Counter || metric.name.starts_with("process_") || gauges.contains(&metric.name)
        };
        let wanted = METRICS.iter().filter(must_be_there).map(|metric| metric.name);
        let missing: Vec<&str> = {
            let found = families(&text);
            wanted.filter(|name| !found.contains_key(*name)).collect()
        };
        if missing.is_empty() {
            break text;
        }
        assert!(Instant::now() < deadline, "not there from the start: {missing:?}\n{}", running.log());
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    for (name, (kind, help)) in families(&text) {
        let metric = metrics.get(name).unwrap_or_else(|| panic!("{name} is not in the catalogue"));
        assert_eq!((kind, help), (metric.kind.name(), Some(metric.help)), "{name}");
    }
    let value = |name: &str| -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name}")).parse().unwrap()
    };
    assert!(value("process_resident_memory_bytes") > 1e6 && value("process_cpu_seconds_total") > 0.0);
    assert!(value("process_open_fds") > 3.0 && value("process_open_fds") < value("process_max_fds"));
    assert!(value("process_start_time_seconds") > 1.7e9 && value("process_threads") > 1.0);
}

#[test]
fn the_alert_rules_ask_for_metrics_that_exist() {
    let (rules, examples) = (read("alerts.yml"), read("alerts.test.yml"));
    let asked = names(&rules);
    let unknown: Vec<&&str> = asked.iter().filter(|name| !is_known(name)).collect();
    assert!(asked.len() > 10 && unknown.is_empty(), "no such metrics: {unknown:?}");
    // Each rule has its good day and its bad one.
    let alerts: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    for alert in &alerts {
        assert!(examples.contains(&format!("alertname: {alert},")), "no good day of {alert}");
        assert!(examples.contains(&format!("alertname=\"{alert}\"")), "no bad day of {alert}");
    }
    let page = read("../docs/operations.md");
    let untold: Vec<&&str> = alerts.iter().filter(|alert| !page.contains(&format!("`{alert}`"))).collect();
    assert!(alerts.len() > 10 && untold.is_empty(), "docs/operations.md does not say what to do about {untold:?}");
    assert!(read("prometheus.yml").contains("alerts.yml") && read("../docker-compose.yml").contains("alerts.yml"));
}

#[test]
fn the_dashboard_asks_for_metrics_of_the_catalogue() {
    let dashboard: Value = serde_json::from_str(&read("grafana/dashboards/twofold.json")).unwrap();
    let targets = dashboard["panels"].as_array().unwrap().iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let text: String = targets.map(|target| format!("{} ", target["expr"].as_str().unwrap())).collect();
    let unknown: Vec<&str> = names(&text).into_iter().filter(|name| !is_known(name)).collect();
    assert!(unknown.is_empty(), "no such metrics: {unknown:?}");
}

/// Where Prometheus' own tool can be had, as from the Debian package `prometheus`.
#[test]
fn promtool_takes_the_alert_rules_and_they_fire_on_bad_days_alone() {
    for arguments in [["check", "rules", "alerts.yml"], ["test", "rules", "alerts.test.yml"]] {
        let Ok(output) = Command::new("promtool").args(arguments).current_dir(deploy()).output() else {
            eprintln!("skipped: there is no promtool");
            return;
        };
        let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        assert!(output.status.success(), "{said}");
    }
}
