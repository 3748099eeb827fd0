//! Settings of the gateway. Values only: the binary reads them from file, environment and flags.
//!
//! Not here: components (stores, clock), which are passed in beside the settings.

use std::time::Duration;

use edge::AllowedOrigins;

/// How the gateway reads the stores and what it allows a query to cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewaySettings {
    /// How often the indexes of the realtime store are read in the background. Adds to the age of every answer.
    pub refresh_interval: Duration,
    /// How often the batch views are asked for a newer version in the background.
    pub version_interval: Duration,
    /// How many of the newest batch versions are considered when the newest does not tile with the runs.
    pub retained_versions: usize,
    /// Limit on one version of one view in memory; a larger one is refused by name.
    pub view_memory_bytes: usize,
    /// Limit on fetched, still encoded runs that are kept for the next rebuild, per view.
    pub run_memory_bytes: usize,
    /// Limit on the merged realtime states of one view in memory; partitions beyond it are answered from batch alone.
    pub realtime_memory_bytes: usize,
    /// How long one read of a store may take before the store counts as unreachable.
    pub store_timeout: Duration,
    /// An answer that was last known to be right longer ago than this is marked stale.
    pub stale_after: Duration,
    /// Rows of an answer where the request does not say.
    pub default_rows: usize,
    /// The largest `limit` of a rows request, and the most rows of an SQL answer.
    pub max_rows: usize,
    /// The longest answer, as JSON text.
    pub max_answer_bytes: usize,
    /// Memory of all answers that their clients have not read yet; more are refused with 429. At least one of the
    /// longest fits.
    pub unread_bytes: usize,
    /// How long a client may take to send its question.
    pub read_timeout: Duration,
    /// How long `after=` waits where the request does not say.
    pub default_wait: Duration,
    /// The longest `timeout=`.
    pub max_wait: Duration,
    /// Queries that may run at one time; more are refused with 429.
    pub max_queries: usize,
    /// Requests that may wait for a position token at one time, beside the queries that run; more are refused with 429.
    pub max_waiting: usize,
    /// SQL queries that may be planned and run at one time; more wait in line.
    pub max_sql_queries: usize,
    /// SQL queries that may wait for a place; more are refused with 429. With 0 none waits.
    pub sql_queue: usize,
    /// How long one waits for a place, before it is refused with 429.
    pub sql_queue_wait: Duration,
    /// Memory for plans of SQL texts that were asked before, about; with 0 each text is planned anew.
    pub sql_plan_bytes: usize,
    /// The longest SQL text, in bytes.
    pub sql_text_bytes: usize,
    /// How long an SQL query may be planned, and how long it may run; the time in line does not count.
    pub sql_time_limit: Duration,
    /// Memory of all running SQL queries together.
    pub sql_memory_bytes: usize,
    /// The largest SQL answer, as Arrow batches in memory.
    pub sql_result_bytes: usize,
    /// Into how many parallel parts an SQL query is split; with 1 its rows come in the same order each time.
    pub sql_partitions: usize,
    /// Whether each publication is compared with what it replaced.
    pub exactness: bool,
    /// Memory for each of the three parts of one comparison: states of runs, replaced states, new states; what needs
    /// more is not compared.
    pub exactness_memory_bytes: usize,
    /// Reports that are kept of each view.
    pub exactness_versions: usize,
    /// Records that the account of an answer reads at most to find the events of a group: all that are archived of its
    /// source. Of more it names no event.
    pub explain_rows: u64,
    /// Events of a group that an account names.
    pub explain_events: usize,
    /// How long the events of a group are looked for.
    pub explain_time_limit: Duration,
    /// Memory for that, of each account; what needs more is spilled.
    pub explain_memory_bytes: usize,
    /// Pages of which origins may ask from a visitor's browser. Default: of none.
    pub allowed_origins: AllowedOrigins,
}

impl Default for GatewaySettings {
    fn default() -> Self {
        const MIB: usize = 1024 * 1024;
        Self {
            refresh_interval: Duration::from_millis(20),
            version_interval: Duration::from_millis(500),
            retained_versions: 8,
            view_memory_bytes: 512 * MIB,
            run_memory_bytes: 128 * MIB,
            realtime_memory_bytes: 512 * MIB,
            store_timeout: Duration::from_secs(2),
            stale_after: Duration::from_secs(15),
            default_rows: 100,
            max_rows: 10_000,
            max_answer_bytes: 32 * MIB,
            unread_bytes: 256 * MIB,
            read_timeout: Duration::from_secs(30),
            default_wait: Duration::from_secs(5),
            max_wait: Duration::from_secs(30),
            max_queries: 256,
            max_waiting: 4_096,
            max_sql_queries: 8,
            sql_queue: 128,
            sql_queue_wait: Duration::from_secs(5),
            sql_plan_bytes: 8 * MIB,
            sql_text_bytes: 16 * 1024,
            sql_time_limit: Duration::from_secs(10),
            sql_memory_bytes: 256 * MIB,
            sql_result_bytes: 32 * MIB,
            sql_partitions: 1,
            exactness: true,
            exactness_memory_bytes: 64 * MIB,
            exactness_versions: 100,
            explain_rows: 10_000_000,
            explain_events: 1_000,
            explain_time_limit: Duration::from_secs(20),
            explain_memory_bytes: 128 * MIB,
            allowed_origins: AllowedOrigins::default(),
        }
    }
}
