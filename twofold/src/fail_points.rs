//! Fail points: places before and after every write that matters, and before reads of the lake, where a test makes this
//! process die or stand still. Feature `failpoints` alone; a normal build has nothing of it.
//!
//! In: the environment variable `FAILPOINTS`, in the syntax of the crate `fail`: `NAME=2*off->return` dies at the third
//! time, `NAME=1*sleep(3000)` holds the write up once, and of objects `NAME=1*return(error)` makes the store fail once:
//! at `.before` the write is not done, at `.after` its reply is lost. Out: a line on stderr that names the point, and
//! SIGABRT: no destructor runs, no buffer is flushed, no task can catch it. Names are `<what is written>.before` and
//! `.after`, the latter only of writes that were done; of a read there is `.before` alone:
//!
//! | what is written | name |
//! |---|---|
//! | records | `log.append`; a topic: `log.topic` |
//! | master dataset | `lake.master.file`, `.facts`, `.commit`, `.checkpoint`, `.last_checkpoint` |
//! | batch views | the same of `lake.views`, whose `.commit` is the publication |
//! | what the cleanup deletes | `lake.master.remove.commit`, `lake.views.remove.file` and so on |
//! | what is read | `lake.master.read.file`, `lake.views.read.facts` and so on |
//! | realtime views | `realtime.blobs`, `realtime.index` |
//! | pages of imported files | `lake.imports` |
//! | the workflow's journal, and what it sums up to | `workflow.journal`, `workflow.snapshot` |
//! | what tasks are told and give, ended runs, signs of life | `workflow.tasks`, `.output`, `.history`, `.beat` |
//! | definition sets | `lake.definitions`; what probes a store: `lake.probe` |
//!
//! Why here: a wrapper around each part, put in by `wiring.rs`, sees every write of every layer, and the layers know
//! nothing of it.

mod log;
mod objects;
mod realtime;

use std::sync::Arc;

use event_log::EventLog;
use fail::FailScenario;
use object_store::ObjectStore;
use object_store::path::Path;
use serving_layer::RealtimeStore;

/// Reads `FAILPOINTS`. Points are armed as long as what this returns lives.
pub fn arm() -> impl Sized {
    FailScenario::setup()
}

/// The object store below `root`, with points about each of its writes.
pub fn around_objects(inner: Arc<dyn ObjectStore>, root: &str) -> Arc<dyn ObjectStore> {
    Arc::new(objects::FailingObjects { inner, root: Path::from(root) })
}

/// The event log, with points about each of its writes.
pub fn around_log(inner: Arc<dyn EventLog>) -> Arc<dyn EventLog> {
    Arc::new(log::FailingLog { inner })
}

/// The realtime store, with points about each of its writes.
pub fn around_store(inner: Arc<dyn RealtimeStore>) -> Arc<dyn RealtimeStore> {
    Arc::new(realtime::FailingStore { inner })
}

/// A write, with a point before it, and one after it where it was done.
async fn about<T, E>(what: &str, write: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    reach(&format!("{what}.before"));
    let done = write.await;
    if done.is_ok() {
        reach(&format!("{what}.after"));
    }
    done
}

fn reach(point: &str) {
    fail::fail_point!(point, |_| die(point));
}

/// Reaches a point at which the write may fail instead. Returns whether it does.
fn fails_at(point: &str) -> bool {
    fail::fail_point!(point, |argument| {
        if argument.as_deref() != Some("error") {
            die(point);
        }
        true
    });
    false
}

fn die(point: &str) {
    eprintln!("fail point {point}: this process dies here");
    std::process::abort();
}
