//! Schedules and notices in the configuration: read from every layer, refused by key, place and way out, and held
//! against the pipeline.

use std::collections::BTreeMap;
use std::time::Duration;

use twofold::config::{Config, NoticeKind};
use twofold::schedules::{check_schedules, scheduled_views, views_of, written_schedules};
use views::Pipeline;
use workflow::RunMode;
use workflow::schedule::{Overlap, Rules, Schedule, Timing};

use super::read;
use crate::schedule::schedule;

const PIPELINE: &str = "
CREATE UNBOUNDED EXTERNAL TABLE clicks (id VARCHAR NOT NULL, time TIMESTAMP NOT NULL, page VARCHAR NOT NULL)
STORED AS JSON LOCATION 'kafka://clicks' OPTIONS (event_time 'time', event_id 'id', gap '10s');
CREATE UNBOUNDED EXTERNAL TABLE orders (id VARCHAR NOT NULL, time TIMESTAMP NOT NULL, item VARCHAR NOT NULL)
STORED AS JSON LOCATION 'kafka://orders' OPTIONS (event_time 'time', event_id 'id', gap '10s');

CREATE MATERIALIZED VIEW hits AS SELECT page, count(*) AS hits FROM clicks GROUP BY page;
CREATE MATERIALIZED VIEW visits AS SELECT page, count(*) AS visits FROM clicks GROUP BY page;
CREATE MATERIALIZED VIEW sales AS SELECT item, count(*) AS sales FROM orders GROUP BY item;
";

fn pipeline() -> Pipeline {
    Pipeline::read(PIPELINE, &BTreeMap::new()).unwrap()
}

fn config(file: &str) -> Config {
    read(file, &[], &[]).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The name of each schedule, and the views that it computes; and at last those that are left to the interval.
fn computed(file: &str) -> Vec<(String, Vec<String>)> {
    let pipeline = pipeline();
    let views = |schedule: &Schedule| -> Vec<String> {
        views_of(&schedule.target, &pipeline).map(|view| view.name.to_string()).collect()
    };
    let schedules = written_schedules(&config(file), &pipeline);
    let named = scheduled_views(&config(file), &pipeline);
    let left = pipeline.views.iter().filter(|view| !named.contains(&view.name)).map(|view| view.name.to_string());
    let by_schedule = schedules.iter().map(|schedule| (schedule.name.to_string(), views(schedule)));
    by_schedule.chain([("interval".to_owned(), left.collect())]).collect()
}

/// A schedule, and the views that it computes.
type Computes<'a> = (&'a str, &'a [&'a str]);

fn pairs(expected: &[Computes]) -> Vec<(String, Vec<String>)> {
    let owned = |views: &[&str]| views.iter().map(|view| (*view).to_owned()).collect();
    expected.iter().map(|(name, views)| ((*name).to_owned(), owned(views))).collect()
}

#[test]
fn a_schedule_says_everything_or_only_when() {
    let config = config(
        "[schedules.nightly]\ncron = \"30 2 * * mon-fri\"\ntime_zone = \"Europe/Berlin\"\nsource = \"clicks\"\n\
         views = [\"hits\", \"visits\"]\nmode = \"full\"\njitter = \"5m\"\noverlap = \"queue\"\ncatch_up = false\n\
         deadline = \"2h\"\npriority = 80\n[schedules.often]\nevery = \"10s\"\n\
         [scheduling]\nleast_distance = \"0s\"\nmax_runs = 9\nmissed_after = \"5m\"\n",
    );
    let [nightly, often] = &config.schedules.written[..] else { panic!("{:?}", config.schedules) };
    let Schedule { timing, target, mode, jitter, overlap, catch_up, deadline, priority, .. } = &nightly.schedule;
    let Timing::Cron { expression, zone } = timing else { panic!("{timing:?}") };
    assert_eq!((expression.text(), zone.name()), ("30 2 * * mon-fri", "Europe/Berlin"));
    let views: Vec<&str> = target.views.iter().map(|view| view.as_str()).collect();
    assert_eq!((target.source.as_ref().unwrap().as_str(), &views[..]), ("clicks", &["hits", "visits"][..]));
    assert_eq!((*mode, *jitter, *overlap), (RunMode::Full, Duration::from_secs(300), Overlap::Queue));
    assert_eq!((*catch_up, *deadline, *priority), (false, Some(Duration::from_secs(7_200)), 80));
    assert_eq!(nightly.origin, "test.toml");

    let left_out = schedule("often", Timing::every(Duration::from_secs(10), "often"));
    assert_eq!(often.schedule, left_out);
    let rules = Rules { least_distance: Duration::ZERO, max_runs: 9, missed_after: Duration::from_secs(300) };
    assert_eq!(config.schedules.rules, rules);
    assert_eq!(Config::default().schedules.rules, Rules::default());
    assert!(Config::default().schedules.written.is_empty());
}

