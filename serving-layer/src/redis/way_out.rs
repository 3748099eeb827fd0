//! What an error of Redis means, and what an operator does about it.
//!
//! In: code and text as Redis sends them, or the text of a connection that failed. Out: words.
//! Guarantee: pure, and nothing of the store's address is in the words.
//! Not here: which of our errors it becomes (`error.rs`).

use super::rights::{acl_rules, key_pattern};

/// What an operator does about an error of Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WayOut {
    /// What is the matter.
    pub trouble: &'static str,
    /// What to do.
    pub advice: String,
    /// Whether it stays like this until somebody acts: a start need not try again.
    pub is_for_good: bool,
}

/// Errors by their code: trouble, advice, and whether it stays until somebody acts.
const BY_CODE: [(&str, &str, &str, bool); 11] = [
    (
        "READONLY",
        "it is a read-only replica",
        "write the address of its master into `realtime.store`, or make it the master (`REPLICAOF NO ONE`)",
        true,
    ),
    ("LOADING", "it still reads its data from disk", "it goes on by itself once that is done", false),
    ("OOM", "it has no memory left", "raise its `maxmemory`, or publish more often (`batch.interval`)", false),
    (
        "MISCONF",
        "it takes no writes since it could not save its data",
        "make room on its disk and see its log; it goes on by itself after the next save that succeeds (`BGSAVE`)",
        false,
    ),
    (
        "CLUSTERDOWN",
        "the cluster does not serve all of its slots",
        "`CLUSTER INFO` and `CLUSTER NODES` say what is missing: start those nodes, or let their replicas take over \
         (`CLUSTER FAILOVER`)",
        false,
    ),
    ("MASTERDOWN", "this replica has lost its master", "start the master, or let the replica take over", false),
    (
        "NOREPLICAS",
        "it has fewer replicas than its setting `min-replicas-to-write` asks for",
        "start the replicas, or lower that setting",
        false,
    ),
    ("TRYAGAIN", "slots are on their way to another node", "it goes on by itself once they are there", false),
    (
        "EXECABORT",
        "a transaction was given up",
        "Twofold sends none, so something in between makes them: write the address of Redis itself into \
         `realtime.store`",
        false,
    ),
    ("BUSY", "a script of somebody else does not end", "`SCRIPT KILL` ends it", false),
    (
        "DENIED",
        "it is in protected mode and answers its own machine alone",
        "give it users or a password, and write them into `realtime.store`",
        true,
    ),
];

/// Errors by a part of their text.
const BY_TEXT: [(&str, &str, &str, bool); 13] = [
    ("cluster support disabled", "it is no Redis Cluster", "set `realtime.cluster = false`", true),
    ("max number of clients", "it has as many clients as its `maxclients` allows", "raise that setting", false),
    (
        "UnknownIssuer",
        "who signed its certificate is not known here",
        "write the file of that authority into `realtime.tls_ca`",
        true,
    ),
    (
        "BadSignature",
        "its certificate was signed by another authority of the same name",
        "write the file of the present one into `realtime.tls_ca`",
        true,
    ),
    (
        "certificate not valid for name",
        "its certificate is for another host",
        "write a name that the certificate bears into `realtime.store`; the nodes of a cluster tell their own names \
         (`cluster-announce-hostname` with `cluster-preferred-endpoint-type hostname`)",
        true,
    ),
    ("certificate expired", "its certificate has expired", "renew it, or set the clock of this machine", true),
    ("certificate not valid yet", "its certificate is not valid yet", "set the clock of this machine, or wait", true),
    (
        "InvalidContentType",
        "this port does not speak TLS",
        "write `redis://` into `realtime.store`, or the server's `tls-port`",
        true,
    ),
    (
        "CertificateRequired",
        "it wants a certificate of its clients",
        "set `realtime.tls_certificate` and `realtime.tls_key`",
        true,
    ),
    ("Connection refused", "nothing listens there", "start it, or correct host and port in `realtime.store`", false),
    (
        "failed to lookup address",
        "no such host is known here",
        "correct the host in `realtime.store`, or the name service of this machine",
        false,
    ),
    (
        "DB index is out of range",
        "it has no database of this number",
        "write a smaller one behind the port in `realtime.store`, as `/0`, or raise its setting `databases`",
        true,
    ),
    (
        "No connections found",
        "no node of the cluster answers, or none of them has slots",
        "see that the nodes in `realtime.store` run, and that `CLUSTER INFO` on them says `cluster_state:ok`",
        false,
    ),
];

