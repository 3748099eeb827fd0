//! Who may reach the port of this process, and how they are known.
//!
//! ```text
//!  access.file --run.rs, once a second--> rules --> edge::Keyring --> one principal per request
//!  keys of issuers --when wanted----------^
//! ```
//!
//! Guarantee: a process starts only where what it lets in is written down: on a loopback address, with keys, or with
//! `access.mode = "none"`. While it runs, a file that cannot be used leaves in force what was.
//! Not here: what a principal may do (the routes), how a request shows who makes it (`edge`).

pub mod file;
mod key_sets;
pub mod run;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Error, Result, anyhow};
use edge::{Access, KeySet, Keyring, WantedKeys};
use futures::future::join_all;
use positions::Clock;
use query_gateway::Trouble;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::config::{AccessMode, Config, ConfigError, ConfigProblem, Secret};
use file::{AccessFile, KeySetPlace};
use key_sets::{KeySetReader, read_bounded};

/// The largest access file.
const MAX_FILE_BYTES: usize = 4 << 20;
/// The keys of an issuer are fetched no more often, for tokens that ask for them and where they could not be had.
const FETCH_PAUSE: Duration = Duration::from_secs(60);
/// Keys at an address are fetched again after this long, so that those which an issuer has withdrawn count no more.
const FETCH_AGAIN: Duration = Duration::from_secs(3600);

/// What is wrong with the access file and the keys of issuers, by what it is about.
#[derive(Clone, Debug, Default)]
pub struct AccessProblems {
    // Written by the loop that keeps the rules, copied by the one that gathers the status.
    known: Arc<Mutex<BTreeMap<String, String>>>,
}

impl AccessProblems {
    /// All of them, for the status.
    pub fn troubles(&self) -> Vec<Trouble> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let tell = |(about, problem): (&String, &String)| {
            let way_out = "mend it; it is read again by itself, and until then what was read before stays in force";
            Trouble::new("access-unreadable", about.clone(), problem.clone(), way_out)
        };
        known.iter().map(tell).collect()
    }

    /// Notes a problem, or its end; the log is told of each change.
    fn note(&self, about: &str, problem: Option<String>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match problem {
            Some(problem) if known.get(about) != Some(&problem) => {
                warn!(about, problem, "cannot be used; what was read before stays in force");
                known.insert(about.to_owned(), problem);
            }
            Some(_) => {}
            None => {
                known.remove(about);
            }
        }
    }
}

/// How the port of a process knows who asks.
#[derive(Debug)]
pub struct OpenedAccess {
    /// For the guard of the port.
    pub access: Access,
    /// For the status.
    pub problems: AccessProblems,
    /// For the loop that keeps the rules; `None` where there are none.
    pub keeper: Option<AccessKeeper>,
}

/// Refuses to listen for others where nobody has said how they are known.
///
/// # Errors
/// [`ConfigError`], with the ways out.
pub fn check_listen(config: &Config) -> Result<(), ConfigError> {
    let listen = config.system.listen;
    if config.access.mode != AccessMode::Local || !is_reached_by_others(config) {
        return Ok(());
    }
    let message = format!(
        "`{listen}` is reached from other machines, and nothing says who may: write `access.mode = \"keys\"` and \
         `access.file` (`twofold key new` makes keys), or `access.mode = \"none\"` to let in everybody who reaches the \
         port; or listen on a loopback address such as `127.0.0.1:8080`"
    );
    let problem =
        ConfigProblem { key: "system.listen".to_owned(), origin: "access.mode is \"local\"".to_owned(), message };
    Err(ConfigError(vec![problem]))
}

/// What is written down, and yet lets in, or tells those on the way, more than its author may think.
pub fn doubt(config: &Config) -> Option<String> {
    let listen = config.system.listen;
    match config.access.mode {
        AccessMode::Open if is_reached_by_others(config) => Some(format!(
            "`{listen}` is reached from other machines, and `access.mode` is \"none\": whoever reaches it may do \
             everything; take \"keys\" (`twofold key new` makes them), unless something in front asks who it is"
        )),
        AccessMode::Keys if is_reached_by_others(config) && config.system.tls.is_none() => Some(format!(
            "`{listen}` is reached from other machines and speaks plain HTTP: whoever is on the way can read keys and \
             tokens; set `system.tls_certificate` and `system.tls_key`, unless something in front speaks TLS"
        )),
        _ => None,
    }
}

fn is_reached_by_others(config: &Config) -> bool {
    !config.system.listen.ip().to_canonical().is_loopback()
}

/// Reads what the mode needs.
///
/// # Errors
/// If the access file cannot be used. Keys of issuers that cannot be had are a problem of their tokens alone.
pub async fn open(config: &Config, clock: Arc<dyn Clock>) -> Result<OpenedAccess> {
    let problems = AccessProblems::default();
    let path = match (&config.access.mode, &config.access.file) {
        (AccessMode::Local, _) => return Ok(OpenedAccess { access: Access::Local, problems, keeper: None }),
        (AccessMode::Open, _) => return Ok(OpenedAccess { access: Access::Open, problems, keeper: None }),
        (AccessMode::Keys, path) => path.clone().context("`access.mode = \"keys\"` needs `access.file`")?,
    };
    let read = read_file(&path).await.with_context(|| format!("cannot use `access.file` {}", path.display()));
    let (text, file) = read?;
    let (keyring, wanted) = Keyring::new(file.rules(&BTreeMap::new()), clock);
    let (keyring, reader) = (Arc::new(keyring), KeySetReader::new()?);
    let mut keeper = AccessKeeper {
        path,
        text: Secret(text),
        file,
        sets: BTreeMap::new(),
        texts: BTreeMap::new(),
        fetched: BTreeMap::new(),
        asked: BTreeMap::new(),
        reader,
        keyring: keyring.clone(),
        wanted,
        problems: problems.clone(),
    };
    keeper.refresh_sets().await;
    keeper.put_in_force();
    Ok(OpenedAccess { access: Access::Keys(keyring), problems, keeper: Some(keeper) })
}

