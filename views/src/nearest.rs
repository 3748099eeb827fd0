//! Which of some names comes nearest to one that is unknown, and which names come near at all.

use std::cmp::Reverse;

/// How many letters must be inserted, deleted or replaced to make one text of the other, without regard to case.
///
/// # Source
/// Levenshtein's distance, by Wagner and Fischer's algorithm.
fn edit_distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, letter) in one.to_lowercase().chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], at + 1);
        for (column, compared) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *compared);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}

/// The start of a hint: the known name that is nearest to an unknown one, where one is near.
pub fn did_you_mean(unknown: &str, known: &[&str]) -> Option<String> {
    // Letters are forgotten more often than added: of two equally near names the longer one is meant.
    let nearest = known.iter().min_by_key(|name| (edit_distance(unknown, name), Reverse(name.len())))?;
    let letters = if unknown.chars().count() < SHORTEST_MISTYPED { 1 } else { 1 + unknown.len() / 4 };
    let is_near = edit_distance(unknown, nearest) <= letters;
    is_near.then(|| format!("did you mean `{nearest}`?"))
}

/// Shorter names come near to each other by chance.
const SHORTEST_MISTYPED: usize = 5;

/// A name without what people and programs write in different ways: `user_id`, `userId`, `User-ID` are spelled alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spelling(String);

impl Spelling {
    /// The spelling of a name: in lower case, without `_`, `-`, `.` and spaces.
    pub fn of(name: &str) -> Self {
        Self(name.chars().filter(|letter| !"_-. ".contains(*letter)).flat_map(char::to_lowercase).collect())
    }

    /// Whether a name may be written where the other one is meant: they are spelled alike, or, of five letters or more,
    /// one letter apart.
    pub fn is_near(&self, other: &Self) -> bool {
        let (one, other) = (self.0.as_str(), other.0.as_str());
        if one == other {
            return !one.is_empty();
        }
        // A digit tells names apart that belong together: `line1` and `line2`.
        let without_digits = |name: &str| name.replace(|letter: char| letter.is_ascii_digit(), "");
        let letters = one.chars().count().min(other.chars().count());
        letters >= SHORTEST_MISTYPED
            && one.len().abs_diff(other.len()) <= char::MAX.len_utf8()
            && edit_distance(one, other) == 1
            && without_digits(one) != without_digits(other)
    }
}
