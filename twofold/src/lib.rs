//! The one binary, as a library: command line, configuration, wiring, shutdown.
//!
//! ```text
//!  arguments --+
//!  config -----+--> commands --> system: wiring opens what is shared,
//!  pipeline ---+                 topology decides what runs, run supervises it --> exit code
//!                                        |
//!                                        +--> one HTTP port: collector + gateway
//! ```
//!
//! Guarantee: everything that reads the world (clock, chance, environment, files) is here; the layers get values.
//! Why a library: tests start a whole system in their own process, exactly as `up` does.

pub mod access;
pub mod arguments;
pub mod certificates;
pub mod client;
pub mod commands;
pub mod compared;
pub mod config;
pub mod console;
pub mod data_dir;
pub mod definition_plan;
pub mod definitions;
pub mod definitions_route;
pub mod demo;
pub mod environment;
pub mod explain;
pub mod explain_route;
#[cfg(feature = "failpoints")]
pub mod fail_points;
pub mod following;
pub mod gateway_memory;
pub mod generator;
pub mod health;
pub mod http;
pub mod import;
mod json_body;
pub mod kappa;
pub mod lives;
pub mod load;
pub mod log_route;
mod logging;
pub mod machines;
pub mod metric_catalogue;
pub mod metrics_text;
pub mod notices;
pub mod notify;
pub mod pipeline_file;
pub mod private_files;
mod process_metrics;
pub mod read_again_route;
pub mod readiness;
pub mod receipt;
pub mod rejected_reader;
pub mod rejected_route;
pub mod role;
pub mod run;
pub mod runnable;
pub mod runs;
pub mod runs_reader;
pub mod runs_route;
pub mod schedules;
pub mod schema_registry;
pub mod seams;
pub mod signals;
mod source_route;
pub mod stage;
pub mod status;
pub mod store_answers;
pub mod stored_versions;
pub mod system;
pub mod topology;
pub mod trial;
pub mod trust;
pub mod version_diff;
pub mod view_test;
pub mod warnings;
pub mod watched_log;
pub mod watched_store;
pub mod wiring;
pub mod workflow;
