//! Places for SQL queries: one is held while a query is planned and runs, and waited for in a short, fair line.
//!
//! Guarantee: whoever waits has a place, an error, or is gone, within the longest wait; a place that is dropped, by
//! whomever, goes to the next in line or is free. Order and fairness: `fair_queue.rs`.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::fair_queue::{Entered, FairQueue, Ticket};
use crate::{GatewayError, GatewaySettings, metrics, patience};

/// Whose queries take turns: the name of the principal, and the address that the request came from.
pub(crate) type Client = (Arc<str>, Option<IpAddr>);

/// All places of a gateway and its successors.
#[derive(Clone, Debug)]
pub(crate) struct Places(Arc<Mutex<Line>>);

#[derive(Debug)]
struct Line {
    queue: FairQueue<Client>,
    // One for each ticket in line: by it a place is handed over, and dropped it turns away.
    called: HashMap<Ticket, oneshot::Sender<Place>>,
}

/// A place, free again once it is dropped.
#[derive(Debug)]
pub(crate) struct Place(Places);

impl Drop for Place {
    fn drop(&mut self) {
        let next = {
            let mut line = self.0.line();
            let next = line.queue.finish().and_then(|ticket| line.called.remove(&ticket));
            metrics::sql_waiting(line.queue.waiting());
            next
        };
        // Outside of the lock: where nobody listens any more, the place comes back and is dropped again.
        if let Some(next) = next {
            drop(next.send(Self(self.0.clone())));
        }
    }
}

/// A ticket in line, given back once it is dropped.
struct Waiting<'a> {
    places: &'a Places,
    client: Client,
    ticket: Ticket,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut line = self.places.line();
        if line.queue.leave(&self.client, self.ticket) {
            line.called.remove(&self.ticket);
            metrics::sql_waiting(line.queue.waiting());
        }
    }
}

impl Places {
    pub(crate) fn new(settings: &GatewaySettings) -> Self {
        let queue = FairQueue::new(settings.max_sql_queries, settings.sql_queue);
        Self(Arc::new(Mutex::new(Line { queue, called: HashMap::new() })))
    }

    /// A place, at once or after a wait in line.
    ///
    /// # Errors
    /// [`GatewayError::Overloaded`]: the line is full, another client needed the place in it, or the wait was too long.
    pub(crate) async fn enter(&self, client: Client, settings: &GatewaySettings) -> Result<Place, GatewayError> {
        let entered = {
            let mut line = self.line();
            match line.queue.enter(&client) {
                Entered::Runs => Ok(Place(self.clone())),
                Entered::Full => Err(None),
                Entered::Waits { ticket, displaced } => {
                    // Whoever is displaced finds its sender gone.
                    let displaced = displaced.and_then(|ticket| line.called.remove(&ticket));
                    let (sender, receiver) = oneshot::channel();
                    line.called.insert(ticket, sender);
                    metrics::sql_waiting(line.queue.waiting());
                    drop(displaced);
                    Err(Some((ticket, receiver)))
                }
            }
        };
        let (ticket, receiver) = match entered {
            Ok(place) => return Ok(place),
            Err(None) if settings.max_sql_queries == 0 || settings.sql_queue == 0 => {
                return Err(too_many_running(settings));
            }
            Err(None) => return Err(too_many_waiting(settings)),
            Err(Some(waiting)) => waiting,
        };
        let _in_line = Waiting { places: self, client, ticket };
        match patience::within(settings.sql_queue_wait, receiver).await {
            Some(Ok(place)) => Ok(place),
            Some(Err(_)) => Err(too_many_waiting(settings)),
            None => Err(too_many_running(settings)),
        }
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn too_many_running(settings: &GatewaySettings) -> GatewayError {
    refused("SQL queries are running", settings.max_sql_queries, "gateway.max_sql_queries")
}

fn too_many_waiting(settings: &GatewaySettings) -> GatewayError {
    refused("SQL queries are waiting for a place", settings.sql_queue, "gateway.sql_queue")
}

fn refused(what: &'static str, limit: usize, setting: &'static str) -> GatewayError {
    metrics::sql_refused();
    GatewayError::Overloaded { what, limit, setting }
}
