//! What the operating system knows of this process, as metrics: processor time, memory, file descriptors, start.
//!
//! Guarantee: read at each scrape; what cannot be read, as on systems without `/proc`, is left out.
//! # Source
//! The names that Prometheus' own clients give these; fields of proc(5).

use std::fs;

use crate::metric_catalogue::METRICS;

/// Ticks in a second, of the times in `/proc`: the same on every Linux that this is built for, whatever its kernel's.
const TICKS_PER_SECOND: f64 = 100.0;

/// The metrics of the process, in Prometheus' text format.
pub fn render() -> String {
    let found = read().unwrap_or_default();
    let lines = found.into_iter().filter_map(|(name, value)| {
        let metric = METRICS.iter().find(|metric| metric.name == name)?;
        let kind = metric.kind.name();
        Some(format!("# HELP {name} {}\n# TYPE {name} {kind}\n{name} {}\n\n", metric.help, value?))
    });
    lines.collect()
}

type Found = Vec<(&'static str, Option<f64>)>;

fn read() -> Option<Found> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program, in brackets, may hold anything; the third field comes behind it.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
    let ticks = |number: usize| field(number).map(|ticks| ticks / TICKS_PER_SECOND);
    Some(vec![
        ("process_cpu_seconds_total", ticks(14).zip(ticks(15)).map(|(user, system)| user + system)),
        ("process_resident_memory_bytes", resident_bytes()),
        ("process_virtual_memory_bytes", field(23)),
        ("process_open_fds", open_fds()),
        ("process_max_fds", max_fds()),
        ("process_threads", field(20)),
        ("process_start_time_seconds", ticks(22).zip(boot_seconds()).map(|(after, boot)| boot + after)),
    ])
}

fn resident_bytes() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let kibibytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: f64 = kibibytes.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kibibytes * 1024.0)
}

fn open_fds() -> Option<f64> {
    let open = fs::read_dir("/proc/self/fd").ok()?.count();
    // One of them is that of the folder that was just read.
    Some(open.saturating_sub(1) as f64)
}

fn max_fds() -> Option<f64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let soft = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    soft.split_whitespace().next()?.parse().ok()
}

fn boot_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}
