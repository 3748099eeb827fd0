//! Typed reading of settings: each value checked, each problem named by its key, all problems told at once.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::time::Duration;

use positions::format_span;
use toml::Value;

use super::error::{ConfigError, ConfigProblem};
use super::layers::{DEFAULT_ORIGIN, Setting};
use super::quantity::{parse_duration, parse_size};

/// The largest count that a setting can be, where nothing sets a limit of its own: what 32 bits of any kind hold.
pub(super) const LARGEST_COUNT: u64 = 1 << 31;

/// The shortest span that a setting can be, where zero means nothing.
pub(super) const SHORTEST_SPAN: Duration = Duration::from_millis(1);

/// Reads settings by key and collects what is wrong. A wrong value reads as zero; [`Reader::finish`] then refuses all.
#[derive(Debug)]
pub struct Reader {
    settings: BTreeMap<String, Setting>,
    read: RefCell<BTreeSet<String>>,
    problems: RefCell<Vec<ConfigProblem>>,
}

impl Reader {
    /// A reader of merged layers.
    pub fn new(settings: BTreeMap<String, Setting>) -> Self {
        Self { settings, read: RefCell::default(), problems: RefCell::default() }
    }

    /// The keys of one section, by their short names.
    pub fn section<'a>(&'a self, name: &'a str) -> Section<'a> {
        Section { reader: self, name }
    }

    /// All keys below `prefix`, shortened by it.
    pub fn below(&self, prefix: &str) -> BTreeMap<String, String> {
        let with_dot = format!("{prefix}.");
        self.settings
            .iter()
            .filter_map(|(key, setting)| Some((key.strip_prefix(&with_dot)?, setting.value.as_str()?)))
            .map(|(key, text)| (key.to_owned(), text.to_owned()))
            .collect()
    }

    /// The names of the sections right below `prefix`, whose keys have no further dot.
    pub fn names_below(&self, prefix: &str) -> BTreeSet<String> {
        let with_dot = format!("{prefix}.");
        let below = self.settings.keys().filter_map(|key| key.strip_prefix(&with_dot)?.rsplit_once('.'));
        below.map(|(name, _)| name.to_owned()).collect()
    }

    /// The keys that nothing has read: a defect, which a test looks for.
    pub fn unread_keys(&self) -> Vec<String> {
        self.settings.keys().filter(|key| !self.read.borrow().contains(*key)).cloned().collect()
    }

    /// # Errors
    /// Everything that was found to be wrong.
    pub fn finish(&self) -> Result<(), ConfigError> {
        let problems = self.problems.borrow().clone();
        if problems.is_empty() { Ok(()) } else { Err(ConfigError(problems)) }
    }

    fn get(&self, key: &str) -> Setting {
        self.read.borrow_mut().insert(key.to_owned());
        let setting = self.settings.get(key);
        setting.cloned().unwrap_or_else(|| panic!("config/default.toml lacks `{key}`: a test reads all keys"))
    }
}

/// One section of the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Section<'a> {
    reader: &'a Reader,
    name: &'a str,
}

impl Section<'_> {
    /// Text as it stands.
    pub fn text(&self, key: &str) -> String {
        let setting = self.reader.get(&self.key(key));
        setting.value.as_str().unwrap_or_default().to_owned()
    }

    /// Text, `None` where it is empty.
    pub fn optional_text(&self, key: &str) -> Option<String> {
        Some(self.text(key)).filter(|text| !text.is_empty())
    }

    /// Text that `parse` understands.
    pub fn parsed<T: Default>(&self, key: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> T {
        self.checked(key, |value| parse(value.as_str().unwrap_or_default()))
    }

    /// A list of texts.
    pub fn texts(&self, key: &str) -> Vec<String> {
        self.checked(key, |value| {
            let items = value.as_array().into_iter().flatten();
            let texts = items.map(|item| item.as_str().filter(|text| !text.is_empty()).map(str::to_owned));
            let told = || format!("must be a list of texts such as [\"a\", \"b\"], got `{value}`");
            texts.collect::<Option<Vec<String>>>().ok_or_else(told)
        })
    }

    /// Where a key is written; `None`: nowhere.
    pub fn origin(&self, key: &str) -> Option<String> {
        let origin = self.reader.get(&self.key(key)).origin;
        (origin != DEFAULT_ORIGIN).then_some(origin)
    }

    /// Yes or no.
    pub fn is_on(&self, key: &str) -> bool {
        self.checked(key, |value| value.as_bool().ok_or_else(|| format!("must be true or false, got `{value}`")))
    }

    /// A whole number within `range`.
    pub fn count(&self, key: &str, range: RangeInclusive<u64>) -> u64 {
        self.checked(key, |value| {
            let number = value.as_integer().and_then(|number| u64::try_from(number).ok());
            number.filter(|number| range.contains(number)).ok_or_else(|| out_of_range(value, &range))
        })
    }

    /// A whole number within `range`, as an index or a length.
    pub fn length(&self, key: &str, range: RangeInclusive<u64>) -> usize {
        usize::try_from(self.count(key, range)).unwrap_or(usize::MAX)
    }

    /// A span of time of at least `least`.
    pub fn duration(&self, key: &str, least: Duration) -> Duration {
        self.parsed(key, |text| {
            let span = parse_duration(text)?;
            let told = || format!("must be at least {}, got `{text}`", format_span(least));
            (span >= least).then_some(span).ok_or_else(told)
        })
    }

    /// A size in bytes of at least 1.
    pub fn size(&self, key: &str) -> u64 {
        self.parsed(key, |text| {
            let bytes = parse_size(text)?;
            (bytes > 0).then_some(bytes).ok_or_else(|| format!("must be at least 1 byte, got `{text}`"))
        })
    }

    /// A size in bytes that memory can be asked for.
    pub fn memory_size(&self, key: &str) -> usize {
        usize::try_from(self.size(key)).unwrap_or(usize::MAX)
    }

    /// Notes that the value of `key` cannot be used.
    pub fn refuse(&self, key: &str, message: String) {
        let key = self.key(key);
        let origin = self.reader.get(&key).origin;
        self.reader.problems.borrow_mut().push(ConfigProblem { key, origin, message });
    }

    /// Notes that the section as a whole cannot be used.
    pub fn refuse_all(&self, message: String) {
        let problem = ConfigProblem { key: String::new(), origin: format!("section [{}]", self.name), message };
        self.reader.problems.borrow_mut().push(problem);
    }

    fn checked<T: Default>(&self, key: &str, read: impl FnOnce(&Value) -> Result<T, String>) -> T {
        let setting = self.reader.get(&self.key(key));
        read(&setting.value).unwrap_or_else(|message| {
            self.refuse(key, message);
            T::default()
        })
    }

    /// The name of a key with that of its section.
    pub fn key(&self, key: &str) -> String {
        format!("{}.{key}", self.name)
    }
}

fn out_of_range(value: &Value, range: &RangeInclusive<u64>) -> String {
    let (least, most) = (range.start(), range.end());
    let is_above =
        value.as_integer().and_then(|number| u64::try_from(number).ok()).is_some_and(|number| number > *most);
    if *most == LARGEST_COUNT && !is_above {
        format!("must be at least {least}, got `{value}`")
    } else {
        format!("must be {least} to {most}, got `{value}`")
    }
}
