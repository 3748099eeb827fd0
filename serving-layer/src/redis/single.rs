//! A connection to a single Redis, made again also where the server refused the last attempt.
//!
//! Guarantee: what is refused for a time (a password that is being changed, a server with as many clients as it allows)
//! is asked anew by the next command.
//! Why so: the client connects again by itself after errors of the network alone, and gives any other refusal of its
//! last attempt as the answer to every command from then on.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redis::aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig};
use redis::{Client, Cmd, Pipeline, RedisFuture, RedisResult, Value};

use super::error::is_of_connecting;

/// A handle; its clones share the connection.
#[derive(Clone)]
pub(super) struct Single(Arc<Shared>);

struct Shared {
    client: Client,
    config: ConnectionManagerConfig,
    /// Read by every command; replaced by the first one that is refused on it.
    present: Mutex<Present>,
}

#[derive(Clone)]
struct Present {
    /// How many there were before: of several commands that one connection fails, the first makes the next.
    number: u64,
    manager: ConnectionManager,
}

impl Single {
    pub(super) async fn connect(client: Client, config: ConnectionManagerConfig) -> RedisResult<Self> {
        let manager = ConnectionManager::new_with_config(client.clone(), config.clone()).await?;
        Ok(Self(Arc::new(Shared { client, config, present: Mutex::new(Present { number: 0, manager }) })))
    }

    fn present(&self) -> MutexGuard<'_, Present> {
        self.0.present.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next connection takes the place of one that was refused; it is made when the next command comes.
    fn note<T>(&self, number: u64, outcome: &RedisResult<T>) {
        if !outcome.as_ref().is_err_and(is_of_connecting) {
            return;
        }
        let (client, config) = (self.0.client.clone(), self.0.config.clone());
        let mut present = self.present();
        if present.number == number
            && let Ok(manager) = ConnectionManager::new_lazy_with_config(client, config)
        {
            *present = Present { number: number + 1, manager };
        }
    }
}

impl ConnectionLike for Single {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(async move {
            let Present { number, mut manager } = self.present().clone();
            let outcome = manager.req_packed_command(command).await;
            self.note(number, &outcome);
            outcome
        })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(async move {
            let Present { number, mut manager } = self.present().clone();
            let outcome = manager.req_packed_commands(pipeline, offset, count).await;
            self.note(number, &outcome);
            outcome
        })
    }

    fn get_db(&self) -> i64 {
        self.present().manager.get_db()
    }
}
