//! Figures, each beside a limit measured in the same run: how fast the part is, and how fast it could be at most. What
//! touches log, store or lake is measured on embedded parts and, where they can be had, on Kafka, Redis and S3.
//!
//! `make bench` runs all; `make bench ARGS="recompute"` one section. `TWOFOLD_BENCH_EVENTS` sets the events of the
//! recompute and of the workflow (default 10,000,000). Machines are shared and noisy: quote the ratios.
#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "a benchmark measures time with the clock")]

mod archive;
mod collector;
mod data;
mod decode;
mod import;
mod kappa;
mod log;
mod parts;
mod query;
mod recompute;
mod report;
mod sketch;
mod speed;
mod workflow;

fn main() {
    let asked: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let is_asked = |section: &str| asked.is_empty() || asked.iter().any(|one| one == section);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let mut report = report::Report::default();
        if is_asked("decode") {
            decode::measure(&mut report);
        }
        if is_asked("sketch") {
            sketch::measure(&mut report);
        }
        if is_asked("log") {
            log::measure(&mut report).await;
        }
        if is_asked("collector") {
            collector::measure(&mut report).await;
        }
        if is_asked("archive") {
            archive::measure(&mut report).await;
        }
        if is_asked("import") {
            import::measure(&mut report).await;
        }
        if is_asked("speed") {
            speed::measure(&mut report).await;
        }
        if is_asked("query") {
            query::measure(&mut report).await;
        }
        if is_asked("recompute") {
            recompute::measure(&mut report).await;
        }
        if is_asked("workflow") {
            workflow::measure(&mut report).await;
        }
        if is_asked("kappa") {
            kappa::measure(&mut report).await;
        }
        report.print();
    });
}
