//! Whether a server can hold realtime views, by what it tells of itself (`INFO`).

/// One field of `INFO`.
pub(super) fn field<'a>(facts: &'a str, name: &str) -> Option<&'a str> {
    facts.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

/// Refuses a cluster where none is expected, and the other way round.
pub(super) fn check_mode(facts: &str, is_cluster: bool) -> Result<(), String> {
    match (field(facts, "cluster_enabled"), is_cluster) {
        (Some("1"), false) => Err("it is a node of a Redis Cluster: set `realtime.cluster = true`".to_owned()),
        (Some("0"), true) => Err("it is no Redis Cluster: set `realtime.cluster = false`".to_owned()),
        _ => Ok(()),
    }
}

/// Refuses a server that is too old or evicts views. What it should do otherwise, but can do, is returned.
pub(super) fn check_server(facts: &str) -> Result<Option<String>, String> {
    let version = version(facts);
    let major = version.split('.').next().and_then(|major| major.parse().ok());
    if major.is_none_or(|major: u32| major < 7) {
        return Err(format!("version {version}, 7.0 or later is needed"));
    }
    let policy = field(facts, "maxmemory_policy").unwrap_or("unknown");
    let is_limited = field(facts, "maxmemory").is_some_and(|limit| limit != "0");
    if is_limited && policy.starts_with("allkeys") {
        return Err(format!("maxmemory-policy is {policy}, which evicts views; set it to noeviction"));
    }
    if field(facts, "role") == Some("slave") {
        return Ok(Some("it is a read-only replica: nothing can be written to it".to_owned()));
    }
    Ok((policy != "noeviction").then(|| format!("maxmemory-policy is {policy}; set it to noeviction")))
}

/// As it names it.
pub(super) fn version(facts: &str) -> &str {
    field(facts, "redis_version").unwrap_or("unknown")
}

/// Bytes in use and their limit, of the fullest of these servers; `None` where none told.
pub(super) fn fullest(facts: &[(String, String)]) -> (Option<u64>, Option<u64>) {
    let number = |facts: &str, name| field(facts, name)?.parse::<u64>().ok();
    let tell = |facts: &str| Some((number(facts, "used_memory")?, number(facts, "maxmemory")?));
    // Without a limit a server is never full.
    let share = |(used, limit): &(u64, u64)| used.saturating_mul(1_000).checked_div(*limit).unwrap_or(0);
    let told = facts.iter().filter_map(|(_, facts)| tell(facts)).max_by_key(share);
    (told.map(|told| told.0), told.map(|told| told.1))
}
