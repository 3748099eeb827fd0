//! Which of some names comes nearest to one that is unknown.

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
    let is_near = edit_distance(unknown, nearest) <= 1 + unknown.len() / 4;
    is_near.then(|| format!("did you mean `{nearest}`?"))
}
