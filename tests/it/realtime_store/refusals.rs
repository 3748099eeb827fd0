//! What Redis says when it refuses, and the way out that is told beside it.

use serving_layer::redis::way_out;

use super::*;

/// Code, text, whether a start gives up, and words that must be told.
type Known = (&'static str, &'static str, bool, &'static [&'static str]);

#[rustfmt::skip]
const SINGLE: [Known; 22] = [
    ("NOAUTH", "HELLO must be called with the client already authenticated", true, &["authentication", "`redis://USER:PASSWORD@HOST:PORT/0`"]),
    ("WRONGPASS", "invalid username-password pair or user is disabled.", true, &["authentication", "`realtime.store`"]),
    ("NOPERM", "this user has no permissions to run the 'get' command", true, &["permission", "add `+get`", "`ACL SETUSER USER ~{twofold:p:* +get "]),
    ("NOPERM", "User t has no permissions to run the 'script|load' command", true, &["add `+script|load`"]),
    ("NOPERM", "this user has no permissions to access one of the keys used as arguments", true, &["add `~{twofold:p:*`"]),
    ("NOPERM", "No permissions to access a key", true, &["add `~{twofold:p:*`"]),
    ("ERR", "ACL failure in script: User t has no permissions to run the 'del' command script: 5, on @user_script:2.", true, &["add `+del`"]),
    ("ERR", "The user executing the script can't run this command or subcommand script: 5, on @user_script:2.", true, &["permission", "+persist"]),
    ("READONLY", "You can't write against a read only replica.", true, &["read-only replica", "master", "`realtime.store`"]),
    ("LOADING", "Redis is loading the dataset in memory", false, &["reads its data", "by itself"]),
    ("OOM", "command not allowed when used memory > 'maxmemory'.", false, &["no memory", "`maxmemory`", "`batch.interval`"]),
    ("MISCONF", "Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.", false, &["save its data", "disk"]),
    ("CLUSTERDOWN", "Hash slot not served", false, &["slots", "`CLUSTER NODES`"]),
    ("MASTERDOWN", "Link with MASTER is down and replica-serve-stale-data is set to 'no'.", false, &["master"]),
    ("NOREPLICAS", "Not enough good replicas to write.", false, &["`min-replicas-to-write`"]),
    ("TRYAGAIN", "Multiple keys request during rehashing of slot", false, &["by itself"]),
    ("EXECABORT", "Transaction discarded because of previous errors.", false, &["transaction", "`realtime.store`"]),
    ("BUSY", "Redis is busy running a script.", false, &["`SCRIPT KILL`"]),
    ("DENIED", "Redis is running in protected mode", true, &["protected mode"]),
    ("MOVED", "1234 10.0.0.2:6379", true, &["`realtime.cluster = true`"]),
    ("ERR", "This instance has cluster support disabled", true, &["`realtime.cluster = false`"]),
    ("ERR", "max number of clients reached", false, &["`maxclients`"]),
];

#[rustfmt::skip]
const OF_A_CLUSTER: [Known; 3] = [
    ("READONLY", "You can't write against a read only replica.", false, &["new master", "by itself"]),
    ("MOVED", "1234 10.0.0.2:6379", false, &["`CLUSTER NODES`"]),
    ("NOPERM", "this user has no permissions to run the 'cluster|slots' command", true, &["add `+cluster|slots`", "+cluster|slots +ping +asking`"]),
];

#[rustfmt::skip]
const OF_A_CONNECTION: [Known; 11] = [
    ("", "invalid peer certificate: UnknownIssuer", true, &["`realtime.tls_ca`"]),
    ("", "invalid peer certificate: BadSignature", true, &["same name", "`realtime.tls_ca`"]),
    ("", "invalid peer certificate: certificate not valid for name \"a\"; certificate is only valid for DnsName(\"b\")", true, &["another host", "`realtime.store`"]),
    ("", "invalid peer certificate: certificate expired: verification time 2 (UNIX), but certificate is not valid after 1", true, &["expired", "renew"]),
    ("", "invalid peer certificate: certificate not valid yet: verification time 1 (UNIX)", true, &["clock"]),
    ("", "received corrupt message of type InvalidContentType", true, &["`redis://`", "`tls-port`"]),
    ("", "received fatal alert: CertificateRequired", true, &["`realtime.tls_certificate`", "`realtime.tls_key`"]),
    ("", "Connection refused (os error 111)", false, &["nothing listens", "host and port in `realtime.store`"]),
    ("", "failed to lookup address information: Name or service not known", false, &["no such host", "`realtime.store`"]),
    ("", "Redis server refused to switch database - Server(ResponseError): DB index is out of range", true, &["`/0`", "`databases`"]),
    ("", "No connections found for multi-node operation - ClusterConnectionNotFound", false, &["`CLUSTER INFO`", "`realtime.store`"]),
];

