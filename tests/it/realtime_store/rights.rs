//! Users of Redis: the rights that the documents ask for are enough, and each that is missing is told by name.

use serving_layer::redis::{COMMANDS, key_pattern};

use super::*;

const OPERATIONS: &str = include_str!("../../../docs/operations.md");

async fn connect(server: &RedisServer, user: &str) -> Result<RedisStore, ServingError> {
    RedisStore::connect(RedisSettings { url: server.url_of(user), ..settings(server) }).await
}

fn check_refusal(error: &ServingError, words: &[&str]) {
    let text = error.to_string();
    assert!(text.contains("permission denied"), "{text}");
    for words in words {
        assert!(text.contains(words), "no {words} in: {text}");
    }
    assert!(!text.contains("open-sesame"), "{text}");
}

#[test]
fn the_documents_ask_for_the_rights_that_the_suite_runs_with() {
    for rules in [acl_rules("default", false), acl_rules("default", true)] {
        let line = format!("ACL SETUSER twofold on >PASSWORD {rules}");
        assert!(OPERATIONS.contains(&line), "docs/operations.md lacks: {line}");
    }
}

#[tokio::test]
async fn each_command_that_a_user_may_not_run_is_named_before_the_start() {
    let server = RedisServer::start().await;
    for command in COMMANDS {
        server.let_in("limited", &format!("{} -{command}", acl_rules("test", false))).await;
        // So that each script is sent anew.
        server.run::<()>(&["SCRIPT", "FLUSH"]).await;
        let store = connect(&server, "limited").await.unwrap();
        let outcome = store.check_writable().await;
        if command == "info" {
            outcome.expect("it is asked for what it tells alone");
            continue;
        }
        let error = outcome.unwrap_err();
        assert!(matches!(error, ServingError::Unusable { .. }), "without {command}: {error}");
        check_refusal(&error, &[&format!("add `+{command}`"), &acl_rules("test", false)]);
    }
}

#[tokio::test]
async fn what_a_user_of_a_cluster_may_not_ask_at_the_start_is_named() {
    let cluster = RedisCluster::start().await;
    cluster.let_in("limited", &format!("{} -cluster|slots", acl_rules("test", true))).await;
    let error = RedisStore::connect(cluster_settings(&cluster.url_of("limited"))).await.err().unwrap();
    assert!(matches!(error, ServingError::Unusable { .. }), "{error}");
    check_refusal(&error, &["add `+cluster|slots`", &acl_rules("test", true)]);
}

#[tokio::test]
async fn keys_that_a_user_may_not_use_are_named() {
    let server = RedisServer::start().await;
    server.let_in("limited", &acl_rules("other", false)).await;
    let store = connect(&server, "limited").await.unwrap();
    let add = format!("add `~{}`", key_pattern("test"));
    check_refusal(&store.check_writable().await.unwrap_err(), &[&add]);
    let error = store.read_index(&place("edits", 0)).await.unwrap_err();
    assert!(matches!(error, ServingError::Refusing { .. }), "{error}");
    check_refusal(&error, &[&add]);
}

#[tokio::test]
async fn a_right_that_is_taken_away_meanwhile_is_named_and_given_back_all_goes_on() {
    let server = RedisServer::start().await;
    server.let_in("limited", &acl_rules("test", false)).await;
    let store = connect(&server, "limited").await.unwrap();
    let on = Fixture { store: Arc::new(store), clock: None, server: Some(server), cluster: None };
    let place = place("edits", 0);
    let change = async |rule: &str| on.server.as_ref().unwrap().run::<()>(&["ACL", "SETUSER", "limited", rule]).await;

    change("-set").await;
    let error = on.store.put_blobs(&place, vec![(blob(1), bytes(1))], LONG).await.unwrap_err();
    assert!(matches!(error, ServingError::Refusing { .. }), "{error}");
    check_refusal(&error, &["add `+set`"]);
    change("+set").await;

    // Redis does not say which command a script was refused.
    change("-persist").await;
    on.put(&place, &[1], LONG).await;
    let error = on.store.swap_index(&place, None, &index(1, &[1]), LONG).await.unwrap_err();
    assert!(matches!(error, ServingError::Refusing { .. }), "{error}");
    check_refusal(&error, &[&acl_rules("test", false)]);
    assert_eq!(on.store.read_index(&place).await.unwrap(), None, "nothing was changed");
    change("+persist").await;
    assert_eq!(on.swap(&place, None, &index(1, &[1]), LONG).await, Swap::Done);
}

/// As the documents say of a gateway alone.
#[tokio::test]
async fn who_reads_alone_needs_three_commands() {
    let on = Fixture::redis().await;
    let (server, place) = (on.server.as_ref().unwrap(), place("edits", 0));
    on.adopt(&place, &[1], None, &index(1, &[1])).await;
    server.let_in("reader", &format!("~{} +get +mget +info", key_pattern("test"))).await;
    let reader = connect(server, "reader").await.unwrap();
    assert_eq!(reader.read_index(&place).await.unwrap(), Some(index(1, &[1])));
    assert_eq!(reader.get_blobs(&place, &[blob(1)]).await.unwrap(), [Some(bytes(1))]);
    check_refusal(&reader.check_writable().await.unwrap_err(), &["add `+evalsha`"]);
}

/// Two deployments on one Redis, each with a user of its own.
#[tokio::test]
async fn the_rights_of_one_prefix_reach_no_other() {
    let server = RedisServer::start().await;
    server.let_in("one", &acl_rules("one", false)).await;
    let theirs = RedisSettings { prefix: "one:more".to_owned(), url: server.url_of("one"), ..settings(&server) };
    let theirs = RedisStore::connect(theirs).await.unwrap();
    check_refusal(&theirs.check_writable().await.unwrap_err(), &[&key_pattern("one:more")]);
    let ours = RedisSettings { prefix: "one".to_owned(), url: server.url_of("one"), ..settings(&server) };
    RedisStore::connect(ours).await.unwrap().check_writable().await.unwrap();
}

/// What reading an index gives.
type Read = Result<Option<Index>, ServingError>;

/// As where a password is changed on the server first, or its file of users comes late.
#[tokio::test]
async fn a_user_who_is_let_in_again_is_served_again() {
    let server = RedisServer::start().await;
    server.let_in("changing", "~* +@all").await;
    let (store, place) = (connect(&server, "changing").await.unwrap(), place("edits", 0));
    let until = async |is_reached: fn(&Read) -> bool| {
        for _ in 0..500 {
            if is_reached(&store.read_index(&place).await) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{:?}", store.read_index(&place).await);
    };
    until(|read| matches!(read, Ok(None))).await;
    server.run::<()>(&["ACL", "SETUSER", "changing", "off"]).await;
    server.run::<i64>(&["CLIENT", "KILL", "USER", "changing"]).await;
    until(|read| matches!(read, Err(ServingError::Refusing { reason, .. }) if reason.contains("authentication"))).await;
    server.run::<()>(&["ACL", "SETUSER", "changing", "on"]).await;
    until(|read| matches!(read, Ok(None))).await;
}
