//! The paths that a Rust file names: leaves of its `use` trees, and paths in its code that begin at `crate`, `self` or
//! `super`.
//!
//! Not here: which file a path leads to (`circles.rs`). Why so: a compiler would know more, but would have to be built;
//! on text that rustfmt has formatted this finds all that leads from file to file.

/// A path, and where it stands.
#[derive(Debug, PartialEq, Eq)]
pub struct Mention {
    /// The modules inside the file, written out with `mod name { ... }`, around it.
    pub inside: Vec<String>,
    /// `super::b::B` is `["super", "b", "B"]`.
    pub path: Vec<String>,
    /// The name under which others find it here, where it is a `pub use`; `*` for all it holds.
    pub exported_as: Option<String>,
}

/// All paths of a file that may lead to another file of the crate.
pub fn mentions(text: &str) -> Vec<Mention> {
    let mut reader = Reader { tokens: tokens(text), at: 0, modules: Vec::new(), depth: 0, found: Vec::new() };
    while reader.at < reader.tokens.len() {
        reader.step();
    }
    reader.found
}

struct Reader<'a> {
    tokens: Vec<&'a str>,
    at: usize,
    // Modules written out around this place, each with the depth of braces at which it ends.
    modules: Vec<(&'a str, usize)>,
    depth: usize,
    found: Vec<Mention>,
}

impl<'a> Reader<'a> {
    /// The token `ahead` of the next one; none reads as empty.
    fn peek(&self, ahead: usize) -> &'a str {
        self.tokens.get(self.at + ahead).copied().unwrap_or_default()
    }

    fn before(&self, back: usize) -> &'a str {
        self.at.checked_sub(back).map_or("", |at| self.tokens[at])
    }

    fn next(&mut self) -> &'a str {
        self.at += 1;
        self.before(1)
    }

    fn step(&mut self) {
        match (self.peek(0), self.peek(1), self.peek(2)) {
            // `use<'a>` in a bound is not an import.
            ("use", after, _) if after != "<" => self.read_use(),
            ("mod", name, "{") => {
                self.modules.push((name, self.depth));
                self.at += 2;
            }
            // `pub(in crate::a)` says who may see, not what is used.
            ("crate" | "self" | "super", "::", _) if !self.is_visibility() && self.before(1) != "::" => {
                self.read_path()
            }
            ("{", ..) => {
                self.depth += 1;
                self.at += 1;
            }
            ("}", ..) => {
                self.depth = self.depth.saturating_sub(1);
                self.modules.pop_if(|(_, outside)| *outside == self.depth);
                self.at += 1;
            }
            _ => self.at += 1,
        }
    }

    fn is_visibility(&self) -> bool {
        self.before(1) == "in" && self.before(2) == "("
    }

    fn read_path(&mut self) {
        let mut path = vec![self.next()];
        while self.peek(0) == "::" && is_word(self.peek(1)) {
            self.at += 1;
            path.push(self.next());
        }
        self.note(&path, None);
    }

    fn read_use(&mut self) {
        let is_public = self.before(1) == "pub" || (self.before(1) == ")" && self.is_after_visibility());
        self.at += 1;
        self.read_tree(&[], is_public);
    }

    /// Whether the closing parenthesis before this place ends `pub(...)`.
    fn is_after_visibility(&self) -> bool {
        let opening = self.tokens[..self.at].iter().rposition(|token| *token == "(");
        opening.is_some_and(|opening| opening > 0 && self.tokens[opening - 1] == "pub")
    }

    /// One tree below `prefix`: `a::{b, c as d}` has the leaves `a::b` and `a::c`.
    fn read_tree(&mut self, prefix: &[&'a str], is_public: bool) {
        let mut path = prefix.to_vec();
        loop {
            match self.next() {
                "{" => return self.read_branches(&path, is_public),
                "::" | "" => {}
                word => path.push(word),
            }
            match self.peek(0) {
                "::" => self.at += 1,
                _ => break,
            }
        }
        let mut name = path.last().copied().unwrap_or_default();
        if name == "self" && path.len() > 1 {
            path.pop();
            name = path.last().copied().unwrap_or_default();
        }
        if self.peek(0) == "as" {
            self.at += 1;
            name = self.next();
        }
        if name == "*" {
            path.pop();
        }
        self.note(&path, is_public.then_some(name));
    }

    fn read_branches(&mut self, path: &[&'a str], is_public: bool) {
        while !["}", ""].contains(&self.peek(0)) {
            self.read_tree(path, is_public);
            if self.peek(0) == "," {
                self.at += 1;
            }
        }
        self.at += 1;
    }

    fn note(&mut self, path: &[&str], exported_as: Option<&str>) {
        self.found.push(Mention {
            inside: self.modules.iter().map(|(name, _)| (*name).to_owned()).collect(),
            path: path.iter().map(|word| (*word).to_owned()).collect(),
            exported_as: exported_as.map(str::to_owned),
        });
    }
}

fn is_word(token: &str) -> bool {
    token.starts_with(|letter: char| letter.is_alphanumeric() || letter == '_')
}

/// Words, `::` and other marks; comments, texts and characters are left out.
pub fn tokens(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            _ if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            _ if rest.starts_with("/*") => block_comment(rest),
            '"' => quoted(rest),
            '\'' => character_or_lifetime(rest),
            _ if is_word(rest) => {
                let end = rest.find(|letter: char| !(letter.is_alphanumeric() || letter == '_')).unwrap_or(rest.len());
                let word = &rest[..end];
                match raw_text(word, &rest[end..]) {
                    Some(length) => end + length,
                    None => {
                        found.push(word);
                        end
                    }
                }
            }
            _ if rest.starts_with("::") => {
                found.push("::");
                2
            }
            _ => {
                let length = first.len_utf8();
                found.extend((!first.is_whitespace()).then_some(&rest[..length]));
                length
            }
        };
        rest = &rest[length..];
    }
    found
}