#[test]
fn every_refusal_has_a_way_out() {
    let single = SINGLE.iter().chain(&OF_A_CONNECTION).map(|known| (known, false));
    for ((code, text, is_for_good, words), is_cluster) in single.chain(OF_A_CLUSTER.iter().map(|known| (known, true))) {
        let told = way_out(code, text, "p", is_cluster).unwrap_or_else(|| panic!("nothing is told of {code} {text}"));
        assert_eq!(told.is_for_good, *is_for_good, "{code} {text}: {told:?}");
        let all = format!("{}: {}", told.trouble, told.advice);
        for words in *words {
            assert!(all.contains(words), "{code} {text}: no {words} in {all}");
        }
    }
    assert_eq!(way_out("WRONGTYPE", "Operation against a key holding the wrong kind of value", "p", false), None);
    assert_eq!(way_out("", "unexpected end of file", "p", false), None);
}

#[tokio::test]
async fn a_replica_is_told_at_the_start_and_when_a_master_becomes_one() {
    let on = Fixture::redis().await;
    let (server, place) = (on.server.as_ref().unwrap(), place("edits", 0));
    on.adopt(&place, &[1], None, &index(1, &[1])).await;
    server.run::<()>(&["REPLICAOF", "127.0.0.1", "1"]).await;
    let check = |error: ServingError, is_for_good: bool| {
        assert_eq!(matches!(error, ServingError::Unusable { .. }), is_for_good, "{error}");
        assert_eq!(matches!(error, ServingError::Refusing { .. }), !is_for_good, "{error}");
        let told = ["read-only replica", "READONLY", "`realtime.store`"];
        assert!(told.iter().all(|words| error.to_string().contains(words)), "{error}");
    };
    check(on.store.put_blobs(&place, vec![(blob(2), bytes(2))], LONG).await.unwrap_err(), false);
    check(on.store.swap_index(&place, Some(IndexStamp(1)), &index(2, &[1]), LONG).await.unwrap_err(), false);
    assert_eq!(on.store.read_index(&place).await.unwrap(), Some(index(1, &[1])), "it can be read");
    // Who reads alone may begin there; who writes may not.
    let reader = RedisStore::connect(settings(server)).await.unwrap();
    check(reader.check_writable().await.unwrap_err(), true);
    server.run::<()>(&["REPLICAOF", "NO", "ONE"]).await;
    reader.check_writable().await.unwrap();
    assert_eq!(on.swap(&place, Some(1), &index(2, &[1]), LONG).await, Swap::Done);
}

#[tokio::test]
async fn a_master_that_wants_replicas_says_so_and_a_start_tries_again() {
    let server = RedisServer::start().await;
    let store = RedisStore::connect(settings(&server)).await.unwrap();
    server.configure("min-replicas-to-write", "1").await;
    let error = store.check_writable().await.unwrap_err();
    assert!(matches!(error, ServingError::Refusing { .. }), "{error}");
    assert!(error.to_string().contains("`min-replicas-to-write`"), "{error}");
    server.configure("min-replicas-to-write", "0").await;
    store.check_writable().await.unwrap();
}

#[tokio::test]
async fn a_full_redis_is_told_as_full_before_the_start() {
    let server = RedisServer::start().await;
    let store = RedisStore::connect(settings(&server)).await.unwrap();
    // Less than a server takes by itself.
    server.configure("maxmemory", "500kb").await;
    let error = store.check_writable().await.unwrap_err();
    assert!(matches!(error, ServingError::Full { limit_bytes: Some(512_000), .. }), "{error}");
}

#[tokio::test]
async fn a_password_is_in_no_message() {
    let server = RedisServer::start().await;
    server.let_in("twofold", &acl_rules("test", false)).await;
    let url = |password: &str, rest: &str| server.url_of("twofold").replace("open-sesame", password) + rest;
    for url in [
        url("guessed", ""),
        url("guessed", "x"),
        url("guessed", "#x"),
        url("gue:ssed@", ""),
        url("guessed", "?protocol=x"),
    ] {
        let error = RedisStore::connect(RedisSettings { url, ..settings(&server) }).await.err();
        let text = error.map(|error| error.to_string()).unwrap_or_default();
        assert!(!text.is_empty() && !text.contains("guess") && !text.contains("gue:"), "{text}");
    }
}
