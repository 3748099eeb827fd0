//! The loop that tells the other processes what is wrong in this one, and hears what is wrong in them.
//!
//! Guarantee: one listing of a folder in a turn, which is empty where nothing is wrong; what a process tells is bounded
//! in size, whatever its errors say. Told to stop, it takes its notice away.
//! Not here: what counts of what was read (`notices/watch.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lake::{Lake, LakeError};
use object_store::path::Path;
use positions::SourceName;
use query_gateway::Trouble;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::watch::NoticeWatch;
use super::{Heard, Notice, NoticedStop, NoticedStops, Notices};
use crate::definitions::Definitions;
use crate::health::{Health, Stops, TOPIC};
use crate::role::{Role, Roles};
use crate::stage::{RoleError, Stage};

/// Below the root of the lake.
const FOLDER: &str = "_notices";
/// Between two turns.
const TURN: Duration = Duration::from_secs(3);
/// So long a process that stops tries to take its notice away; what is left is forgotten by itself.
const FAREWELL: Duration = Duration::from_secs(2);

/// The stages that can give a source up, and whose work they are.
const DUTIES: [(Role, Stage); 2] = [(Role::Archive, Stage::Archive), (Role::Speed, Stage::Speed)];

/// The most problems that a process tells of.
const MOST_PROBLEMS: usize = 100;
/// The longest text that it tells, in characters.
const LONGEST: usize = 1_000;
/// Objects beyond this are not what a process has written.
const MAX_BYTES: u64 = 4 << 20;
/// The most processes that are listened to.
const MOST_PROCESSES: usize = 256;

/// What the loop works with.
pub struct NoticeLoop {
    /// What is to be told and what was heard.
    pub notices: Arc<Notices>,
    /// Where the objects are.
    pub lake: Lake,
    /// Where this process has stopped sources; it is told of those that stopped elsewhere.
    pub health: Arc<Health>,
    /// What this process does.
    pub roles: Roles,
    /// Its sources.
    pub definitions: Definitions,
    /// Names the object of this process: drawn for it.
    pub process: u128,
    /// What was seen of the others.
    pub watch: NoticeWatch,
    /// Of the notice that was put last; 0: there is none.
    pub beat: u64,
}

impl NoticeLoop {
    /// Hears what the others tell, then tells the others.
    ///
    /// # Errors
    /// Where the store does not answer, or does not let us: what was heard before stays, and is asked for again.
    pub async fn turn(&mut self) -> Result<(), LakeError> {
        let heard = self.listen().await;
        let told = self.speak().await;
        heard.and(told)
    }

    /// Takes the notice of this process away, if there is one.
    ///
    /// # Errors
    /// As [`Self::turn`].
    pub async fn fall_silent(&mut self) -> Result<(), LakeError> {
        if self.beat > 0 {
            self.lake.delete_if_there(&self.own_path()).await?;
            self.beat = 0;
        }
        Ok(())
    }

    async fn listen(&mut self) -> Result<(), LakeError> {
        let found = self.read_others().await?;
        let dead = self.watch.look(found);
        let here = self.health.stops_here();
        let mut heard = self.watch.heard(|source, stage| self.keeps(source, stage, &here));
        heard.stops.retain(|source, _| self.has_source(source));
        log_changes(&self.notices.heard(), &heard);
        self.health.note_elsewhere(heard.as_stops());
        self.notices.note_heard(heard);
        for name in dead {
            // Left there, it would be looked at for ever.
            self.lake.delete_if_there(&self.path_of(&name)).await?;
        }
        Ok(())
    }

    /// What the objects of all other processes hold, by their names.
    async fn read_others(&self) -> Result<BTreeMap<String, Bytes>, LakeError> {
        let own = self.own_name();
        let listed = self.lake.objects(&self.lake.path(FOLDER)).await?;
        let names = listed.iter().filter_map(|object| Some((object.location.filename()?, object.size)));
        let mut others: Vec<(&str, u64)> = names.filter(|(name, _)| *name != own).collect();
        others.sort_unstable();
        let mut found = BTreeMap::new();
        for (name, size) in others.into_iter().take(MOST_PROCESSES) {
            let bytes = if size > MAX_BYTES { Some(Bytes::new()) } else { self.lake.get(&self.path_of(name)).await? };
            // It may have gone since it was listed.
            found.extend(bytes.map(|bytes| (name.to_owned(), bytes)));
        }
        Ok(found)
    }

