//! The layers of a configuration: built-in defaults, then file, then environment, then flags.
//!
//! In: `config/default.toml` (embedded), which is also the list of all keys and their types, and up to three layers
//! over it. Out: one value per key, with the place it was written in. Guarantee: a key that the defaults do not have
//! is refused by name; nothing is read from the process or the disk here.
//! Not here: what the values mean (`sections.rs`).

use std::collections::BTreeMap;

use toml::{Table, Value};
use views::{did_you_mean, with_article};

use super::error::{ConfigError, ConfigProblem};
use super::pass_through::{PASS_THROUGH, property_of};
use super::schedule_keys::{empty_schedules, schedule_defaults, schedule_of};
use super::secret_files::{is_secret, secret_in_file, secret_variables};

/// The documented defaults: every key with its unit, default and effect.
pub const DEFAULTS: &str = include_str!("../../../config/default.toml");

/// Environment variables that set a key start with this and hold a double underscore: `TWOFOLD_<SECTION>__<KEY>`.
pub const ENVIRONMENT_PREFIX: &str = "TWOFOLD_";

/// Where a value comes from that nobody wrote.
pub(super) const DEFAULT_ORIGIN: &str = "default";

/// Settings of former versions, and what takes their place.
const GONE: [(&str, &str); 1] = [(
    "system.rejected_from_anywhere",
    "is no setting any more: reasons and payloads of rejected records are told to whoever may operate the system. Give them \
     a key whose grant has `operate = true` (`access.file`), or let in everybody who reaches the port \
     (`access.mode = \"none\"`)",
)];

/// One value and the place it was written in.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// The value, of the type that the default has.
    pub value: Value,
    /// A file, an environment variable, a flag, or `default`.
    pub origin: String,
}

/// All settings by dotted key (`section.key`), each as the last layer wrote it.
#[derive(Clone, Debug)]
pub struct MergedConfig {
    settings: BTreeMap<String, Setting>,
    /// By the key of a secret, the path of the file that it is in.
    secret_files: BTreeMap<String, Setting>,
    problems: Vec<ConfigProblem>,
}

impl MergedConfig {
    /// The built-in defaults alone.
    pub fn defaults() -> Self {
        let table: Table = DEFAULTS.parse().expect("the embedded defaults are TOML: a test reads them");
        let settings =
            flatten(&table).into_iter().map(|(key, value)| (key, Setting { value, origin: DEFAULT_ORIGIN.into() }));
        Self { settings: settings.collect(), secret_files: BTreeMap::new(), problems: Vec::new() }
    }

    /// The environment variables that set the keys that there are.
    pub fn variables(&self) -> Vec<String> {
        let variable = |key: &String| format!("{ENVIRONMENT_PREFIX}{}", key.replace('.', "__").to_uppercase());
        let of_files = secret_variables();
        self.settings.keys().chain(&of_files).map(variable).collect()
    }

    /// Lays a configuration file over what is there. `origin` names it in errors.
    pub fn with_file(mut self, origin: &str, text: &str) -> Self {
        match text.parse::<Table>() {
            Ok(table) => {
                for key in empty_schedules(&table) {
                    self.refuse(&key, origin, "is empty: say when it is due, with `cron` or `every`".to_owned());
                }
                flatten(&table).into_iter().for_each(|(key, value)| self.set(&key, value, origin));
            }
            Err(error) => self.refuse("", origin, not_toml(text, &error)),
        }
        self
    }

    /// Lays environment variables over what is there; those that are not settings of ours are passed over.
    pub fn with_environment(mut self, variables: impl IntoIterator<Item = (String, String)>) -> Self {
        for (name, text) in variables {
            let Some(key) = environment_key(&name) else { continue };
            self.set_text(&key, &text, &format!("environment variable {name}"));
        }
        self
    }

    /// Lays one flag over what is there.
    pub fn with_flag(mut self, key: &str, text: &str) -> Self {
        let flag = key.rsplit('.').next().unwrap_or(key).replace('_', "-");
        self.set_text(key, text, &format!("flag --{flag}"));
        self
    }

    /// Puts the secrets that are in files into their places; `read` reads a file.
    pub fn with_secrets(mut self, read: impl Fn(&str) -> Result<String, String>) -> Self {
        for (key, Setting { value, origin }) in std::mem::take(&mut self.secret_files) {
            let path = value.as_str().unwrap_or_default();
            let given = self.settings.get(&key).filter(|given| is_given(given)).map(|given| given.origin.clone());
            match (given, read(path)) {
                (Some(other), _) => {
                    let message = format!("`{key}` is set as well ({other}): keep one of the two");
                    self.refuse(&format!("{key}_file"), &origin, message);
                }
                (None, Ok(secret)) => {
                    let setting = Setting { value: Value::String(secret), origin: format!("file {path}") };
                    self.settings.insert(key, setting);
                }
                (None, Err(message)) => self.refuse(&format!("{key}_file"), &origin, message),
            }
        }
        self
    }

