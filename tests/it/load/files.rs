//! Several files: which are meant, in which order, how each is told of, and what becomes of the others where one fails.

use std::path::PathBuf;

use twofold::load::{Input, LoadPlan, find_inputs};

use super::World;
use crate::collector::{event, gzip};
use crate::decode::clicks;

#[tokio::test(flavor = "multi_thread")]
async fn files_of_a_pattern_are_loaded_in_order_and_each_is_told_of() {
    let world = World::start(clicks()).await;
    let (b, a) = (format!("{}\nbad\n", event("b")), gzip(event("a")));
    world.write("b.log", &b);
    world.write("a.log", &a);
    world.write(".hidden.log", event("hidden"));
    std::fs::create_dir(world.path("c.log")).unwrap();
    let inputs = find_inputs(&[world.path("*.log")]).unwrap();
    assert_eq!(inputs, [Input::File(world.path("a.log")), Input::File(world.path("b.log"))]);
    let report = world.load_all(inputs).await;
    assert_eq!(world.server.log.payloads(), [event("a"), event("b"), "bad".to_owned()]);
    let counted: Vec<_> = report.files.iter().map(|file| (file.accepted, file.rejected, file.bytes)).collect();
    assert_eq!(counted, [(1, 0, a.len() as u64), (1, 1, b.len() as u64)]);
    let told = report.describe();
    let bytes = a.len() + b.len();
    for part in [
        "a.log (JSON lines in gzip): 1 events accepted, 0 rejected",
        "b.log (JSON lines): 1 events accepted, 1 rejected",
        "b.log, line 2: ",
        format!("2 files: 2 events accepted, 1 rejected, {bytes} bytes read").as_str(),
    ] {
        assert!(told.contains(part), "`{part}` is missing in:\n{told}");
    }
}

#[test]
fn a_name_that_is_there_is_itself_and_a_pattern_must_match() {
    let folder = tempfile::tempdir().unwrap();
    let odd = folder.path().join("odd[1].log");
    std::fs::write(&odd, "").unwrap();
    let of = |names: &[PathBuf]| find_inputs(names).map_err(|error| format!("{error:#}"));
    assert_eq!(of(&[odd.clone(), "-".into()]), Ok(vec![Input::File(odd), Input::StandardInput]));
    // A name without a pattern may be missing here: opening it says so.
    let plain = folder.path().join("missing.log");
    assert_eq!(of(std::slice::from_ref(&plain)), Ok(vec![Input::File(plain)]));
    let error = of(&[folder.path().join("x*.log")]).unwrap_err();
    assert!(error.contains("no file matches `") && error.contains("x*.log`"), "{error}");
    let error = of(&[folder.path().join("[.log")]).unwrap_err();
    assert!(error.contains("is not a pattern"), "{error}");
    let error = of(&["-".into(), "-".into()]).unwrap_err();
    assert!(error.contains("can be read once"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_where_one_of_the_files_cannot_be_read() {
    let world = World::start(clicks()).await;
    let good = world.write("good.jsonl", event("a"));
    for (bad, parts) in [
        (Input::File(world.folder.path().to_owned()), ["is a directory", "/*`"]),
        (
            world.write("logo", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"),
            ["logo: it is an image (PNG)", "what is read: JSON lines"],
        ),
        (
            world.write("torn.parquet", b"PAR1\x15\x00\x15\x00"),
            ["torn.parquet as Parquet", "cannot read it as Parquet"],
        ),
        (world.write("twice.csv", "id,time,id\n1,2,3\n"), ["twice.csv as CSV", "names `id` twice"]),
    ] {
        let (error, report) = world.fail(LoadPlan { inputs: vec![good.clone(), bad], ..world.plan() }).await;
        assert!(parts.iter().all(|part| error.contains(part)) && report.is_empty(), "{error}");
    }
    assert!(world.server.log.payloads().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_file_keeps_what_was_whole_and_names_the_files_behind_it() {
    let world = World::start(clicks()).await;
    let packed = gzip((0..100).map(|id| event(&id.to_string()) + "\n").collect::<String>());
    let torn = world.write("torn.gz", &packed[..packed.len() - 9]);
    let inputs = vec![torn, world.write("next.jsonl", event("next"))];
    let (error, report) = world.fail(LoadPlan { inputs, ..world.plan() }).await;
    let taken = report.accepted();
    assert!(taken > 0 && taken <= 100, "{taken}");
    assert!(error.contains(&format!("torn.gz: reading failed after line {taken}: ")), "{error}");
    assert_eq!((report.not_begun.len(), world.server.log.payloads().len() as u64), (1, taken));
    assert!(report.describe().contains("not begun: 1 files, from "), "{}", report.describe());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_columns_is_counted_whole_although_its_reader_jumps() {
    let world = World::start(clicks()).await;
    let rows = super::columns::clicks_in_parquet();
    let report = world.load_all(vec![world.write("rows", &rows), world.write("rows.gz", gzip(&rows))]).await;
    assert_eq!((report.accepted(), report.rejected()), (4, 0), "{}", report.describe());
    assert_eq!(report.files[0].bytes, rows.len() as u64);
    assert!(report.describe().contains("rows.gz (Parquet in gzip)"), "{}", report.describe());
    let expected =
        r#"{"time":"2026-01-31T11:59:59.500Z","id":"a","page":"/a","geo":{"country":"de"},"tags":["x","y"]}"#;
    assert_eq!(world.server.log.payloads()[0], expected);
}
