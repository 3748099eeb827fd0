//! The table that a benchmark run prints.

use std::time::Instant;

/// Collects figures and prints them beside their limits.
#[derive(Default)]
pub struct Report {
    rows: Vec<Row>,
}

struct Row {
    what: String,
    figure: f64,
    unit: &'static str,
    limit: Option<(String, f64)>,
}

impl Report {
    /// A figure beside the limit that was measured in this run, in the same unit.
    pub fn add(&mut self, what: impl Into<String>, figure: f64, unit: &'static str, limit: (impl Into<String>, f64)) {
        self.push(Row { what: what.into(), figure, unit, limit: Some((limit.0.into(), limit.1)) });
    }

    /// A figure that has no limit of its kind.
    pub fn note(&mut self, what: impl Into<String>, figure: f64, unit: &'static str) {
        self.push(Row { what: what.into(), figure, unit, limit: None });
    }

    fn push(&mut self, row: Row) {
        eprintln!("  {}: {} {}", row.what, number(row.figure), row.unit);
        self.rows.push(row);
    }

    /// Prints the table in Markdown.
    pub fn print(&self) {
        println!("| what | figure | limit, same run | share |\n|---|---|---|---|");
        for row in &self.rows {
            let figure = format!("{} {}", number(row.figure), row.unit);
            let (limit, share) = match &row.limit {
                Some((name, limit)) => (format!("{name}: {}", number(*limit)), format!("{:.2}", row.figure / limit)),
                None => (String::new(), String::new()),
            };
            println!("| {} | {figure} | {limit} | {share} |", row.what);
        }
    }
}

fn number(value: f64) -> String {
    match value {
        value if value >= 10_000.0 => format!("{} k", (value / 1_000.0).round()),
        value if value >= 100.0 => format!("{value:.0}"),
        value => format!("{value:.2}"),
    }
}

/// Events per second of some work.
pub fn rate(events: usize, work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    events as f64 / start.elapsed().as_secs_f64()
}

/// Events per second of some asynchronous work.
pub async fn rate_async(events: usize, work: impl Future<Output = ()>) -> f64 {
    let start = Instant::now();
    work.await;
    events as f64 / start.elapsed().as_secs_f64()
}
