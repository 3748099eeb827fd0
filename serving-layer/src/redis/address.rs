//! Where Redis is: one address, or the first nodes of a cluster, from one text.

use redis::{ConnectionInfo, IntoConnectionInfo, ProtocolVersion};

use crate::config::RedisSettings;

/// Whether an address can be used, with the settings beside it, as far as that can be said without asking anybody.
///
/// # Errors
/// What is wrong with it, without a word of what it holds: it may be a password.
pub fn check_address(settings: &RedisSettings) -> Result<(), String> {
    read_addresses(settings).map(drop)
}

/// Every address that `realtime.store` names: several only of a cluster.
pub(super) fn read_addresses(settings: &RedisSettings) -> Result<Vec<ConnectionInfo>, String> {
    if settings.url.contains('#') {
        return Err("nothing may stand after a `#`: certificates are always checked (in a password it is `%23`)".into());
    }
    let addresses: Vec<ConnectionInfo> = split(&settings.url).iter().map(|url| read(url)).collect::<Result<_, _>>()?;
    if addresses.len() > 1 && !settings.is_cluster {
        return Err("several addresses are those of a cluster: set `realtime.cluster = true`".to_owned());
    }
    if settings.is_cluster && addresses.iter().any(|address| address.redis_settings().db() != 0) {
        return Err("a cluster has the database 0 alone".to_owned());
    }
    Ok(addresses)
}

fn read(url: &str) -> Result<ConnectionInfo, String> {
    let told = |error: redis::RedisError| {
        format!("is no `redis://USER:PASSWORD@HOST:PORT/0` ({error}); signs in a password are written as `%40` for `@`")
    };
    let address = url.into_connection_info().map_err(told)?;
    // Without telling its own name: a user would need one more right for it.
    let settings = address.redis_settings().clone().set_protocol(ProtocolVersion::RESP3).set_skip_set_lib_name();
    Ok(address.set_redis_settings(settings))
}

/// `redis://user:password@a:1,b:2/0` is one address for each of its hosts.
fn split(url: &str) -> Vec<String> {
    let Some((scheme, rest)) = url.split_once("://") else { return vec![url.to_owned()] };
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let (user, hosts) = match authority.rsplit_once('@') {
        Some((user, hosts)) => (format!("{user}@"), hosts),
        None => (String::new(), authority),
    };
    hosts.split(',').map(|host| format!("{scheme}://{user}{}{path}", host.trim())).collect()
}