#[test]
fn the_environment_changes_a_schedule_and_adds_one() {
    let file = "[schedules.nightly]\ncron = \"@daily\"\n";
    let environment = [
        ("TWOFOLD_SCHEDULES__NIGHTLY__VIEWS", "hits, sales"),
        ("TWOFOLD_SCHEDULES__NIGHTLY__CATCH_UP", "false"),
        ("TWOFOLD_SCHEDULES__NIGHTLY__PRIORITY", "7"),
        ("TWOFOLD_SCHEDULES__OFTEN__EVERY", "5s"),
    ];
    let config = read(file, &environment, &[]).unwrap();
    let [nightly, often] = &config.schedules.written[..] else { panic!("{:?}", config.schedules) };
    assert_eq!((nightly.schedule.catch_up, nightly.schedule.priority), (false, 7));
    let views: Vec<&str> = nightly.schedule.target.views.iter().map(|view| view.as_str()).collect();
    assert_eq!(views, ["hits", "sales"]);
    assert_eq!(nightly.origin, "environment variable TWOFOLD_SCHEDULES__NIGHTLY__VIEWS");
    assert_eq!(often.schedule.timing, Timing::every(Duration::from_secs(5), "often"));
}

#[test]
fn what_no_schedule_can_be_is_refused_by_key_and_place() {
    for (settings, expected) in [
        ("", "`schedules.a` (test.toml): is empty: say when it is due, with `cron` or `every`"),
        (
            "mode = \"full\"",
            "`schedules.a.cron` (default): must be set, such as \"30 2 * * *\", or `schedules.a.every`",
        ),
        (
            "cron = \"@daily\"\nevery = \"1h\"",
            "`schedules.a.every` (test.toml): keep one of the two: `schedules.a.cron`",
        ),
        (
            "every = \"1h\"\ntime_zone = \"Europe/Berlin\"",
            "`schedules.a.time_zone` (test.toml): is for `schedules.a.cron`",
        ),
        ("cron = \"0 25 * * *\"", "`schedules.a.cron` (test.toml): the field `25` (hour): must be 0 to 23, got `25`"),
        ("cron = \"0 0 30 2 *\"", "`schedules.a.cron` (test.toml): names a day that no year has"),
        (
            "cron = \"@daily\"\ntime_zone = \"Europe/Berlinn\"",
            "`schedules.a.time_zone` (test.toml): must be the name of a time zone such as `Europe/Berlin` or `UTC`, got \
             `Europe/Berlinn`; did you mean `Europe/Berlin`?",
        ),
        ("every = \"0s\"", "`schedules.a.every` (test.toml): must be at least 1ms, got `0s`"),
        ("every = \"often\"", "`schedules.a.every` (test.toml): must be a span of time"),
        (
            "every = \"1h\"\ncrn = \"x\"",
            "`schedules.a.crn` (test.toml): there is no such setting; did you mean `schedules.a.cron`?",
        ),
        (
            "every = \"1h\"\nviews = \"hits\"",
            "`schedules.a.views` (test.toml): must be an array, got the string `hits`",
        ),
        ("every = \"1h\"\nviews = [1]", "`schedules.a.views` (test.toml): must be a list of texts such as"),
        ("every = \"1h\"\noverlap = \"wait\"", "must be `skip`, `queue` or `replace`, got `wait`"),
        ("every = \"1h\"\nmode = \"all\"", "must be `incremental` or `full`, got `all`"),
        ("every = \"1h\"\npriority = 101", "must be 0 to 100, got `101`"),
        ("every = \"1h\"\ndeadline = \"0s\"", "`schedules.a.deadline` (test.toml): must be at least 1ms"),
    ] {
        let error = read(&format!("[schedules.a]\n{settings}\n"), &[], &[]).unwrap_err();
        assert!(error.contains(expected), "{settings}: {expected} is missing in:\n{error}");
    }
    for name in ["Nightly", "a b", "a.b", "x".repeat(65).as_str()] {
        let error = read(&format!("[schedules.\"{name}\"]\nevery = \"1h\"\n"), &[], &[]).unwrap_err();
        assert!(error.contains("the name of a schedule must be lower-case letters"), "{error}");
    }
    for file in
        ["[schedules]\ncron = \"@daily\"\n", "[schedules]\nnightly = \"@daily\"\n", "[[schedules.a]]\nevery = \"1h\"\n"]
    {
        let error = read(file, &[], &[]).unwrap_err();
        assert!(error.contains("there is no such setting"), "{file}: {error}");
    }
}

