//! The pipeline files of `examples/`: they are read as they lie there, and their definition hashes never change.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use bytes::Bytes;
use views::Pipeline;

fn read_example(name: &str) -> Pipeline {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("examples").join(name);
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
            "visits_by_page 0955735383176a29c32c082cb97924b5",
            "edits_by_page e94a674f799c259cfcdc6e5a95c062ee",
            "edits_by_channel dda190a7bd01b6046c041b18be1c4918",
            "edits_by_language 5ed8bd1bf6c0fc515bcd6f756796964e",
            "requests_by_path 80e276e4d2b62d2d095ccb401fbba013",
            "requests_by_status a5f363827941f3e2e64cc7c1f5d23883",
        ]
    );
}
