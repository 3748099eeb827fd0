//! The views that a query in SQL reads, and what each is pinned to: the state of its source, or one batch version.
//!
//! Guarantee: views of one source share one state. A batch version that a query names does not change while it runs,
//! and what it holds counts towards the memory of all SQL queries until it ends.
//! Not here: names (`names.rs`), a position token that is waited for (`queries.rs`).

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::common::TableReference;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use edge::Principal;
use positions::ViewName;
use serving_layer::Version;

use crate::names::{Named, named};
use crate::rows::{Layer, Wait, refuse_batch};
use crate::sql_answer::SqlEnvelope;
use crate::tables::Pinned;
use crate::visible::VisibleStates;
use crate::{Gateway, GatewayError};

/// A view as a query names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NamedView {
    /// The name of its table: that of the view, or `hits@12`.
    pub table: String,
    /// The view.
    pub view: ViewName,
    /// The batch version; `None`: as it is answered.
    pub version: Option<Version>,
}

impl Gateway {
    /// The views among what a query reads.
    pub(crate) fn views_of(
        &self,
        principal: &Principal,
        references: &[TableReference],
    ) -> Result<Vec<NamedView>, GatewayError> {
        let mut views = Vec::new();
        for reference in references {
            let view = match named(reference) {
                Named::Listing => continue,
                Named::System if principal.may_operate() => continue,
                Named::View(name, version) => {
                    let found = self.find(principal, name);
                    let view = found.map_err(|_| self.no_view(principal, name))?.1.view.name.clone();
                    NamedView { table: reference.table().to_owned(), view, version }
                }
                // Told as a whole: it is never the name of a source.
                Named::System | Named::Nothing => return Err(self.no_view(principal, &reference.to_string())),
            };
            if !views.contains(&view) {
                views.push(view);
            }
        }
        Ok(views)
    }

    /// Pins all views of a query; views of one source share one state, which covers the token for all of them. Each
    /// generation has a state of its own.
    pub(crate) async fn pin_all(
        &self,
        principal: &Principal,
        names: &[NamedView],
        (wait, memory): (&Wait, &Arc<dyn MemoryPool>),
    ) -> Result<(BTreeMap<String, Pinned>, SqlEnvelope), GatewayError> {
        let mut by_source = BTreeMap::new();
        for named in names {
            let (source, reader) = self.find(principal, named.view.as_str())?;
            refuse_batch(&reader.view, wait.is_batch || named.version.is_some())?;
            let key = (source.source().name.clone(), reader.view.generation());
            by_source.entry(key).or_insert_with(|| (source, Vec::new())).1.push((named, reader));
        }
        let mut pinned = BTreeMap::new();
        let mut envelopes = BTreeMap::new();
        let of_answers = if wait.is_batch { Layer::Batch } else { Layer::Merged };
        let is_parallel = self.settings().sql_partitions > 1;
        for (source, views) in by_source.into_values() {
            let answered = views.iter().filter(|(named, _)| named.version.is_none());
            let answered: Vec<_> = answered.map(|(named, reader)| (&named.view, reader.view.hash)).collect();
            let state = self.state_covering(source, &answered, wait).await?;
            for (named, reader) in views {
                let view = &reader.view;
                let (layer, served) = match named.version {
                    None => (of_answers, source.served(&state, view)?),
                    Some(wanted) => (Layer::Batch, self.served_version(source, reader, wanted, wait).await?),
                };
                envelopes.insert(named.table.clone(), self.envelope(principal, view, &served, layer, &state));
                let rules = self.row_filters(principal, view)?;
                let states = of_layer(VisibleStates::new(&served, &rules), layer);
                let one = Pinned::new(view, states, is_parallel)?;
                let one = match named.version {
                    None => one,
                    Some(_) => one.holding(hold(&named.table, states.batch_bytes(), memory)?),
                };
                pinned.insert(named.table.clone(), one);
            }
        }
        let stale = envelopes.values().any(|envelope| envelope.stale);
        Ok((pinned, SqlEnvelope { stale, views: envelopes, rejected: Vec::new() }))
    }
}

/// Counts the states of a version that a query named.
fn hold(table: &str, bytes: usize, memory: &Arc<dyn MemoryPool>) -> Result<MemoryReservation, GatewayError> {
    let reservation = MemoryConsumer::new(table).register(memory);
    reservation.try_grow(bytes).map_err(|_| GatewayError::TooLarge {
        reason: format!("{table} has {bytes} bytes of states, more than is left of the memory of all SQL queries"),
        hint: "name fewer versions in one query, ask for the rows of one alone, or raise `gateway.sql_memory`"
            .to_owned(),
    })?;
    Ok(reservation)
}

/// The states of the layers that are asked for.
pub(crate) fn of_layer(states: VisibleStates<'_>, layer: Layer) -> VisibleStates<'_> {
    match layer {
        Layer::Merged => states,
        Layer::Batch => states.without_realtime(),
        Layer::Realtime => states.without_batch(),
    }
}
