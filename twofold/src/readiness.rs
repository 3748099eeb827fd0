//! Whether a process can do the work of its roles now: what `/readyz` answers. Pure.
//!
//! In: what keeps each role from its work. Out: ready or not, and why.
//! Guarantee: asked for no role, a process is judged by those that requests come to, the collector and the gateway; one
//! that has neither, by all its roles.
//! Not here: what keeps a role from its work (`status/hindrances.rs`), how the process lives (`/healthz`).
//! Why so: a balancer that asks wants to know where to send requests. A process whose archive waits for the object
//! store takes events and answers nevertheless, and its log keeps what comes.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::role::Role;

/// What keeps each role of a process from its work; nothing: the role does it.
pub type Hindrances = BTreeMap<Role, Vec<String>>;

/// The roles that requests come to.
const ASKED: [Role; 2] = [Role::Collector, Role::Gateway];

/// The answer of `/readyz`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProcessReadiness {
    /// Whether the judged roles can do their work.
    pub ready: bool,
    /// What keeps them from it.
    pub problems: Vec<String>,
    /// Each role of the process: whether it can do its work.
    pub roles: BTreeMap<&'static str, bool>,
}

impl ProcessReadiness {
    /// Judges one role, or the process; `None` for a role that the process does not have.
    pub fn of(hindrances: &Hindrances, asked: Option<Role>) -> Option<Self> {
        let judged: Vec<Role> = match asked {
            Some(role) if !hindrances.contains_key(&role) => return None,
            Some(role) => vec![role],
            None if ASKED.iter().any(|role| hindrances.contains_key(role)) => ASKED.to_vec(),
            None => Role::ALL.to_vec(),
        };
        let of_judged = judged.iter().filter_map(|role| Some((role, hindrances.get(role)?)));
        let tell = |(role, found): (&Role, &Vec<String>)| {
            let name = role.name();
            found.iter().map(move |hindrance| format!("{name}: {hindrance}")).collect::<Vec<_>>()
        };
        let problems: Vec<String> = of_judged.flat_map(tell).collect();
        let roles = hindrances.iter().map(|(role, found)| (role.name(), found.is_empty()));
        Some(Self { ready: problems.is_empty(), problems, roles: roles.collect() })
    }
}
