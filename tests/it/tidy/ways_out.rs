//! What messages and documents tell an operator to do: each command must parse, each flag and each setting must exist.
//!
//! Messages are string literals of product sources. A command stands in backquotes (`` `twofold source reset` ``), and
//! so does a setting (`` `log.brokers` ``); values that are filled in at run time stand in braces.
//! Not here: whether the command then helps: the tests of each failure run it.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Command, CommandFactory, Parser};
use twofold::arguments::Arguments;

use super::{check, product_sources, root};

/// Words that look like settings and are examples of something else.
const NO_SETTINGS: [&str; 1] = ["x.field"];
/// The same in documents: a folder, a table of SQL, a member of the status.
const NO_SETTINGS_OF_DOCUMENTS: [&str; 6] =
    ["lake.beside", "system.exactness", "system.rejected", "system.run_tasks", "system.runs", "system.superseded"];
/// Programs of others, whose flags are theirs.
const OTHER_PROGRAMS: [&str; 2] = ["kafka-acls", "kafka-topics"];
/// Where the keys of the Kafka client stand, which are no settings of ours.
const OTHER_SETTINGS: &str = "[log.properties]";

/// A string literal, and the line that it begins in.
type Literal = (usize, String);

/// The string literals of a Rust file, as the compiler reads them.
fn literals(text: &str) -> Vec<Literal> {
    let letters: Vec<char> = text.chars().collect();
    let (mut at, mut line, mut found) = (0, 1, Vec::new());
    while at < letters.len() {
        let begin = at;
        let rest = &letters[at..];
        match rest {
            ['/', '/', ..] => at += rest.iter().position(|letter| *letter == '\n').unwrap_or(rest.len()),
            ['"', ..] => {
                let (literal, length) = quoted(&rest[1..]);
                found.push((line, literal));
                at += length + 1;
            }
            ['r', '"' | '#', ..] if !is_word(&letters, at) => match raw(rest) {
                Some((literal, length)) => {
                    found.push((line, literal));
                    at += length;
                }
                None => at += 1,
            },
            // A letter; a lifetime has no second quote.
            ['\'', '\\', _, ..] => at += 3 + rest[3..].iter().position(|letter| *letter == '\'').unwrap_or(0) + 1,
            ['\'', _, '\'', ..] => at += 3,
            _ => at += 1,
        }
        at = at.min(letters.len());
        line += letters[begin..at].iter().filter(|letter| **letter == '\n').count();
    }
    found
}

/// Whether the place is inside of a word.
fn is_word(letters: &[char], at: usize) -> bool {
    // `br"..."` is a literal, too.
    let before = at.checked_sub(1).map(|before| letters[before]).filter(|letter| *letter != 'b');
    before.is_some_and(|letter| letter.is_alphanumeric() || letter == '_')
}

/// A literal behind its opening quote, and how long it is with its closing one.
fn quoted(letters: &[char]) -> (String, usize) {
    let (mut text, mut at) = (String::new(), 0);
    while let Some(letter) = letters.get(at) {
        match (letter, letters.get(at + 1)) {
            ('"', _) => break,
            ('\\', Some('\n')) => {
                let blank = letters[at + 1..].iter().position(|letter| !letter.is_whitespace());
                at += 1 + blank.unwrap_or(0);
            }
            ('\\', Some(escaped)) => {
                text.push(if *escaped == 'n' { '\n' } else { *escaped });
                at += 2;
            }
            (letter, _) => {
                text.push(*letter);
                at += 1;
            }
        }
    }
    (text, at + 1)
}

/// A raw literal, and how long it is.
fn raw(letters: &[char]) -> Option<(String, usize)> {
    let hashes = letters[1..].iter().take_while(|letter| **letter == '#').count();
    let begin = hashes + 2;
    if letters.get(begin - 1) != Some(&'"') {
        return None;
    }
    let closing: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
    let length = letters[begin..].windows(closing.len()).position(|window| window == closing)?;
    Some((letters[begin..begin + length].iter().collect(), begin + length + closing.len()))
}