#[test]
fn every_view_has_a_schedule_or_is_left_to_the_interval() {
    let all: &[&str] = &["hits", "visits", "sales"];
    let clicks: &[&str] = &["hits", "visits"];
    let cases: [(&str, &[Computes]); 5] = [
        ("", &[("interval", all)]),
        ("[schedules.a]\nevery = \"1h\"", &[("a", all), ("interval", &[])]),
        ("[schedules.a]\nevery = \"1h\"\nsource = \"clicks\"", &[("a", clicks), ("interval", &["sales"])]),
        (
            "[schedules.a]\nevery = \"1h\"\nviews = [\"hits\", \"sales\"]",
            &[("a", &["hits", "sales"]), ("interval", &["visits"])],
        ),
        (
            "[schedules.a]\ncron = \"@daily\"\n[schedules.b]\nevery = \"1h\"\nviews = [\"sales\"]",
            &[("a", all), ("b", &["sales"]), ("interval", &[])],
        ),
    ];
    for (file, expected) in cases {
        assert_eq!(computed(file), pairs(expected), "{file}");
    }
}

#[test]
fn a_view_or_source_that_the_pipeline_lacks_is_refused_by_setting_and_place() {
    let refused = |file: &str| check_schedules(&config(file), &pipeline()).unwrap_err().to_string();
    let error = refused(
        "[schedules.a]\nevery = \"1h\"\nviews = [\"hit\", \"sales\"]\n[schedules.b]\nevery = \"1h\"\nsource = \"click\"\n\
         [schedules.c]\nevery = \"1h\"\nsource = \"orders\"\nviews = [\"hits\"]\n",
    );
    for expected in [
        "`schedules.a.views` (test.toml): there is no view `hit`; did you mean `hits`?",
        "`schedules.b.source` (test.toml): there is no source `click`; did you mean `clicks`?",
        "`schedules.c.views` (test.toml): view `hits` is one of `clicks`, and none of `orders`",
    ] {
        assert!(error.contains(expected), "{expected} is missing in:\n{error}");
    }
    assert!(refused("[schedules.a]\nevery = \"1h\"\nviews = [\"unlike\"]").contains("there are: hits, visits, sales"));
    let good = "[schedules.a]\nevery = \"1h\"\nsource = \"clicks\"\nviews = [\"hits\"]";
    assert!(check_schedules(&config(good), &pipeline()).is_ok());
}

/// A set of definitions that dropped a view goes on without it.
#[test]
fn what_the_pipeline_lacks_is_passed_over_while_running() {
    let every = "every = \"1h\"\n";
    let gone = format!("[schedules.a]\n{every}views = [\"gone\"]\n[schedules.b]\n{every}views = [\"gone\", \"hits\"]");
    let expected: [(&str, &[&str]); 2] = [("b", &["hits"]), ("interval", &["visits", "sales"])];
    assert_eq!(computed(&gone), pairs(&expected));
}

