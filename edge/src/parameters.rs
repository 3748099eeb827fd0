//! The parameters of a request, read by name: one grammar, and one wording of what is wrong, on every route.
//!
//! In: what stands behind `?`. Out: values, or a `bad-request` that says what the parameter takes and what it got.
//! Guarantee: nothing is passed over: a name that is given twice is refused where it is taken, and what nobody took by
//! [`Parameters::finish`], together with the names that the route knows.

use std::fmt::Display;
use std::ops::{Bound, RangeBounds};
use std::str::FromStr;
use std::time::Duration;

use axum::http::Uri;
use positions::{format_span, parse_span};

use crate::request::parameters;
use crate::{Problem, ProblemKind};

/// The parameters of one request that are not taken yet.
#[derive(Clone, Debug)]
pub struct Parameters {
    left: Vec<(String, String)>,
    /// What was asked for so far, whether or not it was given.
    known: Vec<&'static str>,
}

impl Parameters {
    /// Those of a request.
    ///
    /// # Errors
    /// As [`parameters`].
    pub fn of(uri: &Uri) -> Result<Self, Problem> {
        parameters(uri).map(Self::new)
    }

    /// From names and values, percent-decoded.
    pub fn new(given: Vec<(String, String)>) -> Self {
        Self { left: given, known: Vec::new() }
    }

    /// The value of `name`; `None` where it is not given.
    ///
    /// # Errors
    /// `bad-request` where it is given twice.
    pub fn take(&mut self, name: &'static str) -> Result<Option<String>, Problem> {
        self.known.push(name);
        let taken = self.left.extract_if(.., |(given, _)| given.as_str() == name);
        let mut values: Vec<String> = taken.map(|(_, value)| value).collect();
        let value = values.pop();
        if values.is_empty() { Ok(value) } else { Err(bad(format!("`{name}` is given twice"))) }
    }

    /// A whole number within `range`, which includes its ends.
    ///
    /// # Errors
    /// `bad-request` where it is anything else.
    pub fn number<T>(&mut self, name: &'static str, range: impl RangeBounds<T>) -> Result<Option<T>, Problem>
    where
        T: FromStr + PartialOrd + Display,
    {
        let Some(text) = self.take(name)? else { return Ok(None) };
        match text.parse::<T>() {
            Ok(number) if range.contains(&number) => Ok(Some(number)),
            _ => Err(bad(format!("`{name}` must be {}, got `{text}`", in_words::<T>(&range)))),
        }
    }

    /// One of the words, as what it stands for.
    ///
    /// # Errors
    /// `bad-request` with the words as `known` where it is another one.
    pub fn one_of<T: Copy>(&mut self, name: &'static str, choices: &[(&str, T)]) -> Result<Option<T>, Problem> {
        let Some(text) = self.take(name)? else { return Ok(None) };
        if let Some((_, choice)) = choices.iter().find(|(word, _)| *word == text.as_str()) {
            return Ok(Some(*choice));
        }
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        Err(bad(format!("`{name}` must be {}, got `{text}`", listed(&words))).with_known(words))
    }

    /// A span of time, in the grammar of [`parse_span`], up to `most`.
    ///
    /// # Errors
    /// `bad-request` where it is none, or longer.
    pub fn span(&mut self, name: &'static str, most: Duration) -> Result<Option<Duration>, Problem> {
        let Some(text) = self.take(name)? else { return Ok(None) };
        match parse_span(&text) {
            Ok(span) if span <= most => Ok(Some(span)),
            Ok(_) => Err(bad(format!("`{name}` must be at most {}, got `{text}`", format_span(most)))),
            Err(error) => Err(bad(format!("`{name}` {}", error.refusal(&text)))),
        }
    }

    /// The names that were asked for so far.
    pub fn known(&self) -> &[&'static str] {
        &self.known
    }

    /// What is not taken, for a route that gives further names a meaning.
    pub fn into_left(self) -> Vec<(String, String)> {
        self.left
    }

    /// Refuses what is not taken.
    ///
    /// # Errors
    /// `bad-request` with the names that were asked for as `known`.
    pub fn finish(self) -> Result<(), Problem> {
        match self.left.first() {
            None => Ok(()),
            Some((name, _)) if self.known.is_empty() => {
                Err(bad(format!("this route takes no parameters, got `{name}`")))
            }
            Some((name, _)) => Err(bad(format!("there is no parameter `{name}`")).with_known(self.known)),
        }
    }
}

/// For a route without parameters.
///
/// # Errors
/// `bad-request` where there is one.
pub fn no_parameters(uri: &Uri) -> Result<(), Problem> {
    Parameters::of(uri)?.finish()
}

fn bad(detail: String) -> Problem {
    Problem::new(ProblemKind::BadRequest, detail)
}

fn in_words<T: Display>(range: &impl RangeBounds<T>) -> String {
    match (range.start_bound(), range.end_bound()) {
        (Bound::Included(least), Bound::Included(most)) => format!("{least} to {most}"),
        (Bound::Included(least), _) => format!("a whole number of at least {least}"),
        _ => "a whole number".to_owned(),
    }
}

fn listed(words: &[&str]) -> String {
    match words {
        [first @ .., last] if !first.is_empty() => format!("{} or {last}", first.join(", ")),
        _ => words.concat(),
    }
}
