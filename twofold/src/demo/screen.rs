//! The live table: redrawn in place on a terminal, a line a second elsewhere.

use std::fmt::Write as _;
use std::io::IsTerminal;

use super::answer::{Answer, PageAnswer};
use super::check::Comparison;
use crate::console::say;
use crate::generator::Truth;

/// Pages shown.
const TOP: usize = 8;

/// What is on the screen.
#[derive(Debug)]
pub struct Screen {
    is_terminal: bool,
    drawn_lines: usize,
}

/// The state of the demo at one comparison.
#[derive(Debug)]
pub struct Frame<'a> {
    /// Seconds since the first event.
    pub elapsed_seconds: u64,
    /// What was answered.
    pub answer: &'a Answer,
    /// What is true.
    pub truth: &'a Truth,
    /// The comparison of the two.
    pub comparison: &'a Comparison,
    /// Where the page is.
    pub page_url: &'a str,
}

impl Screen {
    /// A screen on standard output.
    pub fn new() -> Self {
        Self { is_terminal: std::io::stdout().is_terminal(), drawn_lines: 0 }
    }

    /// Shows a line that stays.
    pub fn say(&mut self, line: &str) {
        self.clear();
        say(&format!("{line}\n"));
    }

    /// Shows what comes last, below the numbers as they stand.
    pub fn end(&mut self, text: &str) {
        self.drawn_lines = 0;
        say(&format!("{text}\n"));
    }

    /// Shows the numbers of this moment in place of those before.
    pub fn show(&mut self, frame: &Frame<'_>) {
        let text = if self.is_terminal { draw_table(frame) } else { draw_line(frame) };
        self.clear();
        if self.is_terminal {
            self.drawn_lines = text.lines().count();
        }
        say(&text);
    }

    /// Takes the table away, so that other text can stand in its place.
    fn clear(&mut self) {
        if self.drawn_lines > 0 {
            say(&format!("\x1b[{}A\x1b[J", self.drawn_lines));
            self.drawn_lines = 0;
        }
    }
}

impl Default for Screen {
    fn default() -> Self {
        Self::new()
    }
}

fn draw_line(frame: &Frame<'_>) -> String {
    let sum = |visits: fn(&PageAnswer) -> i64| frame.answer.pages.values().map(visits).sum::<i64>();
    format!(
        "{:>4} s  batch {:>8} + realtime {:>7} = total {:>8}   truth {:>8}   largest difference {}   {}\n",
        frame.elapsed_seconds,
        sum(|page| page.batch_visits),
        sum(|page| page.realtime_visits),
        sum(|page| page.visits),
        frame.truth.visits,
        frame.comparison.largest_difference,
        version_name(frame.answer.version),
    )
}

fn draw_table(frame: &Frame<'_>) -> String {
    let answer = frame.answer;
    let mut top: Vec<_> = answer.pages.iter().collect();
    top.sort_by(|left, right| right.1.visits.cmp(&left.1.visits).then(left.0.cmp(right.0)));
    let mut text = format!(
        "\n  {:>4} s   {} events, {} of them late, {} copies, {} malformed   {}   {}\n\n",
        frame.elapsed_seconds,
        frame.truth.visits,
        frame.truth.late,
        frame.truth.copies,
        frame.truth.malformed,
        version_name(answer.version),
        frame.page_url,
    );
    let header = ["page", "batch", "realtime", "total", "truth", "difference"];
    let _ = writeln!(
        text,
        "  {:<14}{:>10} +{:>10} ={:>10}{:>10}{:>12}",
        header[0], header[1], header[2], header[3], header[4], header[5]
    );
    for (page, answered) in top.into_iter().take(TOP) {
        let truth = frame.truth.pages.get(page).map_or(0, |page| page.visits);
        let _ = writeln!(
            text,
            "  {page:<14}{:>10}  {:>10}  {:>10}{truth:>10}{:>12}",
            answered.batch_visits,
            answered.realtime_visits,
            answered.visits,
            answered.visits - truth
        );
    }
    let _ = writeln!(
        text,
        "\n  all {} pages x 4 measures compared, largest difference {}, uniques off by at most {:.2} of their published bound",
        answer.pages.len(),
        frame.comparison.largest_difference,
        frame.comparison.largest_sketch_error
    );
    text
}

fn version_name(version: Option<i64>) -> String {
    version.map_or_else(|| "no batch view yet".to_owned(), |version| format!("batch view {version}"))
}
