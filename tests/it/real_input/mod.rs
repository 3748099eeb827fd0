//! Real events through the whole system: every answer, from realtime alone, during and after publications, equals an
//! independent fold over what was sent, and at the end the facts known of the data sets.

pub mod data;
mod oracle;
mod web_access;
mod wikipedia;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use serde_json::Value;

use crate::support::parts::{Kind, Parts};
use crate::support::process::{Running, Setup};
use crate::support::seeds::one_seed;

/// A system under test, with what must outlive it.
struct Bench {
    running: Running,
    rng: StdRng,
    seen: Mutex<Seen>,
    _parts: Parts,
    _folder: tempfile::TempDir,
}

/// Which kinds of answers a run has compared: a suite that never met both layers would prove nothing.
#[derive(Debug, Default)]
struct Seen {
    versions: BTreeSet<i64>,
    realtime_alone: usize,
    batch_alone: usize,
    both: usize,
}

/// Starts the example pipeline with borders so close that many versions and runs come about in a short test.
/// `None` where the parts that are asked for cannot be had.
async fn start(example: &str, kind: Kind) -> Option<Bench> {
    let parts = Parts::of(kind).await?;
    let seed = one_seed(&format!("{example} on {kind:?} parts"));
    let folder = tempfile::tempdir().unwrap();
    let pipeline = close_borders(example, folder.path(), &parts);
    let setup = Setup { pipeline, data_dir: folder.path().join("data"), settings: parts.settings() }
        .with("BATCH__INTERVAL", "1h")
        .with("ARCHIVE__COMMIT_INTERVAL", "100ms")
        // Runs are dropped while the suite still asks.
        .with("SPEED__COURTESY", "500ms");
    let running = Running::start(&setup).await;
    Some(Bench { running, rng: StdRng::seed_from_u64(seed), seen: Mutex::default(), _parts: parts, _folder: folder })
}

/// A copy of the example whose grid and gap are small.
fn close_borders(example: &str, folder: &Path, parts: &Parts) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(example);
    // Its tests are of the pipeline as it is.
    let files = std::fs::read_dir(&source).unwrap().map(Result::unwrap).filter(|file| file.path().is_file());
    for file in files {
        std::fs::copy(file.path(), folder.join(file.file_name())).unwrap();
    }
    let pipeline = folder.join("pipeline.sql");
    let text = std::fs::read_to_string(&pipeline).unwrap();
    let close = text.replacen("event_time 'time'", "event_time 'time', grid '500', gap '2s'", 1);
    assert_ne!(text, close, "the example names its event time");
    std::fs::write(&pipeline, parts.pipeline(&close)).unwrap();
    pipeline
}

impl Bench {
    /// Splits `events` into requests of random sizes.
    fn chunks<'a, T>(&mut self, events: &'a [T]) -> Vec<&'a [T]> {
        let (mut rest, mut chunks) = (events, Vec::new());
        while !rest.is_empty() {
            let size = self.rng.random_range(1..=events.len() / 8).min(rest.len());
            let (chunk, after) = rest.split_at(size);
            chunks.push(chunk);
            rest = after;
        }
        chunks
    }

    /// One of several questions, at random.
    fn choose<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.rng.random_range(0..of.len())]
    }

    fn shuffle<T>(&mut self, values: &mut [T]) {
        values.shuffle(&mut self.rng);
    }

    /// Asks for rows and notes which layers answered.
    async fn ask(&self, view: &str, query: &[(&str, &str)]) -> Value {
        let answer = self.running.rows(view, query).await;
        let envelope = &answer["envelope"];
        let rows_of = |layer: &str| envelope[layer].as_i64().unwrap() > 0;
        let mut seen = self.seen.lock().unwrap();
        seen.versions.extend(envelope["version"].as_i64());
        match (rows_of("batch_rows"), rows_of("realtime_rows")) {
            (true, true) => seen.both += 1,
            (true, false) => seen.batch_alone += 1,
            (false, _) => seen.realtime_alone += 1,
        }
        answer
    }

    /// Fails unless the answers came from realtime alone, from both layers and from several versions.
    fn assert_met_both_layers(&self) {
        let seen = self.seen.lock().unwrap();
        eprintln!("{seen:?}");
        // A version may be replaced before it was asked once.
        assert!(seen.versions.len() >= 2 && seen.realtime_alone > 0 && seen.both > 0, "{seen:?}");
    }

    async fn batch(&self, arguments: &[&str]) {
        let output = self.running.run_batch(arguments).await;
        assert!(output.status.success(), "batch run: {output:?}\n{}", self.running.log());
    }
}

fn rows(answer: &Value) -> &Vec<Value> {
    answer["rows"].as_array().expect("an answer has rows")
}

fn integer(row: &Value, column: &str) -> i64 {
    row[column].as_i64().unwrap_or_else(|| panic!("{column} is an integer in {row}"))
}
