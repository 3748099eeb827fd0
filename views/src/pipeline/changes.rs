//! What becomes of a source or a view when another pipeline takes the place of one, as values: the change as a whole,
//! and each part of a definition that differs.
//!
//! Not here: comparing (`difference.rs`, `source_difference.rs`).

use std::fmt;

/// What became of a source or a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// It was not there before.
    Added,
    /// Its answers mean something else now: a view is built anew.
    Changed,
    /// It is written otherwise, and what was computed of it stays.
    Kept,
    /// It is the same.
    Unchanged,
    /// It is there no longer.
    Dropped,
}

impl ChangeKind {
    /// As it is told.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Changed => "changed",
            Self::Kept => "kept",
            Self::Unchanged => "unchanged",
            Self::Dropped => "dropped",
        }
    }
}

/// Which part of a definition differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PartKind {
    /// A column of a source: its name, its type, whether it may be NULL, its DEFAULT, or the order of columns.
    Schema,
    /// Another thing that decides what a record of the source is read as.
    Reading,
    /// The rows that are aggregated: source, joins, arrays.
    Rows,
    /// Which of them count.
    Filter,
    /// A group key.
    Dimension,
    /// A number that is answered.
    Measure,
    /// The unit of recompute.
    Bucket,
    /// The content or the columns of a static table.
    StaticTable,
    /// An option that no state depends on.
    Option,
    /// The words of the SELECT, where no other part differs.
    Wording,
}

impl PartKind {
    /// As it is told.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Schema => "schema",
            Self::Reading => "reading",
            Self::Rows => "rows",
            Self::Filter => "filter",
            Self::Dimension => "dimension",
            Self::Measure => "measure",
            Self::Bucket => "bucket",
            Self::StaticTable => "static table",
            Self::Option => "option",
            Self::Wording => "wording",
        }
    }
}

/// One part that differs: what it was and what it is, as text. `None`: it was, or is, not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartChange {
    /// Which part.
    pub kind: PartKind,
    /// Its name; empty where there is one of the kind.
    pub name: String,
    /// What it was.
    pub before: Option<String>,
    /// What it is.
    pub after: Option<String>,
}

impl fmt::Display for PartChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.as_str())?;
        if !self.name.is_empty() {
            write!(f, " {}", self.name)?;
        }
        match (&self.before, &self.after) {
            (None, Some(after)) => write!(f, " added: {after}"),
            (Some(before), None) => write!(f, " dropped: {before}"),
            (Some(before), Some(after)) => write!(f, ": {before} -> {after}"),
            (None, None) => f.write_str(" changed"),
        }
    }
}

/// What became of one source or view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedChange {
    /// Its name.
    pub name: String,
    /// What became of it.
    pub kind: ChangeKind,
    /// The parts that differ, where it was there before and still is.
    pub parts: Vec<PartChange>,
    /// What whoever asks it loses, in whole sentences.
    pub losses: Vec<String>,
}

impl NamedChange {
    /// A change without parts.
    pub(super) fn new(name: &str, kind: ChangeKind) -> Self {
        Self { name: name.to_owned(), kind, parts: Vec::new(), losses: Vec::new() }
    }
}

/// One part, where it differs.
pub(super) fn differs(kind: PartKind, name: &str, before: Option<String>, after: Option<String>) -> Option<PartChange> {
    (before != after).then(|| PartChange { kind, name: name.to_owned(), before, after })
}

/// Parts that have names: those of the later side in their order, then those that are gone.
pub(super) fn by_name(kind: PartKind, before: &[(String, String)], after: &[(String, String)]) -> Vec<PartChange> {
    let find = |side: &[(String, String)], name: &str| {
        side.iter().find(|(known, _)| known == name).map(|(_, text)| text.clone())
    };
    let kept = after.iter().filter_map(|(name, text)| differs(kind, name, find(before, name), Some(text.clone())));
    let gone = before.iter().filter(|(name, _)| find(after, name).is_none());
    kept.chain(gone.filter_map(|(name, text)| differs(kind, name, Some(text.clone()), None))).collect()
}