    async fn speak(&mut self) -> Result<(), LakeError> {
        let notice = Notice { beat: self.beat + 1, ..self.own_notice() };
        if notice.is_empty() {
            return self.fall_silent().await;
        }
        let text = serde_json::to_vec(&notice).expect("a notice is plain data");
        // Counted before it is known to be there: what may be there must be taken away.
        self.beat = notice.beat;
        self.lake.put(&self.own_path(), Bytes::from(text)).await
    }

    fn own_notice(&self) -> Notice {
        let (here, found) = (self.health.stops_here(), self.notices.found());
        let mut keeps: BTreeMap<SourceName, BTreeSet<String>> = BTreeMap::new();
        for (source, stage) in self.watch.claimed() {
            if self.keeps(&source, &stage, &here) {
                keeps.entry(source.clone()).or_default().insert(stage);
            }
            // Whether its views are built from what is archived already, a gateway knows by this.
            if self.roles.has(Role::Batch) && self.has_source(&source) {
                keeps.entry(source).or_default().insert(Stage::Batch.name().to_owned());
            }
        }
        let stops = self.own_stops(&here, &found.with_rows);
        let problems = found.problems.into_iter().take(MOST_PROBLEMS).map(|problem| self.told(problem)).collect();
        Notice { beat: 0, stops, keeps, problems }
    }

    /// What the roles of this process have given up. A topic that cannot be used keeps all of them from their work.
    fn own_stops(&self, here: &Stops, with_rows: &BTreeSet<SourceName>) -> NoticedStops {
        let mut stops = NoticedStops::new();
        for (source, stages) in here {
            for (role, stage) in DUTIES.into_iter().filter(|(role, _)| self.roles.has(*role)) {
                let Some(stop) = stages.get(stage.name()).or_else(|| stages.get(TOPIC)) else { continue };
                let noticed = NoticedStop {
                    reason: shortened(&stop.reason),
                    way_out: shortened(&stop.way_out),
                    has_rows: role == Role::Archive && with_rows.contains(source),
                };
                stops.entry(source.clone()).or_default().insert(stage.name().to_owned(), noticed);
            }
        }
        stops
    }

    fn told(&self, problem: Trouble) -> Trouble {
        let roles: Vec<&str> = self.roles.iter().map(Role::name).collect();
        Trouble {
            about: shortened(&problem.about),
            problem: shortened(&problem.problem),
            way_out: shortened(&problem.way_out),
            told_by: Some(roles.join(", ")),
            ..problem
        }
    }

    /// Whether this process works on a source in a stage.
    fn keeps(&self, source: &SourceName, stage: &str, here: &Stops) -> bool {
        let is_duty = DUTIES.iter().any(|(role, of_role)| of_role.name() == stage && self.roles.has(*role));
        let stages = here.get(source);
        let has_stopped = stages.is_some_and(|stages| stages.contains_key(stage) || stages.contains_key(TOPIC));
        is_duty && !has_stopped && self.has_source(source)
    }

    fn has_source(&self, source: &SourceName) -> bool {
        self.definitions.current().pipeline.sources.iter().any(|defined| defined.name == *source)
    }

    fn own_name(&self) -> String {
        format!("{:032x}.json", self.process)
    }

    fn own_path(&self) -> Path {
        self.path_of(&self.own_name())
    }

    fn path_of(&self, name: &str) -> Path {
        self.lake.path(FOLDER).join(name)
    }
}

/// A text of an error may be of any length, and is told every few seconds.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

fn log_changes(before: &Heard, now: &Heard) {
    for (source, stages) in now.stops.iter().filter(|(source, _)| !before.stops.contains_key(*source)) {
        for (stage, NoticedStop { reason, way_out, .. }) in stages {
            error!(%source, stage, reason, way_out, "source stopped in another process");
        }
    }
    for source in before.stops.keys().filter(|source| !now.stops.contains_key(*source)) {
        info!(%source, "source goes on in another process, or nobody says any more that it has stopped");
    }
}

/// Tells and hears until `stop`.
///
/// # Errors
/// None: what cannot be told or heard now is tried again.
pub async fn exchange_notices(mut notices: NoticeLoop, stop: CancellationToken) -> Result<(), RoleError> {
    let mut is_failing = false;
    while let Some(turned) = stop.run_until_cancelled(notices.turn()).await {
        if let Err(error) = &turned
            && !is_failing
        {
            warn!(%error, "what other processes say of stopped sources cannot be read, or ours not told; trying again");
        }
        is_failing = turned.is_err();
        if stop.run_until_cancelled(sleep(TURN)).await.is_none() {
            break;
        }
    }
    if !matches!(timeout(FAREWELL, notices.fall_silent()).await, Ok(Ok(()))) {
        warn!("what this process told of its problems stays with the others for half a minute");
    }
    Ok(())
}
