//! The one binary, as a library: command line, configuration, wiring, shutdown.
//!
//! ```text
//!  arguments --+
//!  config -----+--> commands --> system: wiring builds components, run supervises roles --> exit code
//!  pipeline ---+                         |
//!                                        +--> one HTTP port: collector + gateway
//! ```
//!
//! Guarantee: everything that reads the world (clock, chance, environment, files) is here; the layers get values.
//! Why a library: tests start a whole system in their own process, exactly as `up` does.

pub mod arguments;
pub mod client;
pub mod commands;
pub mod config;
pub mod data_dir;
pub mod demo;
pub mod environment;
pub mod generator;
pub mod health;
mod logging;
pub mod run;
