//! A Redis Cluster of one test: three masters on free loopback ports, each with a third of the slots.

use std::time::{Duration, Instant};

use crate::certificates::Certificates;
use crate::redis::RedisServer;

/// How long nodes may take to agree.
const PATIENCE: Duration = Duration::from_secs(60);
/// The first slot of each master, and the end of the last.
const SLOTS: [u32; 4] = [0, 5_461, 10_922, 16_384];

/// A running cluster.
pub struct RedisCluster {
    /// In the order of their slots.
    pub masters: Vec<RedisServer>,
}

impl RedisCluster {
    /// Three masters that serve all slots.
    pub async fn start() -> Self {
        Self::start_with(None).await
    }

    /// The same over TLS, to who shows a certificate of this authority.
    pub async fn start_tls(certificates: &Certificates) -> Self {
        Self::start_with(Some(certificates)).await
    }

    async fn start_with(certificates: Option<&Certificates>) -> Self {
        let mut masters = Vec::new();
        for (number, slots) in (1_i32..).zip(SLOTS.windows(2)) {
            let master = RedisServer::start_node(certificates).await;
            let (first, last) = (slots[0].to_string(), (slots[1] - 1).to_string());
            master.run::<()>(&["CLUSTER", "SET-CONFIG-EPOCH", &number.to_string()]).await;
            master.run::<()>(&["CLUSTER", "ADDSLOTSRANGE", &first, &last]).await;
            masters.push(master);
        }
        let cluster = Self { masters };
        for master in &cluster.masters[1..] {
            cluster.introduce(master).await;
        }
        for master in &cluster.masters {
            until_it_knows(master, 3).await;
        }
        cluster
    }

    /// Where clients find it: all of its masters.
    pub fn url(&self) -> String {
        let hosts: Vec<String> = self.masters.iter().map(|master| format!("127.0.0.1:{}", master.ports().0)).collect();
        format!("redis://{}/", hosts.join(","))
    }

    /// Where a user finds it whose password is `open-sesame`.
    pub fn url_of(&self, user: &str) -> String {
        self.url().replace("redis://", &format!("redis://{user}:open-sesame@"))
    }

    /// Lets a user in on every master, as [`RedisServer::let_in`].
    pub async fn let_in(&self, user: &str, rules: &str) {
        for master in &self.masters {
            master.let_in(user, rules).await;
        }
    }

    /// Which master has the slot of a key, by the slots of the start.
    pub async fn holder_of(&self, key: &str) -> usize {
        let slot: u32 = self.masters[0].run(&["CLUSTER", "KEYSLOT", key]).await;
        SLOTS[1..].iter().position(|end| slot < *end).unwrap()
    }

    /// One more node, which follows a master and has all that it had.
    pub async fn add_replica(&self, of: usize) -> RedisServer {
        let replica = RedisServer::start_node(None).await;
        self.introduce(&replica).await;
        let master: String = self.masters[of].run(&["CLUSTER", "MYID"]).await;
        // Refused until it has heard of that master.
        until("a replica follows", async || replica.try_run::<()>(&["CLUSTER", "REPLICATE", &master]).await.is_ok())
            .await;
        until("a replica has everything, on disk", async || {
            let facts: String = replica.run(&["INFO"]).await;
            let settled =
                ["role:slave", "master_link_status:up", "aof_rewrite_in_progress:0", "aof_rewrite_scheduled:0"];
            settled.iter().all(|fact| facts.contains(*fact))
        })
        .await;
        replica
    }

    /// Moves the slot of a key to another master, with all keys in it.
    pub async fn move_slot(&self, key: &str, from: usize, to: usize) {
        let (from, to) = (&self.masters[from], &self.masters[to]);
        let slot: u32 = from.run(&["CLUSTER", "KEYSLOT", key]).await;
        let (slot, port) = (slot.to_string(), to.ports().0);
        let from_id: String = from.run(&["CLUSTER", "MYID"]).await;
        let to_id: String = to.run(&["CLUSTER", "MYID"]).await;
        to.run::<()>(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]).await;
        from.run::<()>(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]).await;
        let keys: Vec<String> = from.run(&["CLUSTER", "GETKEYSINSLOT", &slot, "1000"]).await;
        let mut words = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
        words.extend(keys.iter().map(String::as_str));
        from.run::<()>(&words).await;
        for node in [to, from] {
            node.run::<()>(&["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]).await;
        }
    }

    async fn introduce(&self, node: &RedisServer) {
        let (port, bus) = node.ports();
        self.masters[0].run::<()>(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]).await;
    }
}

/// Waits until a node sees so many, who serve all slots together.
async fn until_it_knows(node: &RedisServer, nodes: usize) {
    until("the nodes of a cluster agree", async || {
        let facts: String = node.run(&["CLUSTER", "INFO"]).await;
        facts.contains("cluster_state:ok") && facts.contains(&format!("cluster_known_nodes:{nodes}\r"))
    })
    .await;
}

async fn until(what: &str, is_met: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_met().await {
        assert!(Instant::now() < deadline, "it never comes to that: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
