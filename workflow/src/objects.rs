//! Objects beside the journal: what tasks need and give beyond a few bytes, snapshots, ended runs.
//!
//! ```text
//!  _workflow/journal/...                                   the sequence
//!  _workflow/snapshots/0000000500.json                     the state up to an entry; named by the sequence's snapshot
//!  _workflow/runs/<key>.tasks-<task>-<attempt>-<n>.json    parameters of tasks, by their numbers
//!  _workflow/runs/<key>.output-<task>-<attempt>.json       what a task gave
//!  _workflow/history/0000000017.json                       a run that ended long ago, with its tasks
//!  _workflow/workers/<worker>.json                         a sign of life
//! ```
//!
//! Guarantee: an object is there before an entry names it. Those of a run are deleted when it is archived; what a late
//! worker leaves behind goes when the run is forgotten; those of a run that no entry names, because whoever was about
//! to start it died, go some time later (`upkeep.rs`).
//! Why no folder for each run: on a disk it would stay, empty, when its objects are gone.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use lake::{Lake, LakeError};
use object_store::path::Path;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::entry::{Content, Planned};
use crate::error::WorkflowError;
use crate::ids::{RunId, TaskId, Token};
use crate::runs::Run;
use crate::spec::TaskSpec;
use crate::task::Task;

/// The largest output that stands in the journal itself, in bytes of JSON.
pub const MAX_INLINE_BYTES: usize = 1_024;
/// Parameters of the tasks of one entry stand in the journal itself up to so many bytes, and in objects of about this
/// size beyond.
pub const CHUNK_BYTES: usize = 64 << 10;
/// The largest parameters or output, in bytes of JSON.
pub const MAX_VALUE_BYTES: usize = 64 << 20;

const ROOT: &str = "_workflow";
/// The folder of what tasks need and give.
const RUNS: &str = "runs";

/// Objects with parameters that are kept at hand: neighbours in a run are in one object, and runs take turns.
const KEPT_CHUNKS: usize = 4;

/// Parameters of tasks by their numbers, with the object that holds them.
type Chunk = (String, BTreeMap<TaskId, Value>);

/// The objects of the workflow in a lake. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Objects {
    lake: Lake,
    /// The newest last. Written by whoever reads another object, read by whoever takes a task; held for a copy only.
    chunks: Arc<Mutex<VecDeque<Chunk>>>,
}

impl Objects {
    pub(crate) fn new(lake: Lake) -> Self {
        Self { lake, chunks: Arc::default() }
    }

    pub(crate) fn lake(&self) -> &Lake {
        &self.lake
    }

    pub(crate) fn path(&self, relative: &str) -> Path {
        self.lake.path(&format!("{ROOT}/{relative}"))
    }

    pub(crate) async fn put<T: Serialize + Sync>(&self, relative: &str, value: &T) -> Result<(), WorkflowError> {
        let bytes = serde_json::to_vec(value).expect("what the workflow stores is plain data");
        Ok(self.lake.put(&self.path(relative), Bytes::from(bytes)).await?)
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, relative: &str) -> Result<Option<T>, LakeError> {
        let path = self.path(relative);
        let Some(bytes) = self.lake.get(&path).await? else { return Ok(None) };
        let corrupt =
            |error: serde_json::Error| LakeError::Corrupt { object: path.to_string(), reason: error.to_string() };
        serde_json::from_slice(&bytes).map(Some).map_err(corrupt)
    }

    async fn get_named<T: DeserializeOwned>(&self, relative: &str) -> Result<T, LakeError> {
        let found = self.get(relative).await?;
        let missing = || LakeError::Corrupt {
            object: self.path(relative).to_string(),
            reason: "the object is missing".to_owned(),
        };
        found.ok_or_else(missing)
    }

    /// Tasks as the journal holds them: parameters of many in objects of their own, `prefix` before their numbers.
    pub(crate) async fn store_tasks(
        &self,
        key: &str,
        prefix: &str,
        tasks: &[TaskSpec],
    ) -> Result<Vec<Planned>, WorkflowError> {
        let mut sizes = Vec::with_capacity(tasks.len());
        for task in tasks {
            sizes.push(checked_size("the parameters of a task", &task.parameters)?);
        }
        if sizes.iter().sum::<usize>() <= CHUNK_BYTES {
            return Ok(tasks.iter().map(|task| planned(task, Content::Inline(task.parameters.clone()))).collect());
        }
        let (mut all, mut begin) = (Vec::with_capacity(tasks.len()), 0);
        while begin < tasks.len() {
            let mut end = begin + 1;
            while end < tasks.len() && sizes[begin..=end].iter().sum::<usize>() <= CHUNK_BYTES {
                end += 1;
            }
            let name = format!("tasks-{prefix}-{}.json", all.len());
            let chunk = &tasks[begin..end];
            let parameters: BTreeMap<TaskId, &Value> = chunk.iter().map(|task| (task.id, &task.parameters)).collect();
            self.put(&of_run(key, &name), &parameters).await?;
            all.extend(chunk.iter().map(|task| planned(task, Content::Object(name.as_str().into()))));
            begin = end;
        }
        Ok(all)
    }

