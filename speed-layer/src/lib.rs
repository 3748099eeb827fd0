//! The speed layer: from the event log to realtime views, within a second.

mod config;
mod error;
pub mod run;

pub use config::{SpeedComponents, SpeedSettings, SpeedView};
pub use error::SpeedError;
