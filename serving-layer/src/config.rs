//! Settings of the stores. Values only: the binary reads files and environment.

use std::fmt;
use std::time::Duration;

/// How large the files of batch views become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchViewSettings {
    /// Upper bound on the rows of one file: fewer make a small publication cheaper, more make a large view quicker to
    /// open.
    pub max_file_rows: u64,
    /// A file is closed at about this many bytes, which is also the memory that a publication needs for writing.
    pub max_file_bytes: usize,
    /// A file with fewer rows is rewritten together with the bucket after it, so that files do not stay tiny.
    pub small_file_rows: u64,
}

impl Default for BatchViewSettings {
    fn default() -> Self {
        Self { max_file_rows: 500_000, max_file_bytes: 128 * 1024 * 1024, small_file_rows: 50_000 }
    }
}

/// How to reach Redis.
#[derive(Clone)]
pub struct RedisSettings {
    /// Where it is, for example `redis://user:password@host:6379/0`, or `rediss://...` over TLS. Where it is a cluster,
    /// its first nodes: `redis://user:password@a:6379,b:6379`.
    pub url: String,
    /// Whether it is a Redis Cluster.
    pub is_cluster: bool,
    /// For `rediss://`: certificates that are not those of the system.
    pub tls: RedisTls,
    /// Keeps the keys of several deployments on one Redis apart.
    pub prefix: String,
    /// Upper bound on connecting.
    pub connect_timeout: Duration,
    /// Upper bound on the wait for one reply.
    pub response_timeout: Duration,
    /// Upper bound on the pause between two attempts to reconnect.
    pub reconnect_pause: Duration,
    /// Commands that may be queued for sending; further callers wait.
    pub pipeline_commands: usize,
}

impl Default for RedisSettings {
    fn default() -> Self {
        Self {
            url: "redis://127.0.0.1:6379".to_owned(),
            is_cluster: false,
            tls: RedisTls::default(),
            prefix: "default".to_owned(),
            connect_timeout: Duration::from_secs(2),
            response_timeout: Duration::from_secs(5),
            reconnect_pause: Duration::from_millis(500),
            pipeline_commands: 256,
        }
    }
}

/// What a connection to Redis over TLS is made with, in PEM.
#[derive(Clone, Default)]
pub struct RedisTls {
    /// The authorities of which one must have signed the certificate of the server; `None`: those of the system.
    pub authority: Option<Vec<u8>>,
    /// The certificate that this client shows, and its key; `None`: it shows none.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl fmt::Debug for RedisSettings {
    // The URL may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisSettings").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}
