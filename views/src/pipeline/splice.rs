//! One view of an earlier file in the place of that of a later one.
//!
//! Guarantee: the view has the hash that it had in the earlier file, and all others keep theirs; else it is refused.
//! All that stands around the statement stays, comments too.

use std::ops::Range;

use datafusion::sql::sqlparser::tokenizer::Location;

use super::Pipeline;
use super::findings::Findings;
use super::statements::{Located, read_statements};

impl Pipeline {
    /// The same file with the view of this name as another file has it.
    ///
    /// # Errors
    /// Why the view cannot be had alone: one of the files has none of this name, or what it reads is another now.
    pub fn with_view_of(&self, earlier: &Pipeline, name: &str) -> Result<Pipeline, String> {
        let wanted = earlier.view(name).ok_or_else(|| "the earlier file does not have it".to_owned())?;
        let present = self.view(name).ok_or_else(|| "the present file does not have it".to_owned())?;
        let old = place_of(&earlier.text, wanted.line).ok_or_else(|| "its text is not found".to_owned())?;
        let new = place_of(&self.text, present.line).ok_or_else(|| "its text is not found".to_owned())?;
        let mut text = self.text.to_string();
        text.replace_range(new, &earlier.text[old]);
        let spliced = Pipeline::read(&text, &self.static_files).map_err(|error| error.to_string())?;
        let is_wanted = spliced.view(name).is_some_and(|view| view.hash == wanted.hash);
        let is_kept = self
            .views
            .iter()
            .filter(|view| view.name.as_str() != name)
            .all(|view| spliced.view(view.name.as_str()).is_some_and(|kept| kept.hash == view.hash));
        match is_wanted && is_kept {
            true => Ok(spliced),
            false => Err("its source, or a static table that it joins, was changed as well".to_owned()),
        }
    }
}

/// Where the statement that begins in a line stands in a file, in bytes.
fn place_of(text: &str, line: usize) -> Option<Range<usize>> {
    let statements = read_statements(text, &mut Findings::default());
    let (start, end) = statements.iter().find(|statement| statement.line == line).and_then(Located::span)?;
    let range = offset(text, start)?..offset(text, end)?;
    (range.start <= range.end).then_some(range)
}

/// Lines and columns are counted from 1, columns in characters.
fn offset(text: &str, at: Location) -> Option<usize> {
    let (line, column) = (usize::try_from(at.line).ok()?, usize::try_from(at.column).ok()?);
    let before: usize = text.split_inclusive('\n').take(line.checked_sub(1)?).map(str::len).sum();
    let rest = text.get(before..)?;
    let within = rest.char_indices().nth(column.checked_sub(1)?).map_or(rest.len(), |(byte, _)| byte);
    Some(before + within)
}
