//! Runs as they are shown, asked for, and commanded over HTTP: shapes, grants, keys that come twice, events to the end.

mod buckets;
mod drawing;
mod routes;
mod shown;
mod sql;

use std::sync::Arc;

use positions::TimestampMicros;
use serde_json::json;
use workflow::{Beat, Change, Content, Entry, Overview, Planned, RunId, RunSpec, State, TaskId, TaskKind, WorkerId};

/// 2026-01-05T10:00:00Z.
const NOW: i64 = 1_767_607_200_000_000;

const PIPELINE: &str = "
CREATE UNBOUNDED EXTERNAL TABLE hits (id VARCHAR, time TIMESTAMP, page VARCHAR) STORED AS JSON
LOCATION 'kafka://hits' OPTIONS (event_time 'time', event_id 'id', partitions '1');
CREATE UNBOUNDED EXTERNAL TABLE sales (id VARCHAR, time TIMESTAMP, page VARCHAR) STORED AS JSON
LOCATION 'kafka://sales' OPTIONS (event_time 'time', event_id 'id', partitions '1');
CREATE MATERIALIZED VIEW by_hour AS SELECT page, count(*) AS n FROM hits GROUP BY page;
CREATE MATERIALIZED VIEW by_day WITH (bucket = 'day') AS SELECT page, count(*) AS n FROM sales GROUP BY page;
";

fn worker() -> WorkerId {
    WorkerId::from_drawn(1)
}

fn planned(id: u32, kind: TaskKind, weight_bytes: u64) -> Planned {
    Planned { id: TaskId(id), kind, after: Arc::from([]), weight_bytes, parameters: Content::Inline(json!({})) }
}

/// The state after changes by one worker, which leads.
fn state_of(changes: impl IntoIterator<Item = Change>) -> State {
    let mut state = State::default();
    state
        .apply(&Entry { epoch: state.epoch, by: worker(), at: TimestampMicros(NOW), changes: vec![Change::Lead] })
        .unwrap();
    for change in changes {
        let entry = Entry { epoch: state.epoch, by: worker(), at: TimestampMicros(NOW), changes: vec![change] };
        state.apply(&entry).unwrap();
    }
    state
}

fn overview(state: State, beat: Beat) -> Overview {
    Overview { state: Arc::new(state), processes: [(worker(), beat)].into() }
}

fn started(run: u64, spec: &RunSpec, tasks: Vec<Planned>) -> Change {
    Change::Started { run: RunId(run), key: format!("key-{run}").into(), spec: Arc::new(spec.clone()), tasks }
}
