//! The pipeline files of `examples/`: they are read as they lie there, they run, and their definition hashes never
//! change.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use twofold::pipeline_file::read_runnable;
use views::Pipeline;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read_example(name: &str) -> Pipeline {
    let folder = root().join("examples").join(name);
    let sql = fs::read_to_string(folder.join("pipeline.sql")).unwrap();
    let files = Pipeline::static_files(&sql).unwrap_or_else(|problems| panic!("{problems}"));
    let files: BTreeMap<String, Bytes> =
        files.into_iter().map(|file| (file.clone(), fs::read(folder.join(file)).unwrap().into())).collect();
    Pipeline::read(&sql, &files).unwrap_or_else(|problems| panic!("{name}:\n{problems}"))
}

/// View, dimensions, measures, one line each.
fn drawn(pipeline: &Pipeline) -> Vec<String> {
    let names = |view: &views::ViewDefinition| {
        let dimensions: Vec<&str> = view.dimensions.iter().map(|dimension| dimension.name.as_str()).collect();
        let measures: Vec<&str> = view.measures.iter().map(|measure| measure.name.as_str()).collect();
        format!("{}: {} | {}", view.name, dimensions.join(" "), measures.join(" "))
    };
    pipeline.views.iter().map(|view| names(view)).collect()
}

/// As `twofold validate` does, for whatever lies there.
#[tokio::test]
async fn every_example_is_valid_and_described() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let mut found = 0;
    for entry in fs::read_dir(root().join("examples")).unwrap() {
        let folder = entry.unwrap().path();
        let pipeline = read_runnable(&folder.join("pipeline.sql")).await.unwrap_or_else(|error| panic!("{error:#}"));
        assert!(!pipeline.views.is_empty(), "{}", folder.display());
        let name = folder.file_name().unwrap().to_str().unwrap();
        let own = fs::read_to_string(folder.join("README.md")).unwrap();
        let command = format!("--pipeline examples/{name}/pipeline.sql");
        assert!(own.contains(&command), "its README.md does not say: {command}");
        assert!(readme.contains(&format!("](examples/{name})")), "README.md does not link to {name}");
        found += 1;
    }
    assert!(found >= 6, "{found} examples");
}

#[test]
fn recent_changes_are_read() {
    assert_eq!(
        drawn(&read_example("wikimedia-changes")),
        [
            "edits_by_wiki: wiki minute | edits new_pages bot_edits bot_share grown_bytes editors",
            "edits_by_article: wiki title hour | edits editors grown_bytes",
            "change_sizes: bot hour | edits median_bytes p95_bytes largest_page",
            "log_actions: wiki log_type log_action day | actions people",
            "feed: event_schema type hour | events canaries with_length last_sent",
        ]
    );
}

#[test]
fn events_of_github_are_read() {
    assert_eq!(
        drawn(&read_example("github-events")),
        [
            "activity_by_repo: repo hour | events pushes commits stars forks issues_opened pulls_opened pulls_merged \
             developers",
            "events_by_type: type hour | events bot_events developers",
            "active_developers: org day | events developers repos",
            "push_sizes: hour | pushes commits median_commits p95_commits largest",
        ]
    );
}

#[test]
fn page_views_are_read() {
    assert_eq!(
        drawn(&read_example("web-analytics")),
        [
            "traffic: page hour | views visitors",
            "visits_by_hour: hour | views visitors visits bounces",
            "bounces_by_device: device day | views bounce_rate",
        ]
    );
}

#[test]
fn wikipedia_is_read() {
    let pipeline = read_example("wikipedia");
    assert_eq!(
        drawn(&pipeline),
        [
            "edits_by_page: page hour | edits",
            "edits_by_channel: channel minute | edits added deleted editors p99_added",
            "edits_by_language: language hour | edits robot_edits delta delta_per_edit largest",
        ]
    );
    assert_eq!(pipeline.source("edits").unwrap().event_id, [0_usize; 0]);
}

#[test]
fn web_access_is_read() {
    let pipeline = read_example("web-access");
    assert_eq!(
        drawn(&pipeline),
        [
            "requests_by_path: path hour | requests clients bytes errors",
            "requests_by_status: status minute | requests bytes p95_bytes",
        ]
    );
    assert_eq!(pipeline.source("requests").unwrap().event_id, [0]);
}

/// States that were stored under these hashes exist: a new way of reading files must not change them. Whoever changes
/// an example, or the meaning of stored states (`STATE_FORMAT`), writes the new ones down here.
#[test]
fn definition_hashes_of_the_examples_stay() {
    let hashes = ["demo", "wikipedia", "web-access"].map(read_example).into_iter().flat_map(|example| {
        let views = example.views.iter().map(|view| format!("{} {}", view.name, view.hash));
        views.collect::<Vec<_>>()
    });
    assert_eq!(
        hashes.collect::<Vec<_>>(),
        [
            "visits_by_page 26471388dec6a499ce103e2eb28bea6e",
            "edits_by_page 6746fb6bd28782b22c6d10193a185b80",
            "edits_by_channel d84474989eec92299efa71459f1429f7",
            "edits_by_language aa1cf150056c77ca1d0cf1f29266c377",
            "requests_by_path 6da54062d62e821e668b4159e9ca942a",
            "requests_by_status 9ff4bf2e895efc144f33ab562eaee1fd",
        ]
    );
}