/// What to do about an error with this code (empty: no answer of Redis) and text, for a deployment of this prefix.
/// `None`: nothing is known of it.
pub fn way_out(code: &str, text: &str, prefix: &str, is_cluster: bool) -> Option<WayOut> {
    if is_of_permissions(code, text) {
        return Some(of_permissions(text, prefix, is_cluster));
    }
    match code {
        "NOAUTH" | "WRONGPASS" => return Some(of_authentication()),
        "MOVED" | "ASK" | "CROSSSLOT" if is_cluster => return Some(of_a_torn_cluster()),
        "MOVED" | "ASK" | "CROSSSLOT" => return Some(of_an_unknown_cluster()),
        // The next master is on its way.
        "READONLY" if is_cluster => return Some(of_a_fail_over()),
        _ => {}
    }
    let by_code = BY_CODE.iter().find(|known| known.0 == code);
    let known = by_code.or_else(|| BY_TEXT.iter().find(|known| text.contains(known.0)))?;
    Some(WayOut { trouble: known.1, advice: known.2.to_owned(), is_for_good: known.3 })
}

/// Scripts are refused without a code of their own.
fn is_of_permissions(code: &str, text: &str) -> bool {
    let refusals = ["no permissions to", "ACL failure in script", "The user executing the script can't"];
    code == "NOPERM" || refusals.iter().any(|refusal| text.contains(refusal))
}

fn of_permissions(text: &str, prefix: &str, is_cluster: bool) -> WayOut {
    let command = text.split_once("run the '").and_then(|(_, rest)| rest.split_once('\'')).map(|(name, _)| name);
    let advice = match command {
        Some(command) => add_commands(&[command.to_owned()], prefix, is_cluster),
        None if text.contains("key") => {
            let pattern = key_pattern(prefix);
            let missing = format!("may not use the keys `{pattern}`: add `~{pattern}`");
            add_rights(&missing, prefix, is_cluster)
        }
        None => add_rights("lacks a command that a script of ours runs", prefix, is_cluster),
    };
    WayOut { trouble: "permission denied", advice, is_for_good: true }
}

/// What to do where these commands may not be run.
pub(super) fn add_commands(commands: &[String], prefix: &str, is_cluster: bool) -> String {
    let words: Vec<String> = commands.iter().map(|command| format!("+{command}")).collect();
    let missing = format!("may not run `{}`: add `{}`", commands.join("`, `"), words.join(" "));
    add_rights(&missing, prefix, is_cluster)
}

fn add_rights(missing: &str, prefix: &str, is_cluster: bool) -> String {
    let rules = acl_rules(prefix, is_cluster);
    format!("its user in `realtime.store` {missing}; all that Twofold needs: `ACL SETUSER USER {rules}`")
}

fn of_authentication() -> WayOut {
    let advice = "user and password are part of the setting `realtime.store`, as in \
                  `redis://USER:PASSWORD@HOST:PORT/0`, or `redis://:PASSWORD@HOST:PORT/0` where there is no user";
    WayOut { trouble: "authentication failed", advice: advice.to_owned(), is_for_good: true }
}

fn of_an_unknown_cluster() -> WayOut {
    let advice = "set `realtime.cluster = true`".to_owned();
    WayOut { trouble: "it is a node of a Redis Cluster", advice, is_for_good: true }
}

fn of_a_torn_cluster() -> WayOut {
    let advice = "slots move, or the nodes do not agree where they are: compare `CLUSTER NODES` of each".to_owned();
    WayOut { trouble: "the cluster sends on what it is asked", advice, is_for_good: false }
}

fn of_a_fail_over() -> WayOut {
    let advice = "it goes on by itself once the new master is known".to_owned();
    WayOut { trouble: "a node of the cluster is no longer a master", advice, is_for_good: false }
}
