//! Files that comments name in backquotes: each must be there, or a reader looks for what was moved or renamed.
//!
//! A name is read from the folder of the file's own modules, from the folder that holds the file, and from each above
//! it up to the root of the workspace.
//! Not here: the modules that code names (`paths.rs`).

use super::{EDGES, check, root, rust_files};

const ENDINGS: [&str; 4] = [".rs", ".md", ".toml", ".sh"];

/// The files that the comments of a text name, each after the number of its line.
fn named_files(text: &str) -> Vec<(usize, &str)> {
    let comments = text.lines().enumerate().filter(|(_, line)| line.trim_start().starts_with("//"));
    let named = comments.flat_map(|(at, line)| {
        let quoted = line.split('`').skip(1).step_by(2);
        quoted.filter(|name| is_file_name(name)).map(move |name| (at + 1, name))
    });
    named.collect()
}

fn is_file_name(text: &str) -> bool {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "_-./".contains(letter);
    text.chars().all(is_plain) && ENDINGS.iter().any(|ending| text.len() > ending.len() && text.ends_with(ending))
}

/// Whether a reader of the file at `path` finds the file `name`.
fn is_there(path: &str, name: &str) -> bool {
    let modules = root().join(path).with_extension("");
    modules.ancestors().take_while(|folder| folder.starts_with(root())).any(|folder| folder.join(name).is_file())
}

#[test]
fn every_file_that_a_comment_names_is_there() {
    let (mut findings, mut found) = (Vec::new(), 0);
    for (path, text) in EDGES.iter().flat_map(|(name, _)| rust_files(&root().join(name))) {
        let named = named_files(&text);
        found += named.len();
        let missing = named.into_iter().filter(|(_, name)| !is_there(&path, name));
        findings.extend(missing.map(|(line, name)| format!("{path}:{line}: {name}")));
    }
    assert!(found > 100, "the rule looks past them: it found {found}");
    check("files that comments name and that are not there", findings);
}

#[test]
fn a_file_is_found_from_where_it_is_named() {
    let text = "//! See `a/b.rs` and `c.md`, not `d` nor `<x>/e.rs`.\nlet f = \"`g.rs`\";\n    /// `h.toml`";
    assert_eq!(named_files(text), [(1, "a/b.rs"), (1, "c.md"), (3, "h.toml")]);
    for name in ["tests/it/tidy.rs", "it/tidy.rs", "tidy.rs", "tidy/paths.rs", "paths.rs", "CONTRIBUTING.md"] {
        assert!(is_there("tests/it/tidy.rs", name), "{name}");
    }
    assert!(!is_there("tests/it/tidy.rs", "circles/paths.rs") && !is_there("tests/it/tidy.rs", "it"));
}
