//! A process that runs goes over to the set of definitions that the registry holds, whoever put it there.
//!
//! In: the number of the registry's present set. Out: what runs in this process is what that set says.
//! Guarantee: a higher number is followed, a lower one never; what did not change runs on, and answers are given all
//! the time, by former definitions until the present ones answer. A set that cannot be run here changes nothing: it is
//! told once in the log and all the time in the status, and not tried again before there is another one.
//! Not here: asking the registry (`definitions/run.rs`), when (`following/run.rs`), what runs (`topology`).

pub mod run;

use std::sync::Arc;

use anyhow::{Error, Result};
use lake::Lake;
use positions::DefinitionNumber;
use serving_layer::registry::DefinitionRegistry;
use tokio::sync::Mutex;
use tracing::{error, info};

use crate::config::Config;
use crate::definitions::{CannotFollow, RunningDefinitions};
use crate::health::Health;
use crate::role::Roles;
use crate::runnable::check_sources;
use crate::topology::run::Topology;

/// See the module.
#[derive(Debug)]
pub struct Following {
    registry: DefinitionRegistry,
    /// Changed by whoever goes over to other definitions, one at a time: this loop, or who owns the system.
    topology: Arc<Mutex<Topology>>,
    config: Arc<Config>,
    roles: Roles,
    /// Told of a set that cannot be run here.
    health: Arc<Health>,
    /// The set that cannot be run here.
    refused: Option<DefinitionNumber>,
    /// The set that was gone over to in part: something of it could not be started.
    unfinished: Option<DefinitionNumber>,
}

impl Following {
    /// Follows the registry of a lake.
    pub fn new(
        lake: &Lake,
        topology: Arc<Mutex<Topology>>,
        (config, roles): (Arc<Config>, Roles),
        health: Arc<Health>,
    ) -> Self {
        Self {
            registry: DefinitionRegistry::new(lake),
            topology,
            config,
            roles,
            health,
            refused: None,
            unfinished: None,
        }
    }

    /// Goes over to the present set, where `present`, its number as it was seen, is higher than that of this process.
    ///
    /// # Errors
    /// Where the registry cannot be read, or a part of the set cannot be started: to be called again.
    pub async fn step(&mut self, present: DefinitionNumber) -> Result<()> {
        let mut topology = self.topology.lock().await;
        let running = topology.number();
        if self.refused == Some(present) && running < present {
            return Ok(());
        }
        if self.refused.take().is_some() {
            self.health.note_refused_definitions(None);
        }
        if present <= running && self.unfinished != Some(present) {
            return Ok(());
        }
        let read = match RunningDefinitions::read_present(&self.registry).await {
            Ok(set) => check_sources(&self.config, &self.roles, &set.pipeline)
                .map(|()| set)
                .map_err(|error| Error::from(CannotFollow(format!("{error:#}")))),
            Err(error) => Err(error),
        };
        match read {
            Ok(set) => {
                info!(from = running.0, to = set.number.0, "going over to the definitions of the registry");
                self.unfinished = Some(set.number);
                topology.apply(set).await?;
                self.unfinished = None;
                Ok(())
            }
            Err(error) if error.is::<CannotFollow>() => {
                self.refused = Some(present);
                let problem = format!("{error}; it goes on with definitions {}", running.0);
                self.health.note_refused_definitions(Some(problem));
                error!(
                    running = running.0,
                    present = present.0,
                    %error,
                    "this process goes on with its own definitions: start the version that registered the present ones, or \
                     apply others with `twofold apply`"
                );
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}