#[test]
fn who_is_told_of_runs_is_read_without_showing_what_is_secret() {
    let none = Config::default().notify;
    assert!(none.webhook.is_none() && none.command.is_empty() && none.openlineage.is_none());
    assert_eq!(none.on, [NoticeKind::Failure, NoticeKind::Recovery, NoticeKind::MissedDeadline]);
    let config = config(
        "[notify]\nwebhook = \"https://hooks.example/T0/hidden\"\nwebhook_secret = \"hidden\"\ncommand = [\"page\", \"a,b\"]\n\
         on = [\"missed_deadline\", \"failure\"]\nopenlineage = \"https://lineage.example/api/v1/lineage\"\n\
         openlineage_namespace = \"shop\"\nopenlineage_key = \"hidden\"\nretries = 2\nqueue = 3\n",
    );
    assert!(!format!("{config:?}").contains("hidden"));
    let notify = config.notify;
    assert_eq!(notify.on, [NoticeKind::Failure, NoticeKind::MissedDeadline]);
    assert_eq!(notify.webhook.unwrap().url.0, "https://hooks.example/T0/hidden");
    assert_eq!((notify.command, notify.retries, notify.queue), (vec!["page".to_owned(), "a,b".to_owned()], 2, 3));
    assert_eq!(notify.openlineage.unwrap().namespace, "shop");

    let command = |text: &str| read("", &[("TWOFOLD_NOTIFY__COMMAND", text)], &[]).unwrap().notify.command;
    assert_eq!(command("page, batch"), ["page", "batch"]);
    assert_eq!(command("[\"page\", \"a,b\"]"), ["page", "a,b"]);
    for broken in ["[\"page\", ", "[page, batch]", " ['page'"] {
        let error = read("", &[("TWOFOLD_NOTIFY__COMMAND", broken)], &[]).unwrap_err().to_string();
        assert!(error.contains("`notify.command`") && error.contains("must be an array"), "{error}");
    }
    for local in ["http://127.0.0.1:1/x", "http://[::1]:1", "http://localhost:8080/x"] {
        assert!(read("", &[("TWOFOLD_NOTIFY__WEBHOOK", local)], &[]).is_ok(), "{local}");
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    std::fs::write(&file, "from a file\n").unwrap();
    let file = file.to_str().unwrap();
    let environment = [("TWOFOLD_NOTIFY__WEBHOOK", "https://a.example"), ("TWOFOLD_NOTIFY__WEBHOOK_SECRET_FILE", file)];
    let webhook = read("", &environment, &[]).unwrap().notify.webhook.unwrap();
    assert_eq!(webhook.secret.unwrap().0, "from a file");
}

#[test]
fn whoever_cannot_be_told_is_refused_by_key() {
    for (settings, expected) in [
        (
            "webhook = \"http://hooks.example/hidden\"",
            "`notify.webhook` (test.toml): must be `https://...`, or `http://...`",
        ),
        ("webhook = \"hooks.example/hidden\"", "`notify.webhook`"),
        (
            "webhook_secret = \"hidden\"",
            "`notify.webhook_secret` (test.toml): must be set together with `notify.webhook`",
        ),
        ("on = [\"failure\", \"success\"]", "may hold `failure`, `recovery`, `missed_deadline`, got `success`"),
        ("command = [\"\"]", "`notify.command` (test.toml): must be a list of texts"),
        ("openlineage = \"ftp://x/hidden\"", "`notify.openlineage` (test.toml): must be `http://host:port/path`"),
        ("openlineage = \"http://u:hidden@x\"", "without a user in it"),
        ("openlineage_key = \"hidden\"", "must be set together with `notify.openlineage`"),
        (
            "openlineage = \"http://x.example/\"\nopenlineage_key = \"hidden\"",
            "must be `https://...` with `notify.openlineage_key`",
        ),
        ("openlineage_namespace = \"\"", "`notify.openlineage_namespace` (test.toml): must not be empty"),
        ("retry_min = \"2m\"", "`notify.retry_max` (default): `1m`"),
        ("queue = 0", "`notify.queue` (test.toml): must be at least 1"),
    ] {
        let error = read(&format!("[notify]\n{settings}\n"), &[], &[]).unwrap_err();
        assert!(
            error.contains(expected) && !error.contains("hidden"),
            "{settings}: {expected} is missing in:\n{error}"
        );
    }
}
