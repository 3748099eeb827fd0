//! Which of some names comes nearest to one that is unknown, and which names come near at all; and functions that are
//! called otherwise elsewhere.

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
    let length = unknown.chars().count();
    let letters = if length < SHORTEST_MISTYPED { 1 } else { 1 + unknown.len() / 4 };
    // A name that is much longer or shorter is not near, and to find out how far it is would take long.
    let as_long = known.iter().filter(|name| name.chars().count().abs_diff(length) <= letters);
    // Letters are forgotten more often than added: of two equally near names the longer one is meant.
    let nearest = as_long.min_by_key(|name| (edit_distance(unknown, name), Reverse(name.len())))?;
    let is_near = edit_distance(unknown, nearest) <= letters;
    is_near.then(|| format!("did you mean `{nearest}`?"))
}

/// Functions by what other engines call them, and how they are written here.
const ELSEWHERE: [(&str, &str); 24] = [
    ("any", "first_value(x)"),
    ("approx_count_distinct", "approx_distinct(x)"),
    ("approx_quantile", "approx_percentile_cont(x, 0.95)"),
    ("argmax", "max_by(x, key)"),
    ("argmin", "min_by(x, key)"),
    ("count_distinct", "count(DISTINCT x)"),
    ("count_if", "count(*) FILTER (WHERE condition)"),
    ("countif", "count(*) FILTER (WHERE condition)"),
    ("first", "first_value(x ORDER BY key)"),
    ("group_concat", "string_agg(x, ',')"),
    ("last", "last_value(x ORDER BY key)"),
    ("latest", "last_value(x ORDER BY key)"),
    ("listagg", "string_agg(x, ',')"),
    ("percentile", "approx_percentile_cont(x, 0.95)"),
    ("quantile", "approx_percentile_cont(x, 0.95)"),
    ("struct_extract", "get_field(x, 'name')"),
    ("sum_if", "sum(x) FILTER (WHERE condition)"),
    ("sumif", "sum(x) FILTER (WHERE condition)"),
    ("time_bucket", "date_bin(INTERVAL '1 hour', x)"),
    ("top_k", "approx_top_k(x, 10)"),
    ("topk", "approx_top_k(x, 10)"),
    ("tumble", "date_bin(INTERVAL '1 hour', x)"),
    ("uniq", "approx_distinct(x)"),
    ("uniqexact", "count(DISTINCT x)"),
];

/// How a function of other engines is written here, by its name in lower case.
pub fn called_here(name: &str) -> Option<&'static str> {
    ELSEWHERE.iter().find(|(elsewhere, _)| *elsewhere == name).map(|(_, here)| *here)
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