    pub(crate) async fn parameters(&self, run: &Run, task: &Task) -> Result<Value, LakeError> {
        match &task.parameters {
            Content::Inline(value) => Ok(value.clone()),
            Content::Object(name) => {
                let relative = of_run(&run.key, name);
                if let Some(kept) = self.kept(&relative, task.id) {
                    return Ok(kept);
                }
                let all: BTreeMap<TaskId, Value> = self.get_named(&relative).await?;
                let found = all.get(&task.id).cloned();
                let missing = || LakeError::Corrupt {
                    object: self.path(&relative).to_string(),
                    reason: format!("task {} is missing", task.id),
                };
                let found = found.ok_or_else(missing)?;
                // A large one stands alone, and nobody else needs it.
                if all.len() > 1 {
                    self.keep(relative, all);
                }
                Ok(found)
            }
        }
    }

    /// Parameters that were read with those of another task.
    fn kept(&self, relative: &str, task: TaskId) -> Option<Value> {
        let chunks = self.chunks.lock().unwrap_or_else(PoisonError::into_inner);
        chunks.iter().find(|(name, _)| name == relative)?.1.get(&task).cloned()
    }

    fn keep(&self, relative: String, all: BTreeMap<TaskId, Value>) {
        let mut chunks = self.chunks.lock().unwrap_or_else(PoisonError::into_inner);
        chunks.retain(|(name, _)| *name != relative);
        if chunks.len() >= KEPT_CHUNKS {
            chunks.pop_front();
        }
        chunks.push_back((relative, all));
    }

    pub(crate) async fn store_output(
        &self,
        key: &str,
        token: &Token,
        output: &Value,
    ) -> Result<Content, WorkflowError> {
        if checked_size("the output of a task", output)? <= MAX_INLINE_BYTES {
            return Ok(Content::Inline(output.clone()));
        }
        let name = format!("output-{}-{}.json", token.task, token.attempt);
        self.put(&of_run(key, &name), output).await?;
        Ok(Content::Object(name.into()))
    }

    pub(crate) async fn output(&self, key: &str, output: &Content) -> Result<Value, LakeError> {
        match output {
            Content::Inline(value) => Ok(value.clone()),
            Content::Object(name) => self.get_named(&of_run(key, name)).await,
        }
    }

    pub(crate) async fn delete_of_run(&self, key: &str) -> Result<(), LakeError> {
        let folder = self.path(RUNS);
        let objects = self.lake.objects(&folder).await?;
        let of_run = objects.into_iter().map(|object| object.location).filter(|path| key_of(path) == Some(key));
        self.lake.delete_all(&folder, of_run.collect()).await
    }

    /// The keys of all runs that have objects.
    pub(crate) async fn keys_of_runs(&self) -> Result<BTreeSet<String>, LakeError> {
        let objects = self.lake.objects(&self.path(RUNS)).await?;
        Ok(objects.iter().filter_map(|object| key_of(&object.location)).map(str::to_owned).collect())
    }
}

fn of_run(key: &str, name: &str) -> String {
    format!("{RUNS}/{key}.{name}")
}

/// The run that an object belongs to.
fn key_of(path: &Path) -> Option<&str> {
    path.filename()?.split_once('.').map(|(key, _)| key)
}

/// The name of a run in the history.
pub(crate) fn history_name(run: RunId) -> String {
    format!("history/{:010}.json", run.0)
}

fn planned(task: &TaskSpec, parameters: Content) -> Planned {
    // Named twice, a task would be waited for twice.
    let mut named = BTreeSet::new();
    let after = task.after.iter().copied().filter(|before| named.insert(*before)).collect();
    Planned { id: task.id, kind: task.kind, after, weight_bytes: task.weight_bytes, parameters }
}

fn checked_size(what: &'static str, value: &Value) -> Result<usize, WorkflowError> {
    match value.to_string().len() {
        bytes @ 0..=MAX_VALUE_BYTES => Ok(bytes),
        bytes => Err(WorkflowError::TooLarge { what, bytes, limit: MAX_VALUE_BYTES }),
    }
}
