//! Watching runs until they have ended.
//!
//! Guarantee: one reading of the journal and of the signs of life a second, however many runs there are. A store that
//! does not answer is told of once, and asked again.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::sleep;
use workflow::{Overview, Run, RunId, RunState};

use super::draw::{draw_bars, json_line, plain_line};
use super::opened::Opened;
use crate::commands::NotDone;
use crate::console::{complain, say};
use crate::runs::view::RunDetails;

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(1);
/// Runs, and tasks of each, that are shown.
const MAX_RUNS: usize = 20;
const MAX_TASKS: usize = 20;
/// So many looks without a sign of life from anybody, and it is told.
const SILENT_LOOKS: u32 = 20;

/// Which runs are watched.
pub(super) enum Watched {
    /// These.
    These(Vec<RunId>),
    /// All that have not ended, also those that are started meanwhile.
    Open,
}

/// How long.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// Until all have ended.
    Ended,
    /// Until all have ended, or nothing goes on since they are paused.
    EndedOrPaused,
}

/// Watches runs. An error where one has failed, or was not done.
pub(super) async fn watch(opened: &Opened, watched: Watched, until: Until, is_json: bool) -> Result<()> {
    let mut screen = Screen::new(is_json);
    let mut silence = Silence::default();
    let mut seen: BTreeMap<RunId, Arc<Run>> = BTreeMap::new();
    let mut has_complained = false;
    loop {
        match opened.workflow.overview().await {
            Ok(overview) => {
                has_complained = false;
                let runs = meant(&overview, &watched, &mut seen);
                let details: Vec<RunDetails> =
                    runs.iter().take(MAX_RUNS).map(|run| RunDetails::at_work(&overview, run, MAX_TASKS)).collect();
                screen.show(&details);
                if runs.is_empty() {
                    screen.complain("no run is queued or at work");
                }
                if runs.iter().all(|run| is_over(&overview, run, until)) {
                    return outcome(&runs);
                }
                if silence.has_begun(&overview) {
                    screen.complain(
                        "no process gives a sign of life on this lake: runs wait until one does (`twofold up`, \
                         `twofold batch loop`, `twofold worker`)",
                    );
                }
            }
            Err(error) if error.is_transient() => {
                if !std::mem::replace(&mut has_complained, true) {
                    screen.complain(&format!("the journal of runs cannot be read now, trying again: {error}"));
                }
            }
            Err(error) => return Err(error.into()),
        }
        sleep(PAUSE).await;
    }
}

/// The runs as they stand; one that is not listed any more as it stood last.
fn meant(overview: &Overview, watched: &Watched, seen: &mut BTreeMap<RunId, Arc<Run>>) -> Vec<Arc<Run>> {
    let state = &overview.state;
    if matches!(watched, Watched::Open) {
        let open = state.runs.iter().filter(|(_, run)| !run.state.is_ended());
        seen.extend(open.map(|(id, run)| (*id, Arc::clone(run))));
    }
    let ids: Vec<RunId> = match watched {
        Watched::These(ids) => ids.clone(),
        Watched::Open => seen.keys().copied().collect(),
    };
    for id in &ids {
        if let Some(run) = state.runs.get(id) {
            seen.insert(*id, Arc::clone(run));
        }
    }
    ids.iter().filter_map(|id| seen.get(id).cloned()).collect()
}

fn is_over(overview: &Overview, run: &Run, until: Until) -> bool {
    let is_paused = run.state == RunState::Paused || overview.state.is_paused;
    run.state.is_ended() || (until == Until::EndedOrPaused && is_paused && run.counts.leased == 0)
}

/// A run that failed is a failure, one that is not done is told as that.
fn outcome(runs: &[Arc<Run>]) -> Result<()> {
    if let Some(run) = runs.iter().find(|run| run.state == RunState::Failed) {
        let why = run.failure.as_ref().map_or("no reason is known", |failed| failed.failure.reason.as_str());
        bail!("run {id} failed: {why}; `twofold runs retry {id}` does what failed", id = run.id);
    }
    match runs.iter().find(|run| run.state != RunState::Done) {
        Some(run) if run.state == RunState::Cancelled => Err(NotDone(format!("run {} was cancelled", run.id)).into()),
        Some(run) => {
            let told = format!("run {} is not done: runs are paused, `twofold runs resume` ends that", run.id);
            Err(NotDone(told).into())
        }
        None => Ok(()),
    }
}

/// Whether nobody lives who could do anything: judged by signs of life that do not change.
#[derive(Default)]
struct Silence {
    beats: Vec<u64>,
    looks: u32,
}

impl Silence {
    fn has_begun(&mut self, overview: &Overview) -> bool {
        let beats: Vec<u64> = overview.processes.values().map(|process| process.beat).collect();
        let is_same = beats == self.beats;
        self.beats = beats;
        self.looks = if is_same { self.looks.saturating_add(1) } else { 0 };
        self.looks == SILENT_LOOKS
    }
}

/// Bars that are drawn over on a terminal; elsewhere a line at each change.
struct Screen {
    is_json: bool,
    is_terminal: bool,
    drawn_lines: usize,
    told: BTreeMap<u64, String>,
}

impl Screen {
    fn new(is_json: bool) -> Self {
        let is_terminal = std::io::stdout().is_terminal() && !is_json;
        Self { is_json, is_terminal, drawn_lines: 0, told: BTreeMap::new() }
    }

    fn show(&mut self, runs: &[RunDetails]) {
        if self.is_terminal {
            let text = draw_bars(runs);
            self.clear();
            self.drawn_lines = text.lines().count();
            say(&text);
            return;
        }
        for details in runs {
            let line = if self.is_json { json_line(details) } else { plain_line(details) };
            if self.told.get(&details.run.run) != Some(&line) {
                say(&line);
                self.told.insert(details.run.run, line);
            }
        }
    }

    fn complain(&mut self, line: &str) {
        // The bars are drawn again below it.
        self.drawn_lines = 0;
        complain(line);
    }

    fn clear(&mut self) {
        if self.drawn_lines > 0 {
            say(&format!("\x1b[{}A\x1b[J", self.drawn_lines));
            self.drawn_lines = 0;
        }
    }
}
