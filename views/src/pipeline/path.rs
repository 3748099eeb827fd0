//! Paths into an event: `meta.dt`, `"service.name".id`.

/// Deeper paths are refused: an event has at most 64 levels.
const MAX_KEYS: usize = 32;

/// The keys of a path, from the event inwards. A key with dots or quotes is written in double quotes, a quote in it
/// twice; a leading `$.` says nothing.
///
/// # Errors
/// What is wrong with it, in words.
pub(super) fn read_path(path: &str) -> Result<Vec<String>, &'static str> {
    let mut keys = Vec::new();
    let mut rest = path.strip_prefix("$.").unwrap_or(path);
    loop {
        let (key, behind) = if rest.starts_with('"') { quoted_key(rest)? } else { plain_key(rest)? };
        keys.push(key);
        if keys.len() > MAX_KEYS {
            return Err("the path has more than 32 keys");
        }
        match behind.strip_prefix('.') {
            Some(next) => rest = next,
            None if behind.is_empty() => return Ok(keys),
            None => return Err("a dot is missing behind a key in double quotes"),
        }
    }
}

/// A key as a path of its own, as it is written inside of a text of SQL.
pub fn path_of_key(key: &str) -> String {
    let is_plain = !key.is_empty() && key.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
    let path = if is_plain { key.to_owned() } else { format!("\"{}\"", key.replace('"', "\"\"")) };
    path.replace('\'', "''")
}

fn plain_key(text: &str) -> Result<(String, &str), &'static str> {
    let (key, behind) = text.split_at(text.find('.').unwrap_or(text.len()));
    if key.is_empty() {
        return Err("the path has an empty key");
    }
    if key.contains(['[', ']', '"', '*']) {
        return Err(
            "the path leads through keys of objects alone; a key with such letters is written in double quotes",
        );
    }
    Ok((key.to_owned(), behind))
}

fn quoted_key(text: &str) -> Result<(String, &str), &'static str> {
    let mut key = String::new();
    let mut rest = &text[1..];
    loop {
        let at = rest.find('"').ok_or("a double quote is not closed")?;
        key.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        match rest.strip_prefix('"') {
            Some(behind) => {
                key.push('"');
                rest = behind;
            }
            None => return Ok((key, rest)),
        }
    }
}