/// The length of a block comment, with those inside it.
fn block_comment(rest: &str) -> usize {
    let (mut at, mut depth) = (0, 0);
    loop {
        match rest.as_bytes().get(at..at + 2) {
            None => return rest.len(),
            Some(b"/*") => {
                depth += 1;
                at += 2;
            }
            Some(b"*/") => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            Some(_) => at += 1,
        }
    }
}

/// The length of a text in quotes of either kind.
fn quoted(rest: &str) -> usize {
    let quote = rest.as_bytes()[0];
    let mut at = 1;
    while let Some(byte) = rest.as_bytes().get(at) {
        match byte {
            b'\\' => at += 2,
            byte if *byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// `'x'` and `'\n'` as a whole; of `'static` the mark alone.
fn character_or_lifetime(rest: &str) -> usize {
    let mut letters = rest.chars().skip(1);
    match (letters.next(), letters.next()) {
        (Some('\\'), _) | (Some(_), Some('\'')) => quoted(rest),
        _ => 1,
    }
}

/// The length of what follows `r`, `br` or `cr` in a raw text; none where the word is something else.
fn raw_text(word: &str, after: &str) -> Option<usize> {
    let text = after.trim_start_matches('#');
    if !["r", "br", "cr"].contains(&word) || !text.starts_with('"') {
        return None;
    }
    let marks = after.len() - text.len();
    let end = format!("\"{}", "#".repeat(marks));
    let length = after[marks + 1..].find(&end).map_or(after.len(), |at| marks + 1 + at + end.len());
    Some(length)
}

#[test]
fn trees_re_exports_and_paths_in_code_are_read_and_nothing_else() {
    let text = r####"
        //! Not `crate::comment::A`.
        use crate::{a::{self, A as Other}, b::*};
        pub(crate) use c::C;
        pub(in crate::visible) fn f<'a>(x: &'a str) -> impl Sized + use<'a> {
            let texts = ("crate::text::A \" crate::text::B", r#"crate::raw::A "quoted""#, '"', b'\'');
            /* crate::comment /* ::B */ crate::comment::C */
            super::d::g(crate::e::E::<u8>::new())
        }
        mod within {
            use super::F;
        }
        use std::fmt;
    "####;
    let found: Vec<(String, String, Option<String>)> = mentions(text)
        .into_iter()
        .map(|mention| (mention.inside.join("::"), mention.path.join("::"), mention.exported_as))
        .collect();
    let expected = [
        ("", "crate::a", None),
        ("", "crate::a::A", None),
        ("", "crate::b", None),
        ("", "c::C", Some("C")),
        ("", "super::d::g", None),
        ("", "crate::e::E", None),
        ("within", "super::F", None),
        ("", "std::fmt", None),
    ];
    let expected = expected.map(|(inside, path, name)| (inside.to_owned(), path.to_owned(), name.map(str::to_owned)));
    assert_eq!(found, expected);
}
