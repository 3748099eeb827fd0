//! Whether a process can run a pipeline with the roles and settings that it has.
//!
//! Not here: whether its views run at all (`trial.rs`).

use anyhow::Result;
use views::Pipeline;

use crate::config::Config;
use crate::kappa::check_settings;
use crate::role::{Role, Roles};
use crate::schedules::check_schedules;
use crate::schema_registry::check_formats;

/// Refuses sources that these roles could not read, schedules that they could not follow, and settings without a use.
///
/// # Errors
/// What does not fit, and the setting that would make it fit.
pub fn check_sources(config: &Config, roles: &Roles, pipeline: &Pipeline) -> Result<()> {
    check_settings(config, pipeline)?;
    if roles.take_part_in_runs() {
        check_schedules(config, pipeline)?;
    }
    if roles.has(Role::Archive) || roles.has(Role::Speed) { check_formats(config, pipeline) } else { Ok(()) }
}
