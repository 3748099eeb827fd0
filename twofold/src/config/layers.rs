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

/// The documented defaults: every key with its unit, default and effect.
pub const DEFAULTS: &str = include_str!("../../../config/default.toml");

/// Environment variables that set a key start with this and hold a double underscore: `TWOFOLD_<SECTION>__<KEY>`.
pub const ENVIRONMENT_PREFIX: &str = "TWOFOLD_";

/// The section whose keys are free: handed to the Kafka client as they are.
const PASS_THROUGH: &str = "log.properties";

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
    problems: Vec<ConfigProblem>,
}

impl MergedConfig {
    /// The built-in defaults alone.
    pub fn defaults() -> Self {
        let table: Table = DEFAULTS.parse().expect("the embedded defaults are TOML: a test reads them");
        let settings =
            flatten(&table).into_iter().map(|(key, value)| (key, Setting { value, origin: "default".into() }));
        Self { settings: settings.collect(), problems: Vec::new() }
    }

    /// The environment variables that set the keys that there are.
    pub fn variables(&self) -> Vec<String> {
        let variable = |key: &String| format!("{ENVIRONMENT_PREFIX}{}", key.replace('.', "__").to_uppercase());
        self.settings.keys().map(variable).collect()
    }

    /// Lays a configuration file over what is there. `origin` names it in errors.
    pub fn with_file(mut self, origin: &str, text: &str) -> Self {
        match text.parse::<Table>() {
            Ok(table) => flatten(&table).into_iter().for_each(|(key, value)| self.set(&key, value, origin)),
            Err(error) => self.refuse("", origin, format!("is not TOML: {error}")),
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

    /// The settings, once all layers lie on each other.
    ///
    /// # Errors
    /// Every key that is unknown or of the wrong type, in the order of the layers.
    pub fn finish(self) -> Result<BTreeMap<String, Setting>, ConfigError> {
        if self.problems.is_empty() { Ok(self.settings) } else { Err(ConfigError(self.problems)) }
    }

    fn set_text(&mut self, key: &str, text: &str, origin: &str) {
        let value = match self.settings.get(key).map(|setting| &setting.value) {
            Some(Value::Integer(_)) => text.parse().map(Value::Integer).ok(),
            Some(Value::Boolean(_)) => text.parse().map(Value::Boolean).ok(),
            Some(Value::Float(_)) => text.parse().map(Value::Float).ok(),
            _ => None,
        };
        self.set(key, value.unwrap_or_else(|| Value::String(text.to_owned())), origin);
    }

    fn set(&mut self, key: &str, value: Value, origin: &str) {
        if is_pass_through(key) {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let setting = Setting { value: Value::String(text), origin: origin.to_owned() };
            self.settings.insert(key.to_owned(), setting);
            return;
        }
        let Some(known) = self.settings.get_mut(key) else {
            let gone = GONE.iter().find(|(name, _)| *name == key).map(|(_, instead)| (*instead).to_owned());
            let message = gone.unwrap_or_else(|| unknown_key(key, self.settings.keys()));
            return self.refuse(key, origin, message);
        };
        if known.value.same_type(&value) {
            *known = Setting { value, origin: origin.to_owned() };
            return;
        }
        let message = wrong_type(&known.value, &value);
        self.refuse(key, origin, message);
    }

    fn refuse(&mut self, key: &str, origin: &str, message: String) {
        self.problems.push(ConfigProblem { key: key.to_owned(), origin: origin.to_owned(), message });
    }
}

/// `TWOFOLD_SPEED__TICK` is `speed.tick`; in the pass-through section an underscore stands for a dot.
fn environment_key(name: &str) -> Option<String> {
    let (section, key) = name.strip_prefix(ENVIRONMENT_PREFIX)?.split_once("__")?;
    let key = format!("{}.{}", section.to_lowercase(), key.to_lowercase().replace("__", "."));
    let property = key.strip_prefix(PASS_THROUGH).and_then(|rest| rest.strip_prefix('.'));
    Some(property.map_or_else(|| key.clone(), |name| format!("{PASS_THROUGH}.{}", name.replace('_', "."))))
}

fn is_pass_through(key: &str) -> bool {
    key.strip_prefix(PASS_THROUGH).is_some_and(|rest| rest.starts_with('.'))
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

fn wrong_type(known: &Value, value: &Value) -> String {
    let expected = with_article(known.type_str());
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    format!("must be {expected}, got the {} `{text}`", value.type_str())
}

fn unknown_key<'a>(key: &str, known: impl Iterator<Item = &'a String>) -> String {
    let known: Vec<&str> = known.map(String::as_str).collect();
    let hint = did_you_mean(key, &known).unwrap_or_else(|| "config/default.toml lists all".to_owned());
    format!("there is no such setting; {hint}")
}
