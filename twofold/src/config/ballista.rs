//! `[ballista]`, and `batch.engine`: who computes large groups, and how.
//!
//! Not here: whether this build has such machines (`limits.rs` refuses what it has not got).

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::reader::{Reader, SHORTEST_SPAN, Section};

/// Executors ask for work every few seconds while they are busy: what is shorter takes them for lost.
const SHORTEST_SILENCE: Duration = Duration::from_secs(10);

/// Who computes large groups of buckets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Engine {
    /// The worker that has the task.
    #[default]
    Local,
    /// The executors of a scheduler, together.
    Ballista,
}

/// Machines that compute one group together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BallistaSection {
    /// Whether they are used.
    pub engine: Engine,
    /// Host and port of the scheduler.
    pub scheduler: (String, u16),
    /// Groups that read fewer bytes stay with their worker.
    pub from_bytes: u64,
    /// Into how many parts the rows of a plan are divided.
    pub partitions: usize,
    /// The largest plan.
    pub max_plan_bytes: usize,
    /// The largest message.
    pub max_message_bytes: u32,
    /// When a plan is given up.
    pub deadline: Duration,
    /// Where a scheduler listens.
    pub scheduler_listen: SocketAddr,
    /// When a silent executor is lost.
    pub lost_after: Duration,
    /// Where an executor listens.
    pub executor_listen: SocketAddr,
    /// How others reach it; `None`: as it listens.
    pub advertised_host: Option<String>,
    /// Tasks of an executor at one time.
    pub slots: usize,
    /// Memory of them all together.
    pub memory_bytes: u64,
    /// For what goes from stage to stage and for what is spilled; `None`: in the data directory.
    pub folder: Option<PathBuf>,
    /// Most bytes that are spilled.
    pub spill_limit_bytes: u64,
    /// When what was computed is removed.
    pub keep: Duration,
}

pub(super) fn read_ballista(reader: &Reader) -> BallistaSection {
    let section = reader.section("ballista");
    let slots = section.length("slots", 0..=1_024);
    BallistaSection {
        engine: reader.section("batch").parsed("engine", |text| match text {
            "local" => Ok(Engine::Local),
            "ballista" => Ok(Engine::Ballista),
            _ => Err(format!("must be `local` or `ballista`, got `{text}`")),
        }),
        scheduler: section.parsed("scheduler", read_host_and_port),
        from_bytes: section.size("from"),
        partitions: section.length("partitions", 1..=4_096),
        max_plan_bytes: section.memory_size("max_plan"),
        max_message_bytes: u32::try_from(section.size("max_message")).unwrap_or(u32::MAX),
        deadline: section.duration("deadline", SHORTEST_SPAN),
        scheduler_listen: read_address(section, "scheduler_listen"),
        lost_after: section.duration("lost_after", SHORTEST_SILENCE),
        executor_listen: read_address(section, "executor_listen"),
        advertised_host: section.optional_text("advertised_host"),
        slots: if slots == 0 { std::thread::available_parallelism().map_or(2, usize::from) } else { slots },
        memory_bytes: section.size("memory"),
        folder: section.optional_text("folder").map(PathBuf::from),
        spill_limit_bytes: section.size("spill_limit"),
        keep: section.duration("keep", SHORTEST_SPAN),
    }
}

fn read_address(section: Section<'_>, key: &str) -> SocketAddr {
    let address: Option<SocketAddr> = section.parsed(key, |text| {
        let told = |_| format!("must be an address and port such as `127.0.0.1:50050`, got `{text}`");
        text.parse().map(Some).map_err(told)
    });
    address.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)))
}

fn read_host_and_port(text: &str) -> Result<(String, u16), String> {
    let told = || format!("must be `host:port`, got `{text}`");
    let (host, port) = text.rsplit_once(':').ok_or_else(told)?;
    let is_host = !host.is_empty() && !host.contains(['/', '@', ' ']);
    match port.parse() {
        Ok(port) if is_host => Ok((host.to_owned(), port)),
        _ => Err(told()),
    }
}
