//! A connection to a single Redis or to a cluster, which the rest of the store need not tell apart.
//!
//! Guarantee: made again whenever it is lost. A cluster's client follows slots to where they are, asks masters alone,
//! and may send a command twice where the reply was lost: every command of ours may be.

use std::collections::BTreeMap;

use redis::aio::{ConnectionLike, ConnectionManagerConfig};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::{
    Client, Cmd, ConnectionInfo, ErrorKind, FromRedisValue, Pipeline, RedisFuture, RedisResult, Script,
    ServerErrorKind, TlsCertificates, Value,
};

use super::single::Single;
use crate::config::RedisSettings;

/// How often a cluster's client tries again where slots moved or a node is away, within a fraction of a second. Whoever
/// asked then hears what keeps the cluster, and tries again at its own pace.
const CLUSTER_RETRIES: u32 = 5;
/// The shortest pause between two of those tries.
const CLUSTER_PAUSE_MILLIS: u64 = 10;

/// A handle onto connections that all its clones share.
#[derive(Clone)]
pub(super) enum Connection {
    Single(Single),
    Cluster(ClusterConnection),
}

/// A script, and the name that Redis knows it by.
#[derive(Clone)]
pub(super) struct NamedScript {
    text: &'static str,
    hash: String,
}

impl NamedScript {
    pub(super) fn new(text: &'static str) -> Self {
        Self { text, hash: Script::new(text).get_hash().to_owned() }
    }
}

impl Connection {
    /// To the first of these servers that answers.
    pub(super) async fn to_first(
        addresses: &[ConnectionInfo],
        certificates: Option<&TlsCertificates>,
        settings: &RedisSettings,
    ) -> RedisResult<Self> {
        let mut failed = None;
        for address in addresses {
            match connect(address.clone(), certificates, settings).await {
                Ok(connection) => return Ok(Self::Single(connection)),
                Err(error) => failed = Some(error),
            }
        }
        Err(failed.unwrap_or_else(|| (ErrorKind::InvalidClientConfig, "no address").into()))
    }

    /// To all masters of the cluster that these nodes belong to.
    pub(super) async fn to_cluster(
        nodes: Vec<ConnectionInfo>,
        certificates: Option<&TlsCertificates>,
        settings: &RedisSettings,
    ) -> RedisResult<Self> {
        let longest_pause = u64::try_from(settings.reconnect_pause.as_millis()).unwrap_or(u64::MAX);
        let mut builder = ClusterClient::builder(nodes)
            .connection_timeout(settings.connect_timeout)
            .response_timeout(settings.response_timeout)
            .retries(CLUSTER_RETRIES)
            .min_retry_wait(CLUSTER_PAUSE_MILLIS)
            .max_retry_wait(longest_pause.max(CLUSTER_PAUSE_MILLIS + 1))
            .connection_concurrency_limit(settings.pipeline_commands);
        if let Some(certificates) = certificates {
            builder = builder.certs(certificates.clone());
        }
        builder.build()?.get_async_connection().await.map(Self::Cluster)
    }

    /// A section of `INFO` of every server that takes writes, by its address; that of a single one is empty.
    pub(super) async fn facts(&mut self, section: &str) -> RedisResult<Vec<(String, String)>> {
        let mut command = redis::cmd("INFO");
        command.arg(section);
        match self {
            Self::Single(connection) => Ok(vec![(String::new(), command.query_async(connection).await?)]),
            Self::Cluster(connection) => {
                let facts: BTreeMap<String, String> = command.query_async(connection).await?;
                Ok(facts.into_iter().collect())
            }
        }
    }

    /// Runs a script by its name, and by its text where a server does not know it: after a restart, and where a replica
    /// has taken over. `SCRIPT LOAD` would ask all masters of a cluster, and fail where one of them is away.
    pub(super) async fn run<T: FromRedisValue>(
        &mut self,
        script: &NamedScript,
        keys: &[String],
        arguments: &[&[u8]],
    ) -> RedisResult<T> {
        let outcome = call("EVALSHA", &script.hash, keys, arguments).query_async(self).await;
        match outcome {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                call("EVAL", script.text, keys, arguments).query_async(self).await
            }
            outcome => outcome,
        }
    }
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::Single(connection) => connection.req_packed_command(command),
            Self::Cluster(connection) => connection.req_packed_command(command),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::Single(connection) => connection.req_packed_commands(pipeline, offset, count),
            Self::Cluster(connection) => connection.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::Single(connection) => connection.get_db(),
            Self::Cluster(connection) => connection.get_db(),
        }
    }
}

async fn connect(
    address: ConnectionInfo,
    certificates: Option<&TlsCertificates>,
    settings: &RedisSettings,
) -> RedisResult<Single> {
    let client = match certificates {
        Some(certificates) => Client::build_with_tls(address, certificates.clone())?,
        None => Client::open(address)?,
    };
    let config = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(settings.connect_timeout))
        .set_response_timeout(Some(settings.response_timeout))
        .set_number_of_retries(1)
        .set_max_delay(settings.reconnect_pause)
        .set_pipeline_buffer_size(settings.pipeline_commands);
    Single::connect(client, config).await
}

fn call(name: &str, script: &str, keys: &[String], arguments: &[&[u8]]) -> Cmd {
    let mut command = redis::cmd(name);
    command.arg(script).arg(keys.len());
    for key in keys {
        command.arg(key);
    }
    for argument in arguments {
        command.arg(*argument);
    }
    command
}
