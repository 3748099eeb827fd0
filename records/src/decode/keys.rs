//! Finding what a key of an object belongs to.

use super::json::RawString;

/// The keys of which an object's values are wanted.
#[derive(Debug)]
pub(super) struct Keys {
    // By length in bytes: few columns share one, so finding a key is one comparison, and most unknown keys cost none.
    by_length: Vec<Vec<(Box<str>, usize)>>,
    unescaped: Vec<u8>,
}

/// What a key belongs to, by its place among the wanted ones.
pub(super) enum Found {
    /// It is one of them.
    Exact(usize),
    /// It differs from one of them in the case of ASCII letters, and from no other.
    Near(usize),
    Nothing,
}

impl Keys {
    /// Keys by their places.
    pub fn new<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let mut by_length: Vec<Vec<(Box<str>, usize)>> = Vec::new();
        for (at, name) in names.enumerate() {
            if by_length.len() <= name.len() {
                by_length.resize_with(name.len() + 1, Vec::new);
            }
            by_length[name.len()].push((name.into(), at));
        }
        Self { by_length, unescaped: Vec::new() }
    }

    /// What a key belongs to.
    pub fn find(&mut self, key: RawString<'_>) -> Found {
        if !key.is_escaped {
            return self.among(key.raw.as_bytes());
        }
        let mut unescaped = std::mem::take(&mut self.unescaped);
        unescaped.clear();
        key.append_to(&mut unescaped);
        let found = self.among(&unescaped);
        self.unescaped = unescaped;
        found
    }

    fn among(&self, key: &[u8]) -> Found {
        let Some(candidates) = self.by_length.get(key.len()) else { return Found::Nothing };
        if let Some((_, at)) = candidates.iter().find(|(name, _)| name.as_bytes() == key) {
            return Found::Exact(*at);
        }
        let mut near = candidates.iter().filter(|(name, _)| name.as_bytes().eq_ignore_ascii_case(key));
        match (near.next(), near.next()) {
            (Some((_, at)), None) => Found::Near(*at),
            _ => Found::Nothing,
        }
    }
}
