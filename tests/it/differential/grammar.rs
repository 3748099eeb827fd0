//! Queries out of a grammar (`grammar.txt`, which says how it is written), over a view of the vocabulary.
//!
//! In: chance. Out: a template, in which measures and relations stand in braces; each engine has its own text of it
//! (`vocabulary.rs`).

use std::collections::BTreeMap;

use rand::Rng;
use rand::rngs::StdRng;

use super::vocabulary::{Term, View, Vocabulary};

/// From here on a rule takes its first alternative: so deep an expression is large enough.
const DEEP: usize = 6;

/// What the leaves of an expression are.
const MODES: [&str; 3] = ["dims", "rolled", "rows"];

/// Rules by their names, in the order of the file.
pub struct Grammar(BTreeMap<&'static str, Vec<&'static str>>);

impl Grammar {
    pub fn read() -> Self {
        let mut rules: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for line in include_str!("grammar.txt").lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (name, alternative) = line.split_once(" =").unwrap_or_else(|| panic!("no rule: {line}"));
            rules.entry(name).or_default().push(alternative.trim());
        }
        Self(rules)
    }

    /// A template over a view, by a rule.
    pub fn template(&self, rule: &str, vocabulary: &Vocabulary, view: &View, random: &mut StdRng) -> String {
        let mut expansion = Expansion { grammar: self, vocabulary, random, kept: BTreeMap::new() };
        expansion.expand(rule, At { view, mode: "dims", depth: 0 })
    }

    /// The alternatives of a rule that a view has the dimensions for.
    fn alternatives(&self, rule: &str, at: At<'_>) -> Vec<&'static str> {
        let by_mode = self.0.get(format!("{rule}@{}", at.mode).as_str());
        let all = by_mode.or_else(|| self.0.get(rule)).unwrap_or_else(|| panic!("the grammar has no {rule}"));
        let is_there = |alternative: &&&str| {
            let mut wanted = alternative.split("$d:").skip(1).map(|rest| word(rest).0);
            wanted.all(|kind| at.view.dimensions.iter().any(|dimension| dimension.is(kind)))
        };
        all.iter().filter(is_there).copied().collect()
    }
}

/// Where an expansion stands.
#[derive(Clone, Copy)]
struct At<'a> {
    view: &'a View,
    mode: &'a str,
    depth: usize,
}

struct Expansion<'a> {
    grammar: &'a Grammar,
    vocabulary: &'a Vocabulary,
    random: &'a mut StdRng,
    // What `$name#1` was expanded to.
    kept: BTreeMap<String, String>,
}

impl Expansion<'_> {
    /// `symbol`: the name of a rule or of something that is built in, behind what it switches.
    fn expand(&mut self, symbol: &str, at: At<'_>) -> String {
        let vocabulary = self.vocabulary;
        if let Some((switch, rest)) = symbol.split_once('/') {
            return match MODES.contains(&switch) {
                true => self.expand(rest, At { mode: switch, ..at }),
                false => self.expand(rest, At { view: vocabulary.view(switch), mode: at.mode, depth: at.depth }),
            };
        }
        match symbol.split_once(':') {
            Some(("d", kind)) => self.pick(&at.view.dimensions, kind),
            Some((_, kind)) => self.pick(&vocabulary.measures, kind),
            None if ["raw", "finished", "both"].contains(&symbol) => format!("{{{symbol}:{}}}", at.view.name),
            None => {
                let alternatives = self.grammar.alternatives(symbol, at);
                let chosen = if at.depth >= DEEP { 0 } else { self.random.random_range(0..alternatives.len()) };
                self.fill(alternatives[chosen], At { depth: at.depth + 1, ..at })
            }
        }
    }

    fn pick(&mut self, terms: &[Term], kind: &str) -> String {
        let known: Vec<&Term> = terms.iter().filter(|term| term.is(kind)).collect();
        assert!(!known.is_empty(), "nothing is known as {kind}");
        known[self.random.random_range(0..known.len())].name.to_owned()
    }

    /// An alternative with all its symbols expanded.
    fn fill(&mut self, mut rest: &str, at: At<'_>) -> String {
        let mut filled = String::new();
        while let Some((before, after)) = rest.split_once('$') {
            filled.push_str(before);
            let (symbol, tail) = word(after);
            if tail.starts_with('#') {
                // One digit tells those of a name apart.
                let (number, tail) = tail.split_at(2);
                let key = format!("{symbol}{number}");
                let kept = self.kept.get(&key).cloned().unwrap_or_else(|| self.expand(symbol, at));
                filled.push_str(&kept);
                self.kept.insert(key, kept);
                rest = tail;
            } else {
                filled.push_str(&self.expand(symbol, at));
                rest = tail;
            }
        }
        filled + rest
    }
}

/// A symbol, and what stands behind it.
fn word(text: &str) -> (&str, &str) {
    let is_part = |letter: char| letter.is_ascii_lowercase() || "_/:".contains(letter);
    text.split_at(text.find(|letter: char| !is_part(letter)).unwrap_or(text.len()))
}
