//! What is refused of sources in kappa mode, with the place and the way out; what is asked of sources beside them is
//! done.

use std::collections::BTreeMap;

use twofold::config::Config;
use twofold::kappa::{check_import, check_recomputed, check_reset, check_settings};
use twofold::runs::asked::Asked;
use twofold::schedules::{check_schedules, scheduled_views, written_schedules};
use twofold::warnings::warnings;
use twofold::workflow::specs::runs_of;
use views::Pipeline;

use super::read;

const SOURCES: &str = "
CREATE UNBOUNDED EXTERNAL TABLE clicks (id VARCHAR NOT NULL, time TIMESTAMP NOT NULL, page VARCHAR NOT NULL)
STORED AS JSON LOCATION 'kafka://clicks' OPTIONS (event_time 'time', event_id 'id', mode 'kappa');
CREATE UNBOUNDED EXTERNAL TABLE orders (id VARCHAR NOT NULL, time TIMESTAMP NOT NULL, item VARCHAR NOT NULL)
STORED AS JSON LOCATION 'kafka://orders' OPTIONS (event_time 'time', event_id 'id');

CREATE MATERIALIZED VIEW hits AS SELECT page, count(*) AS hits FROM clicks GROUP BY page;
CREATE MATERIALIZED VIEW sales AS SELECT item, count(*) AS sales FROM orders GROUP BY item;
";

fn both() -> Pipeline {
    Pipeline::read(SOURCES, &BTreeMap::new()).unwrap()
}

fn kappa_alone() -> Pipeline {
    let mut pipeline = both();
    pipeline.sources.retain(|source| !source.is_recomputed());
    pipeline.views.retain(|view| !view.source.is_recomputed());
    pipeline
}

fn config(file: &str) -> Config {
    read(file, &[], &[]).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn named(views: &[&str]) -> Asked {
    Asked { views: views.iter().map(|view| (*view).to_owned()).collect(), ..Asked::default() }
}

#[test]
fn schedules_name_no_source_in_kappa_mode_and_pass_over_those_they_do_not_name() {
    let refused = |file: &str| check_schedules(&config(file), &both()).unwrap_err().to_string();
    let by_source = refused("[schedules.a]\nevery = \"1h\"\nsource = \"clicks\"");
    assert!(by_source.contains("`schedules.a.source` (test.toml): source `clicks` is mode 'kappa'"), "{by_source}");
    let by_view = refused("[schedules.a]\nevery = \"1h\"\nviews = [\"hits\", \"sales\"]");
    assert!(by_view.contains("`schedules.a.views` (test.toml): view `hits` is of source `clicks`"), "{by_view}");
    let all = config("[schedules.a]\nevery = \"1h\"");
    check_schedules(&all, &both()).unwrap();
    let left_to_it: Vec<String> = scheduled_views(&all, &both()).iter().map(ToString::to_string).collect();
    assert_eq!(left_to_it, ["sales"]);
    assert!(written_schedules(&all, &kappa_alone()).is_empty());
}

#[test]
fn runs_and_rounds_of_a_view_in_kappa_mode_are_refused() {
    for views in [&["hits"][..], &["sales", "hits"][..]] {
        let refused = named(views).request(&both()).unwrap_err().to_string();
        assert!(refused.contains("view `hits`") && refused.contains("mode 'kappa'"), "{refused}");
        let names: Vec<String> = views.iter().map(|view| (*view).to_owned()).collect();
        let refused = check_recomputed(&both(), &names).unwrap_err().to_string();
        assert!(refused.contains("view `hits`") && refused.contains("mode 'kappa'"), "{refused}");
    }
    for error in [
        named(&[]).request(&kappa_alone()).unwrap_err().to_string(),
        check_recomputed(&kappa_alone(), &[]).unwrap_err().to_string(),
    ] {
        assert!(error.contains("mode 'kappa'"), "{error}");
    }
    check_recomputed(&both(), &[]).unwrap();
    let request = named(&[]).request(&both()).unwrap();
    let runs = runs_of(&both(), &request, &Config::default()).unwrap();
    let sources: Vec<&str> = runs.iter().map(|(spec, _)| spec.source.as_str()).collect();
    assert_eq!(sources, ["orders"], "all views means those that something recomputes");
}

#[test]
fn an_import_and_a_reset_are_refused_with_the_reason() {
    let (pipeline, words) = (both(), ["no answer would hold them", "would be in no answer any more"]);
    let [clicks, orders] = ["clicks", "orders"].map(|name| pipeline.source(name).unwrap());
    for (check, reason) in [check_import, check_reset].into_iter().zip(words) {
        let refused = check(clicks).unwrap_err().to_string();
        assert!(refused.contains("source clicks is mode 'kappa'") && refused.contains(reason), "{refused}");
        check(orders).unwrap();
    }
}

#[test]
fn settings_of_batch_views_are_refused_where_there_are_none() {
    let folding = config("[batch]\nfold_after = \"30d\"");
    let refused = check_settings(&folding, &kappa_alone()).unwrap_err().to_string();
    assert!(refused.contains("`batch.fold_after`") && refused.contains("leave the setting out"), "{refused}");
    check_settings(&folding, &both()).unwrap();
    check_settings(&Config::default(), &kappa_alone()).unwrap();
}

#[test]
fn realtime_views_in_memory_are_warned_of_where_each_start_replays_the_log() {
    let told = |config: &Config, pipeline: &Pipeline| {
        let all = warnings(config, pipeline);
        all.iter().filter(|warning| warning.contains("each start replays the log")).cloned().collect::<Vec<_>>()
    };
    let in_memory = told(&Config::default(), &both());
    assert_eq!(in_memory.len(), 1, "{in_memory:?}");
    assert!(in_memory[0].starts_with("source clicks: ") && in_memory[0].contains("`realtime.store`"), "{in_memory:?}");
    let in_redis = config("[realtime]\nstore = \"redis://127.0.0.1:6379\"");
    assert!(told(&in_redis, &both()).is_empty());
}
