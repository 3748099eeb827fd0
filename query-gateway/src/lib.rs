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
//! tile is not served; what lags is marked stale. Nothing here writes to a store.
//! Not here: Kafka and the master dataset (never read by the gateway); publishing and expiry (batch and speed layer).
//!
//! | file | what it does |
//! |---|---|
//! | `run.rs`, `patience.rs` | the refresh loops; how long work may take |
//! | `gateway.rs`, `config.rs` | the gateway as Rust calls it; its settings |
//! | `stores.rs`, `partitions.rs`, `refresh.rs`, `attempt.rs`, `pin.rs` | the stores of a source; its partitions; reading them; putting a view together; choosing version and runs |
//! | `served.rs`, `versions.rs`, `realtime.rs`, `states.rs` | what is kept in memory |
//! | `queries.rs` | from a request to an answer and its envelope |
//! | `rows.rs`, `filter.rs`, `answer.rs` | what a rows request means, and its rows |
//! | `sql.rs`, `tables.rs`, `measure.rs` | SQL, views as its tables, `MEASURE()` in it |
//! | `complexity.rs`, `values.rs`, `buffered.rs` | what an SQL query may cost: planning, expressions, windows |
//! | `envelope.rs`, `details.rs`, `status.rs`, `rejected.rs`, `json.rs`, `metrics.rs` | what an answer and the system tell of themselves |
//! | `http.rs`, `current.rs`, `error.rs`, `page.html` | HTTP |

mod answer;
mod attempt;
mod buffered;
mod complexity;
mod config;
mod current;
mod details;
mod envelope;
mod error;
mod filter;
mod gateway;
mod http;
mod json;
mod measure;
mod metrics;
mod partitions;
mod patience;
mod pin;
mod queries;
mod realtime;
mod refresh;
mod rejected;
mod rows;
pub mod run;
mod served;
mod sql;
mod states;
mod status;
mod stores;
mod tables;
mod values;
mod versions;

pub use config::GatewaySettings;
pub use current::CurrentGateway;
pub use details::{ColumnDetails, VersionDetails, ViewDetails};
pub use envelope::{Envelope, ErrorBound};
pub use error::{Behind, GatewayError};
pub use gateway::{Gateway, GatewayComponents, Readiness};
pub use http::router;
pub use queries::{RowsAnswer, SqlAnswer, SqlEnvelope, SqlRequest};
pub use rejected::RejectedStatus;
pub use rows::{Layer, RowsRequest};
pub use status::{
    NoStatus, PartitionFacts, PartitionStatus, SourceStatus, Status, StatusSource, SystemFacts, UnseenColumn,
    ViewStatus,
};