    /// The settings, once all layers lie on each other.
    ///
    /// # Errors
    /// Every key that is unknown or of the wrong type, in the order of the layers.
    pub fn finish(self) -> Result<BTreeMap<String, Setting>, ConfigError> {
        if self.problems.is_empty() { Ok(self.settings) } else { Err(ConfigError(self.problems)) }
    }

    fn set_text(&mut self, key: &str, text: &str, origin: &str) {
        self.know_schedule_of(key);
        let value = match self.settings.get(key).map(|setting| &setting.value) {
            Some(Value::Integer(_)) => text.parse().map(Value::Integer).ok(),
            Some(Value::Boolean(_)) => text.parse().map(Value::Boolean).ok(),
            Some(Value::Float(_)) => text.parse().map(Value::Float).ok(),
            Some(Value::Array(_)) => Some(list_of(text)),
            _ => None,
        };
        self.set(key, value.unwrap_or_else(|| Value::String(text.to_owned())), origin);
    }

    fn set(&mut self, key: &str, value: Value, origin: &str) {
        if let Some(secret) = secret_in_file(key) {
            return self.set_secret_file(key, secret, value, origin);
        }
        if property_of(key).is_some() {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let setting = Setting { value: Value::String(text), origin: origin.to_owned() };
            self.settings.insert(key.to_owned(), setting);
            return;
        }
        self.know_schedule_of(key);
        let Some(known) = self.settings.get_mut(key) else {
            let gone = GONE.iter().find(|(name, _)| *name == key).map(|(_, instead)| (*instead).to_owned());
            let message = gone.unwrap_or_else(|| unknown_key(key, self.settings.keys()));
            return self.refuse(key, origin, message);
        };
        if known.value.same_type(&value) {
            *known = Setting { value, origin: origin.to_owned() };
            return;
        }
        let message = wrong_type(key, &known.value, &value);
        self.refuse(key, origin, message);
    }

    /// The name of a schedule is free; once it is there, its keys are those of all.
    fn know_schedule_of(&mut self, key: &str) {
        for (key, value) in schedule_of(key).into_iter().flat_map(schedule_defaults) {
            self.settings.entry(key).or_insert(Setting { value, origin: DEFAULT_ORIGIN.to_owned() });
        }
    }

    /// An empty path takes the one of a weaker layer back.
    fn set_secret_file(&mut self, key: &str, secret: String, value: Value, origin: &str) {
        match value.as_str() {
            Some("") => drop(self.secret_files.remove(&secret)),
            Some(_) => drop(self.secret_files.insert(secret, Setting { value, origin: origin.to_owned() })),
            None => self.refuse(key, origin, wrong_type(&secret, &Value::String(String::new()), &value)),
        }
    }

    fn refuse(&mut self, key: &str, origin: &str, message: String) {
        self.problems.push(ConfigProblem { key: key.to_owned(), origin: origin.to_owned(), message });
    }
}

/// `TWOFOLD_SPEED__TICK` is `speed.tick`; in the pass-through section an underscore stands for a dot.
fn environment_key(name: &str) -> Option<String> {
    let (section, key) = name.strip_prefix(ENVIRONMENT_PREFIX)?.split_once("__")?;
    let key = format!("{}.{}", section.to_lowercase(), key.to_lowercase().replace("__", "."));
    Some(property_of(&key).map_or_else(|| key.clone(), |name| format!("{PASS_THROUGH}.{}", name.replace('_', "."))))
}

fn flatten(table: &Table) -> Vec<(String, Value)> {
    let mut flat = Vec::new();
    for (name, value) in table {
        match value {
            Value::Table(inner) => flat.extend(flatten(inner).into_iter().map(|(key, v)| (format!("{name}.{key}"), v))),
            value => flat.push((name.clone(), value.clone())),
        }
    }
    flat
}

/// A list as an environment variable writes it: as in a file, or with commas between. What begins as in a file and is
/// none is a text, which no list may be.
fn list_of(text: &str) -> Value {
    let as_in_file = format!("list = {text}").parse::<Table>().ok().and_then(|mut table| table.remove("list"));
    as_in_file.filter(Value::is_array).unwrap_or_else(|| {
        if text.trim_start().starts_with('[') {
            return Value::String(text.to_owned());
        }
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        Value::Array(items.map(|item| Value::String(item.to_owned())).collect())
    })
}

/// Whether somebody wrote it, and something into it.
fn is_given(setting: &Setting) -> bool {
    setting.origin != DEFAULT_ORIGIN && setting.value.as_str().is_none_or(|text| !text.is_empty())
}

/// Without the line itself, which may hold a password.
fn not_toml(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    format!("is not TOML: line {line}: {}", error.message())
}

fn wrong_type(key: &str, known: &Value, value: &Value) -> String {
    let expected = with_article(known.type_str());
    if is_secret(key) {
        return format!("must be {expected}, got {}", with_article(value.type_str()));
    }
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    format!("must be {expected}, got the {} `{text}`", value.type_str())
}

fn unknown_key<'a>(key: &str, known: impl Iterator<Item = &'a String>) -> String {
    let known: Vec<&str> = known.map(String::as_str).collect();
    let hint = did_you_mean(key, &known).unwrap_or_else(|| "config/default.toml lists all".to_owned());
    format!("there is no such setting; {hint}")
}
