//! Every finding in bad files, as a reader sees it: `findings.txt` draws files and what is said of them.

use views::Pipeline;

use super::{EDITS, files};

/// One file and its findings.
struct Case {
    sql: String,
    drawn: String,
}

fn cases() -> Vec<Case> {
    let text: String = include_str!("findings.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .fold(String::new(), |text, line| text + line + "\n");
    let blocks = text.split("\n\n").map(str::trim).filter(|block| !block.is_empty());
    let case = |block: &str| {
        let (sql, drawn): (Vec<&str>, Vec<&str>) = block.lines().partition(|line| line.starts_with('|'));
        let sql: Vec<&str> = sql.iter().map(|line| line.trim_start_matches("| ").trim_start_matches('|')).collect();
        Case { sql: sql.join("\n").replace("$EDITS", EDITS.trim_end()), drawn: drawn.join("\n") }
    };
    blocks.map(case).collect()
}

fn findings_in(sql: &str) -> String {
    let files = files(&[("c.csv", "channel,language\n#en,English\n"), ("bad.csv", "channel,n\n#en,many\n")]);
    match Pipeline::read(sql, &files) {
        Ok(_) => "nothing is wrong".to_owned(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn everything_wrong_in_a_file_is_reported_with_line_text_and_hint() {
    let cases = cases();
    assert!(cases.len() > 50, "the cases are read");
    let differences: Vec<String> = cases
        .iter()
        .map(|case| (case, findings_in(&case.sql)))
        .filter(|(case, found)| *found != case.drawn)
        .map(|(case, found)| format!("--- file\n{}\n--- found\n{found}\n--- drawn\n{}", case.sql, case.drawn))
        .collect();
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
}

/// Cuts and mixes of right files are read or refused, but nothing panics.
#[test]
fn no_text_makes_the_reader_panic() {
    let sql = include_str!("../../../examples/wikipedia/pipeline.sql");
    let words: Vec<&str> = sql.split_inclusive(char::is_whitespace).collect();
    for at in (0..words.len()).step_by(7) {
        let without: String =
            words.iter().enumerate().filter(|(index, _)| *index != at).map(|(_, word)| *word).collect();
        let _ = Pipeline::read(&without, &files(&[]));
        let _ = Pipeline::read(&words[..at].concat(), &files(&[]));
        let _ = Pipeline::static_files(&words[at..].concat());
    }
    for text in ["\0", "'", "\"", "/*", ";;;", "CREATE", "STRUCT<<<<>>>>", "(((((((((((((((((((((", "\u{1f600}", "$$"] {
        let _ = Pipeline::read(text, &files(&[]));
    }
    let nested = format!("CREATE UNBOUNDED EXTERNAL TABLE s (t {} INT {})", "STRUCT<a ".repeat(500), ">".repeat(500));
    assert!(Pipeline::read(&nested, &files(&[])).is_err());
    let nested = format!("CREATE MATERIALIZED VIEW v AS SELECT {}1{} AS x FROM s", "(".repeat(5000), ")".repeat(5000));
    assert!(Pipeline::read(&nested, &files(&[])).is_err());
    // Each of them would be read twice, as there is a mistake in the middle.
    for (left, right) in [("CASE WHEN true THEN ", " END"), ("CAST(", " AS INT)"), ("ARRAY[", "]")] {
        let nested = format!("CREATE MATERIALIZED VIEW v AS SELECT {}1 1{} AS x", left.repeat(30), right.repeat(30));
        let told = Pipeline::read(&nested, &files(&[])).unwrap_err().to_string();
        assert!(told.contains("the text has more than 12 CASE, CAST, ARRAY and the like within each other"), "{told}");
    }
}