/// What stands in backquotes.
fn backquoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// A command with a value in the place of each that is filled in at run time: one that is a name and a number.
fn filled_in(command: &str) -> String {
    let mut parts = command.split('{');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + "1" + part.split_once('}').map_or("", |(_, rest)| rest))
}

/// The words of a command line; what stands in double quotes is one.
fn words(command: &str) -> Vec<String> {
    let (mut words, mut is_quoted) = (vec![String::new()], false);
    for letter in command.chars() {
        match letter {
            '"' => is_quoted = !is_quoted,
            letter if letter.is_whitespace() && !is_quoted => words.push(String::new()),
            letter => words.last_mut().unwrap().push(letter),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Why a command is none; `None` where it is one.
fn fault(command: &str) -> Option<String> {
    match Arguments::try_parse_from(words(&filled_in(command))) {
        Ok(_) => None,
        // It is called by its name, without what it needs.
        Err(error) if error.kind() == ErrorKind::MissingRequiredArgument => None,
        Err(error) => Some(error.to_string().lines().next().unwrap_or_default().to_owned()),
    }
}

/// The long flags of a command and of those below it.
fn flags(command: &Command) -> BTreeSet<String> {
    let own = command.get_arguments().filter_map(|argument| argument.get_long().map(str::to_owned));
    own.chain(command.get_subcommands().flat_map(flags)).collect()
}

/// The flags that a text names.
fn named_flags(text: &str) -> Vec<&str> {
    let is_of_flag = |letter: char| letter.is_ascii_lowercase() || letter == '-';
    let words = text.split_whitespace().map(|word| word.trim_start_matches(|letter: char| "`'\"(".contains(letter)));
    let flags = words.filter_map(|word| word.strip_prefix("--"));
    let names = flags.map(|flag| flag.split(|letter: char| !is_of_flag(letter)).next().unwrap_or_default());
    names.filter(|name| name.starts_with(|letter: char| letter.is_ascii_lowercase())).collect()
}

/// Whether a text in backquotes has the form of a setting.
fn is_setting(text: &str) -> bool {
    let is_name = |name: &str| {
        name.starts_with(|letter: char| letter.is_ascii_lowercase())
            && name.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_')
    };
    text.split_once('.').is_some_and(|(section, key)| is_name(section) && is_name(key))
        && ![".rs", ".md", ".sql", ".toml", ".json", ".yml"].iter().any(|ending| text.ends_with(ending))
}

fn all_literals() -> Vec<(String, String)> {
    let sources = product_sources().into_iter();
    let all = sources.flat_map(|(path, text)| {
        literals(&text).into_iter().map(move |(line, literal)| (format!("{path}:{line}"), literal)).collect::<Vec<_>>()
    });
    all.collect()
}

#[test]
fn every_command_that_a_message_names_parses() {
    let (mut findings, mut found) = (Vec::new(), 0);
    for (place, literal) in all_literals() {
        for command in backquoted(&literal).filter(|quoted| quoted.starts_with("twofold ")) {
            found += 1;
            findings.extend(fault(command).map(|fault| format!("{place}: `{command}`: {fault}")));
        }
        if literal.contains("run twofold ") {
            findings.push(format!("{place}: a command stands in backquotes, as `twofold status` does"));
        }
    }
    assert!(found > 15, "the rule looks past them: it found {found}");
    check("commands that messages name and that do not exist", findings);
}

/// The documents for whoever runs a system, by their path.
fn documents() -> Vec<(String, String)> {
    let mut paths: Vec<PathBuf> = ["README.md", "ARCHITECTURE.md", "SECURITY.md"].map(PathBuf::from).into();
    for folder in ["docs", "docs/operations"] {
        let entries = std::fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path());
        paths.extend(entries.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    }
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(root().join(&path)).unwrap();
        (path.display().to_string(), text)
    };
    paths.into_iter().map(read).collect()
}

#[test]
fn every_command_that_a_document_names_parses() {
    let (mut findings, mut found) = (Vec::new(), 0);
    for (path, text) in documents() {
        // What may be left out, and what is for a shell, is no command line as it stands.
        let is_plain = |quoted: &&str| quoted.starts_with("twofold ") && !quoted.contains(['[', '|', '>', '\n']);
        for line in text.lines() {
            for command in backquoted(line).filter(is_plain) {
                found += 1;
                findings.extend(fault(command).map(|fault| format!("{path}: `{command}`: {fault}")));
            }
        }
    }
    assert!(found > 30, "the rule looks past them: it found {found}");
    check("commands that documents name and that do not exist", findings);
}

#[test]
fn every_flag_that_a_message_names_exists() {
    let known = flags(&Arguments::command());
    let (mut findings, mut found) = (Vec::new(), 0);
    for (place, literal) in all_literals() {
        if OTHER_PROGRAMS.iter().any(|program| literal.contains(program)) {
            continue;
        }
        for flag in named_flags(&literal) {
            found += 1;
            findings.extend((!known.contains(flag)).then(|| format!("{place}: --{flag}")));
        }
    }
    assert!(found > 15, "the rule looks past them: it found {found}");
    check("flags that messages name and that do not exist", findings);
}

/// The sections of `config/default.toml`, which states every setting.
fn settings() -> toml::Table {
    std::fs::read_to_string(root().join("config/default.toml")).unwrap().parse().unwrap()
}

fn is_known(settings: &toml::Table, setting: &str) -> bool {
    let (section, key) = setting.split_once('.').unwrap();
    settings.get(section).is_some_and(|section| {
        // A secret may come from a file.
        section.get(key).is_some() || key.strip_suffix("_file").is_some_and(|secret| section.get(secret).is_some())
    })
}

#[test]
fn every_setting_that_a_message_names_exists() {
    let settings = settings();
    let is_known = |setting: &str| is_known(&settings, setting) || NO_SETTINGS.contains(&setting);
    let (mut findings, mut found) = (Vec::new(), 0);
    for (place, literal) in all_literals() {
        for setting in backquoted(&literal).filter(|quoted| is_setting(quoted)) {
            found += 1;
            findings.extend(
                (!is_known(setting) && !literal.contains(OTHER_SETTINGS)).then(|| format!("{place}: `{setting}`")),
            );
        }
    }
    assert!(found > 25, "the rule looks past them: it found {found}");
    check("settings that messages name and that do not exist", findings);
}

#[test]
fn every_setting_that_a_document_names_exists() {
    let settings = settings();
    // Many names have a dot in them: one that begins as a section does is taken for a setting.
    let is_of_section = |name: &str| name.split_once('.').is_some_and(|(section, _)| settings.contains_key(section));
    let (mut findings, mut found) = (Vec::new(), 0);
    for (path, text) in documents() {
        for line in text.lines() {
            for setting in backquoted(line).filter(|quoted| is_setting(quoted) && is_of_section(quoted)) {
                found += 1;
                let is_fine = is_known(&settings, setting) || NO_SETTINGS_OF_DOCUMENTS.contains(&setting);
                findings.extend((!is_fine).then(|| format!("{path}: `{setting}`")));
            }
        }
    }
    assert!(found > 100, "the rule looks past them: it found {found}");
    check("settings that documents name and that do not exist", findings);
}

#[test]
fn what_messages_name_is_found_and_judged() {
    let text = "let a = \"run `twofold status`\\n \\\n    now\"; // \"not this\"\nlet b = r#\"a \"b\" `log.brokers`\"#;\n'\"' 'a \"c\"";
    let expected = [(1, "run `twofold status`\n now"), (3, "a \"b\" `log.brokers`"), (4, "c")];
    assert_eq!(literals(text), expected.map(|(line, literal)| (line, literal.to_owned())));
    for good in ["twofold status", "twofold source reset", "twofold source reset {source}", "twofold batch run --full"]
    {
        assert_eq!(fault(good), None, "{good}");
    }
    for bad in ["twofold source repair {source}", "twofold status --everything", "twofold status {source}", "twofold"] {
        assert!(fault(bad).is_some(), "{bad}");
    }
    assert_eq!(named_flags("add --yes, or `--data-dir DIR` (--full); a--b, --, ---"), ["yes", "data-dir", "full"]);
    assert!(is_setting("log.brokers") && !is_setting("format.json") && !is_setting("2.5") && !is_setting("a b.c"));
}
