//! The tables that a benchmark run prints: figures beside their limits, and embedded parts beside real ones.

use std::time::Instant;

use tests::parts::Kind;

/// Collects figures and prints them beside their limits.
#[derive(Default)]
pub struct Report {
    rows: Vec<Row>,
    pairs: Vec<Pair>,
}

/// One figure on parts of both kinds.
struct Pair {
    what: String,
    unit: &'static str,
    embedded: Option<f64>,
    real: Option<f64>,
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

    /// A figure that is measured on parts of both kinds, under the same words.
    pub fn on_parts(&mut self, what: &str, kind: Kind, figure: f64, unit: &'static str) {
        eprintln!("  {what}, {kind:?}: {} {unit}", number(figure));
        let known = self.pairs.iter().position(|pair| pair.what == what);
        let at = known.unwrap_or_else(|| {
            self.pairs.push(Pair { what: what.to_owned(), unit, embedded: None, real: None });
            self.pairs.len() - 1
        });
        let pair = &mut self.pairs[at];
        *if kind == Kind::Real { &mut pair.real } else { &mut pair.embedded } = Some(figure);
    }

    fn push(&mut self, row: Row) {
        eprintln!("  {}: {} {}", row.what, number(row.figure), row.unit);
        self.rows.push(row);
    }

    /// Prints the tables in Markdown.
    pub fn print(&self) {
        self.print_limits();
        println!();
        self.print_pairs();
    }

    fn print_pairs(&self) {
        println!("| what | embedded parts | Kafka, Redis, S3 | embedded : real |\n|---|---|---|---|");
        for Pair { what, unit, embedded, real } in &self.pairs {
            let figure =
                |value: &Option<f64>| value.map_or("skipped".to_owned(), |value| format!("{} {unit}", number(value)));
            let ratio = embedded.zip(*real).map_or(String::new(), |(embedded, real)| format!("{:.2}", embedded / real));
            println!("| {what} | {} | {} | {ratio} |", figure(embedded), figure(real));
        }
    }

    fn print_limits(&self) {
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
