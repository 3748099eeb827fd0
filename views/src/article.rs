//! The article before a word that a message takes from elsewhere.

/// A noun with its indefinite article: "a BIGINT", "an integer".
pub fn with_article(noun: &str) -> String {
    let article = if noun.starts_with(|letter: char| "aeiouAEIOU".contains(letter)) { "an" } else { "a" };
    format!("{article} {noun}")
}
