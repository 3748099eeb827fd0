//! The query gateway: one answer from batch and realtime views, over HTTP and SQL.
//!
//! ```text
//!  realtime store --indexes--> pin --runs--> merged chunks --+
//!                               |                            +--> SourceState (immutable) --> rows, sql --> answer
//!  batch views ----versions-----+---states--> sorted states --+                                            + envelope
//! ```
//!
//! Guarantee: an answer is `finish(batch states (+) run states)` of one pinned batch version and runs that tile from
//! its cut to the head in every partition, all in memory before the first byte of the answer is computed. What does not
//! tile is not served; what lags is marked stale. Views and rows that a principal does not see are not there for it.
//! Nothing here writes to a store, but the reports of exactness.
//! Not here: Kafka and the master dataset (never read by the gateway: of rejected records it is told); publishing and
//! expiry (batch and speed layer).
//!
//! | file | what it does |
//! |---|---|
//! | `run.rs`, `patience.rs` | the refresh loops; how long work may take |
//! | `gateway.rs`, `config.rs` | the gateway as Rust calls it; its settings |
//! | `gateway/former.rs`, `gateway/successor.rs` | views answered by former definitions; gateways that take the place of others |
//! | `stores.rs`, `partitions.rs`, `refresh.rs`, `held_still.rs`, `attempt.rs`, `pin.rs` | the stores of a source; its partitions; reading them; putting a view together; choosing version and runs |
//! | `served.rs`, `versions.rs`, `realtime.rs`, `lane.rs`, `merging.rs`, `states.rs` | what is kept in memory |
//! | `queries.rs`, `sql_pins.rs`, `sql_answer.rs` | from a request to an answer and its envelope |
//! | `access.rs`, `visible.rs`, `engines.rs`, `told.rs` | what a principal sees: views, states, tables and names of SQL, the rest |
//! | `rows.rs`, `conditions.rs`, `literal.rs`, `local_time.rs`, `cursor.rs` | what a rows request means |
//! | `filter.rs`, `answer.rs`, `local_bins.rs`, `gaps.rs`, `order.rs`, `keys.rs`, `overflow.rs` | its rows, and totals that do not fit |
//! | `sql.rs`, `execution.rs`, `tables.rs`, `measure.rs`, `correlated.rs` | SQL, running its plans, views as its tables, `MEASURE()` in it, subqueries that refer to what is around them |
//! | `statements.rs`, `names.rs`, `view_schema.rs`, `series.rs`, `fixed_table.rs` | statements, names of views and series that SQL knows beside them |
//! | `rejected_table.rs`, `rejected_records.rs` | the table of rejected records, and how they are asked for |
//! | `runs_table.rs`, `runs_reading.rs`, `run_batches.rs`, `run_rows.rs` | the tables of runs and of their tasks, and how they are asked for |
//! | `exactness.rs`, `exactness/`, `exactness_table.rs` | each publication compared with what it replaced; the reports as a table |
//! | `account.rs`, `asked.rs`, `finished.rs` | what an answer was made of; the groups it is of, over any states; its values as they are compared |
//! | `system_table.rs`, `same_scan.rs`, `scan_conditions.rs` | tables that are read once a query runs; a scan put over what it reads; what its conditions leave out |
//! | `places.rs`, `fair_queue.rs`, `plan_cache.rs`, `params.rs` | who runs and who waits; plans by text, values put into them |
//! | `sql_error.rs`, `refusal.rs` | what the engine says, in words of the query |
//! | `complexity.rs`, `values.rs`, `expression_cost.rs`, `row_sizes.rs`, `watched.rs`, `window_growth.rs`, `buffered.rs`, `running.rs` | what an SQL query may cost: planning, expressions, windows, and that it ends |
//! | `envelope.rs`, `body.rs`, `details.rs`, `status.rs`, `rejected.rs`, `json.rs`, `metrics.rs` | what an answer and the system tell of themselves |
//! | `http.rs`, `media.rs`, `pages.rs`, `current.rs`, `error.rs`, `page.html` | HTTP |

mod access;
mod account;
mod answer;
mod asked;
mod attempt;
mod body;
mod buffered;
mod complexity;
mod conditions;
mod config;
mod correlated;
mod current;
mod cursor;
mod details;
mod engines;
mod envelope;
mod error;
mod exactness;
mod exactness_table;
mod execution;
mod expression_cost;
mod fair_queue;
mod filter;
mod finished;
mod fixed_table;
mod gaps;
mod gateway;
mod held_still;
mod http;
mod json;
mod keys;
mod lane;
mod literal;
mod local_bins;
mod local_time;
mod measure;
mod media;
mod merging;
mod metrics;
mod names;
mod nesting;
mod operators;
mod order;
mod overflow;
mod pages;
mod params;
mod partitions;
mod patience;
mod pin;
mod places;
mod plan_cache;
mod queries;
mod realtime;
mod refresh;
mod refusal;
mod rejected;
mod rejected_records;
mod rejected_table;
mod row_sizes;
mod rows;
pub mod run;
mod run_batches;
mod run_rows;
mod running;
mod runs_reading;
mod runs_table;
mod same_scan;
mod scan_conditions;
mod series;
mod served;
mod sql;
mod sql_answer;
mod sql_error;
mod sql_pins;
mod statements;
mod states;
mod status;
mod stores;
mod system_table;
mod tables;
mod told;
mod trouble;
mod unread;
mod values;
mod versions;
mod view_schema;
mod visible;
mod watched;
mod window_growth;

pub use account::{Account, AccountPartition, AccountRun};
pub use asked::{AskedGroups, MOST_ROWS};
pub use config::GatewaySettings;
pub use current::CurrentGateway;
pub use details::{ColumnDetails, VersionDetails, ViewDetails};
pub use envelope::{Envelope, ErrorBound, FormerNote};
pub use error::{Behind, GatewayError};
pub use exactness::told::{ExactnessReports, ExactnessStatus, MeasureReport, VersionReport};
pub use fair_queue::{Entered, FairQueue, Ticket};
pub use finished::{ApproximateRow, FinishedRows};
pub use gateway::{Gateway, GatewayComponents};
pub use http::{page_rules, router};
pub use json::Integers;
pub use local_bins::LocalBinsNote;
pub use overflow::Overflow;
pub use params::SqlParams;
pub use patience::beside_answers;
pub use queries::{Extent, RowsAnswer, SqlRequest};
pub use rejected::RejectedStatus;
pub use rejected_records::{
    RejectedAnswer, RejectedExtent, RejectedPayload, RejectedQuestion, RejectedReader, RejectedRow, RejectedUnread,
    RejectedWords,
};
pub use rows::{Layer, RowsRequest};
pub use run_rows::{RunRow, RunTaskRow, RunsReader, RunsUnread};
pub use sql_answer::{SqlAnswer, SqlEnvelope};
pub use status::{
    NoStatus, PartitionFacts, PartitionStatus, SourceStatus, Status, StatusSource, SystemFacts, UnseenColumn,
    ViewStatus,
};
pub use trouble::{Standstill, Trouble};
