//! Section `[realtime]`: which store, and how Redis is reached.

use serving_layer::redis::{RedisSettings, RedisTls, check_address};

use super::RealtimeSettings;
use super::reader::{LARGEST_COUNT, SHORTEST_SPAN, Section};
use super::secret::without_password;

/// Schemes of Redis, the second over TLS.
const SCHEMES: [&str; 2] = ["redis://", "rediss://"];
/// Settings that only TLS has a use for.
const TLS_FILES: [&str; 3] = ["tls_ca", "tls_certificate", "tls_key"];

/// Reads the section and the certificates that it names.
pub(super) fn read_realtime(section: Section<'_>) -> RealtimeSettings {
    let store = section.text("store");
    let limit_bytes = section.size("memory_limit");
    let redis = RedisSettings {
        url: store.clone(),
        is_cluster: section.is_on("cluster"),
        tls: read_tls(section),
        prefix: section.text("redis_prefix"),
        connect_timeout: section.duration("redis_connect_timeout", SHORTEST_SPAN),
        response_timeout: section.duration("redis_response_timeout", SHORTEST_SPAN),
        reconnect_pause: section.duration("redis_reconnect_pause", SHORTEST_SPAN),
        pipeline_commands: section.length("redis_pipeline_commands", 1..=LARGEST_COUNT),
    };
    refuse_idle(section, &store, redis.is_cluster);
    if SCHEMES.iter().any(|scheme| store.starts_with(scheme)) {
        if let Err(reason) = check_address(&redis) {
            section.refuse("store", reason);
        }
        return RealtimeSettings::Redis(redis);
    }
    if store != "memory" {
        let expected = "must be `memory`, `redis://...` or, over TLS, `rediss://...`";
        section.refuse("store", format!("{expected}, got `{}`", without_password(&store)));
    }
    RealtimeSettings::Memory { limit_bytes }
}

/// What is written and would do nothing: whoever wrote it believes that the connection is encrypted, or a cluster.
fn refuse_idle(section: Section<'_>, store: &str, is_cluster: bool) {
    if is_cluster && store == "memory" {
        section.refuse("cluster", "is for a store in Redis: set `realtime.store`".to_owned());
    }
    if store.starts_with("rediss://") {
        return;
    }
    for key in TLS_FILES {
        if section.optional_text(key).is_some() {
            section.refuse(key, "is for Redis over TLS: begin `realtime.store` with `rediss://`".to_owned());
        }
    }
}

fn read_tls(section: Section<'_>) -> RedisTls {
    let [authority, certificate, key] = TLS_FILES.map(|name| read_file(section, name));
    let is_set = |name: &str| section.optional_text(name).is_some();
    let refuse = |key: &str, other: &str| {
        section.refuse(key, format!("must be set together with `{}`", section.key(other)));
    };
    match (is_set("tls_certificate"), is_set("tls_key")) {
        (true, false) => refuse("tls_certificate", "tls_key"),
        (false, true) => refuse("tls_key", "tls_certificate"),
        _ => (),
    }
    RedisTls { authority, identity: certificate.zip(key) }
}

fn read_file(section: Section<'_>, name: &str) -> Option<Vec<u8>> {
    let path = section.optional_text(name)?;
    match std::fs::read(&path) {
        Ok(bytes) => Some(bytes),
        Err(error) => {
            section.refuse(name, format!("cannot read `{path}`: {error}"));
            None
        }
    }
}
