//! The roles that a process can have, and what each of them needs.
//!
//! Not here: what the roles do (their crates), which tasks they run in (`topology`).

use std::collections::BTreeSet;

use anyhow::{Result, bail};

use crate::config::{Config, RealtimeSettings};

/// What one process can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Takes events over HTTP.
    Collector,
    /// Writes the master dataset.
    Archive,
    /// Keeps realtime views.
    Speed,
    /// Publishes batch views: again and again, and in runs.
    Batch,
    /// Works at runs alone.
    Worker,
    /// Answers.
    Gateway,
}

impl Role {
    /// All roles, in the direction of the data.
    pub const ALL: [Self; 6] = [Self::Collector, Self::Archive, Self::Speed, Self::Batch, Self::Worker, Self::Gateway];

    /// The name: that of the command that runs it alone.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Collector => "collector",
            Self::Archive => "archive",
            Self::Speed => "speed",
            Self::Batch => "batch",
            Self::Worker => "worker",
            Self::Gateway => "gateway",
        }
    }
}

/// What this process does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roles(BTreeSet<Role>);

impl Roles {
    /// Everything: `twofold up`. The batch role works at runs itself.
    pub fn all() -> Self {
        Self(Role::ALL.into_iter().filter(|role| *role != Role::Worker).collect())
    }

    /// One role alone.
    pub fn only(role: Role) -> Self {
        Self([role].into())
    }

    /// These but one: what a process does where that one runs elsewhere.
    pub fn without(mut self, role: Role) -> Self {
        self.0.remove(&role);
        self
    }

    /// Whether `role` is among them.
    pub fn has(&self, role: Role) -> bool {
        self.0.contains(&role)
    }

    /// They, in the direction of the data.
    pub fn iter(&self) -> impl Iterator<Item = Role> {
        self.0.iter().copied()
    }

    /// Whether these are all roles, so that nothing needs to be shared with another process.
    pub fn is_whole(&self) -> bool {
        *self == Self::all()
    }

    /// Whether a role works at runs.
    pub fn take_part_in_runs(&self) -> bool {
        self.has(Role::Batch) || self.has(Role::Worker)
    }

    /// Whether a role uses the event log.
    pub fn use_log(&self) -> bool {
        self.has(Role::Collector) || self.has(Role::Archive) || self.has(Role::Speed)
    }

    /// Whether a role uses the realtime store.
    pub fn use_store(&self) -> bool {
        self.has(Role::Speed) || self.has(Role::Gateway)
    }

    /// Refuses stores inside this process where their other half would be in another one.
    ///
    /// # Errors
    /// The setting that must be changed.
    pub fn check(&self, config: &Config) -> Result<()> {
        if self.is_whole() {
            return Ok(());
        }
        if self.use_log() && config.log.is_embedded {
            bail!("a role alone cannot use the embedded log: set `log.brokers`, or run `twofold up`");
        }
        if self.use_store() && matches!(config.realtime, RealtimeSettings::Memory { .. }) {
            bail!(
                "a role alone cannot share a store in memory: set `realtime.store` to redis://..., or run `twofold up`"
            );
        }
        Ok(())
    }
}
