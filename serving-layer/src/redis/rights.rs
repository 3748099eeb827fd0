//! What the user of Redis must be allowed to do: keys and commands, in the words of its access lists.

use super::form::escape;

/// Every command that is sent, or run by a script.
pub const COMMANDS: [&str; 12] =
    ["get", "mget", "set", "eval", "evalsha", "getrange", "exists", "persist", "pexpire", "del", "scan", "info"];

/// What the client of a cluster sends besides.
pub const CLUSTER_COMMANDS: [&str; 3] = ["cluster|slots", "ping", "asking"];

/// Those of them that the scripts and pipelines of views need: all but what runs a script, and what is asked once.
pub(super) fn commands_on_keys() -> impl Iterator<Item = &'static str> {
    COMMANDS.into_iter().filter(|command| !matches!(*command, "eval" | "evalsha" | "info"))
}

/// The keys of all sources of a deployment.
pub fn key_pattern(prefix: &str) -> String {
    format!("{{twofold:{}:*", escape(prefix))
}

/// The rules that suffice, as `ACL SETUSER USER` takes them.
pub fn acl_rules(prefix: &str, is_cluster: bool) -> String {
    let more: &[&str] = if is_cluster { &CLUSTER_COMMANDS } else { &[] };
    let commands: Vec<String> = COMMANDS.iter().chain(more).map(|command| format!("+{command}")).collect();
    format!("~{} {}", key_pattern(prefix), commands.join(" "))
}