/// Keeps the rules as the files say.
#[derive(Debug)]
pub struct AccessKeeper {
    path: PathBuf,
    /// The text in force, in which a key may stand by mistake. It is compared, as are the texts of sets, and not the
    /// time of change: a copy may keep the time of what it was copied from, and a key that is taken away must count no
    /// more.
    text: Secret,
    file: AccessFile,
    sets: BTreeMap<KeySetPlace, Arc<KeySet>>,
    /// The text of each place, as it was read last; none where it could not be.
    texts: BTreeMap<KeySetPlace, String>,
    /// When each place was read last.
    fetched: BTreeMap<KeySetPlace, Instant>,
    /// When each set was read last because a token asked for it.
    asked: BTreeMap<KeySetPlace, Instant>,
    reader: KeySetReader,
    keyring: Arc<Keyring>,
    wanted: mpsc::Receiver<WantedKeys>,
    problems: AccessProblems,
}

impl AccessKeeper {
    /// Reads again what has changed.
    async fn look(&mut self) {
        // At once: an issuer that keeps silent must not hold up that a key counts no more.
        if self.read_again().await {
            self.put_in_force();
        }
        if self.refresh_sets().await {
            self.put_in_force();
        }
    }

    /// Fetches the keys of an issuer, unless a token had that done a moment ago.
    async fn fetch_wanted(&mut self, issuer: &str) {
        let places: BTreeSet<KeySetPlace> =
            self.file.key_sets().filter(|(of, _)| *of == issuer).map(|(_, place)| place.clone()).collect();
        let is_due = |place: &KeySetPlace| self.asked.get(place).is_none_or(|at| at.elapsed() >= FETCH_PAUSE);
        let due: Vec<KeySetPlace> = places.into_iter().filter(is_due).collect();
        self.asked.extend(due.iter().map(|place| (place.clone(), Instant::now())));
        if self.fetch(due).await {
            self.put_in_force();
        }
    }

    /// Whether the file says something else now.
    async fn read_again(&mut self) -> bool {
        let read = match read_bounded(&self.path, MAX_FILE_BYTES).await {
            Ok(text) if text == self.text.0 => Ok(None),
            Ok(text) => AccessFile::read(&text).map(|file| Some((text, file))).map_err(Error::from),
            Err(error) => Err(error),
        };
        let about = format!("access file {}", self.path.display());
        self.problems.note(&about, read.as_ref().err().map(|error| format!("{error:#}")));
        let Ok(Some((text, file))) = read else { return false };
        info!(file = %self.path.display(), "access file read again");
        (self.text, self.file) = (Secret(text), file);
        true
    }

    /// Reads the sets that are new, old or in a file, and forgets those that nobody names any more.
    async fn refresh_sets(&mut self) -> bool {
        let named: BTreeSet<KeySetPlace> = self.file.key_sets().map(|(_, place)| place.clone()).collect();
        let gone = self.fetched.keys().filter(|place| !named.contains(*place));
        gone.for_each(|place| self.problems.note(&about_keys(place), None));
        self.sets.retain(|place, _| named.contains(place));
        self.texts.retain(|place, _| named.contains(place));
        self.fetched.retain(|place, _| named.contains(place));
        self.asked.retain(|place, _| named.contains(place));
        let is_due = |place: &KeySetPlace| match (self.fetched.get(place), place) {
            (None, _) | (_, KeySetPlace::File(_)) => true,
            (Some(at), KeySetPlace::Url(_)) if self.sets.contains_key(place) => at.elapsed() >= FETCH_AGAIN,
            (Some(at), KeySetPlace::Url(_)) => at.elapsed() >= FETCH_PAUSE,
        };
        let due = named.into_iter().filter(is_due).collect();
        self.fetch(due).await
    }

    /// Whether there are other keys now. All are read at the same time: one that keeps silent is waited for once.
    async fn fetch(&mut self, places: Vec<KeySetPlace>) -> bool {
        let reader = self.reader.clone();
        let reads = places.into_iter().map(|place| read_set(reader.clone(), place));
        let mut is_changed = false;
        for (place, read) in join_all(reads).await {
            self.fetched.insert(place.clone(), Instant::now());
            if read.as_ref().is_ok_and(|text| self.texts.get(&place) == Some(text)) {
                continue;
            }
            self.texts.remove(&place);
            let set = read.and_then(|text| {
                let set = KeySet::read(&text).map_err(|problem| anyhow!("{place} {problem}"));
                self.texts.insert(place.clone(), text);
                set
            });
            self.problems.note(&about_keys(&place), set.as_ref().err().map(|error| format!("{error:#}")));
            if let Ok(set) = set {
                self.sets.insert(place, Arc::new(set));
                is_changed = true;
            }
        }
        is_changed
    }

    fn put_in_force(&self) {
        self.keyring.replace(self.file.rules(&self.sets));
    }
}

/// What is written at a place.
async fn read_set(reader: KeySetReader, place: KeySetPlace) -> (KeySetPlace, Result<String>) {
    let read = reader.read(&place).await;
    (place, read)
}

fn about_keys(place: &KeySetPlace) -> String {
    format!("keys of issuers at {place}")
}

async fn read_file(path: &Path) -> Result<(String, AccessFile)> {
    let text = read_bounded(path, MAX_FILE_BYTES).await?;
    let file = AccessFile::read(&text)?;
    Ok((text, file))
}
