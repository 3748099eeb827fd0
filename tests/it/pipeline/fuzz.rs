//! Pipeline files that are nearly right: read, or refused with words; whatever is written in them.

use std::fs;
use std::path::Path;

use views::Pipeline;

use super::no_files;
use crate::support::mutate::mutated;
use crate::support::seeds::for_each_seed;

#[test]
fn no_text_of_a_pipeline_stops_its_reader() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("examples");
    let read = |name: &str| fs::read_to_string(examples.join(name).join("pipeline.sql")).unwrap();
    let texts = ["demo", "wikipedia", "web-access"].map(read);
    let corpus: Vec<&str> = texts.iter().map(String::as_str).collect();
    for_each_seed(400, |mut random| {
        let text = mutated(&corpus, &mut random);
        if let Err(problems) = Pipeline::static_files(&text) {
            assert!(!problems.to_string().is_empty());
        }
        if let Err(problems) = Pipeline::read(&text, &no_files()) {
            assert!(!problems.to_string().trim().is_empty(), "refused without a word:\n{text}");
        }
    });
}
