//! Redis over TLS: both sides are checked, and what is wrong is told by the setting that mends it.

use super::*;

async fn refused(settings: RedisSettings) -> ServingError {
    RedisStore::connect(settings).await.err().expect("refused")
}

fn check(error: &ServingError, words: &[&str]) {
    assert!(matches!(error, ServingError::Unusable { .. }), "{error}");
    for words in words {
        assert!(error.to_string().contains(words), "no {words} in: {error}");
    }
}

#[tokio::test]
async fn a_server_that_cannot_be_believed_is_refused() {
    let (ours, theirs) = (Certificates::new(), Certificates::new());
    let server = RedisServer::start_tls(&ours, "server").await;
    let settings = tls_settings(&server, &ours);
    RedisStore::connect(settings.clone()).await.unwrap().check_writable().await.unwrap();
    // The authorities of the system know nothing of this one.
    for authority in [None, Some(theirs.read("ca.pem"))] {
        let tls = RedisTls { authority, ..settings.tls.clone() };
        check(&refused(RedisSettings { tls, ..settings.clone() }).await, &["UnknownIssuer", "`realtime.tls_ca`"]);
    }
    let elsewhere = RedisServer::start_tls(&ours, "elsewhere").await;
    let error = refused(tls_settings(&elsewhere, &ours)).await;
    check(&error, &["another host", "elsewhere.example", "`realtime.store`"]);
}

#[tokio::test]
async fn a_client_without_a_certificate_is_not_let_in_where_one_is_wanted() {
    let certificates = Certificates::new();
    let server = RedisServer::start_tls(&certificates, "server").await;
    let tls = RedisTls { authority: Some(certificates.read("ca.pem")), identity: None };
    // What it says may be lost with the connection that it ends.
    let error = refused(RedisSettings { tls, ..tls_settings(&server, &certificates) }).await;
    assert!(matches!(error, ServingError::Unusable { .. } | ServingError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn a_port_that_speaks_tls_is_guessed_from_its_silence() {
    let certificates = Certificates::new();
    let server = RedisServer::start_tls(&certificates, "server").await;
    let url = server.tls_url().replace("rediss://", "redis://");
    let error = refused(RedisSettings { url, ..settings(&server) }).await;
    assert!(matches!(error, ServingError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("`rediss://`"), "{error}");
}

#[tokio::test]
async fn a_port_that_speaks_no_tls_is_guessed_as_well() {
    let server = RedisServer::start().await;
    let url = server.url().replace("redis://", "rediss://");
    let quick = Duration::from_millis(500);
    // It answers that it does not understand, or waits for more.
    let error =
        refused(RedisSettings { url, connect_timeout: quick, response_timeout: quick, ..settings(&server) }).await;
    assert!(error.to_string().contains("`redis://`"), "{error}");
}

#[tokio::test]
async fn files_that_hold_something_else_are_told_by_their_setting() {
    let certificates = Certificates::new();
    let server = RedisServer::start().await;
    let url = server.url().replace("redis://", "rediss://");
    let with = |tls: RedisTls| RedisSettings { url: url.clone(), tls, ..settings(&server) };
    let identity = |certificate: &str, key: &str| RedisTls {
        authority: None,
        identity: Some((certificates.read(certificate), certificates.read(key))),
    };
    let authority = |bytes: &[u8]| RedisTls { authority: Some(bytes.to_vec()), identity: None };
    let cases = [
        (authority(b"rubbish"), "`realtime.tls_ca`"),
        (authority(&certificates.read("ca.key")), "`realtime.tls_ca`"),
        (identity("client.key", "client.key"), "`realtime.tls_certificate`"),
        (identity("client.pem", "client.pem"), "`realtime.tls_key`"),
        (identity("client.pem", "server.key"), "do not fit"),
    ];
    for (tls, words) in cases {
        check(&refused(with(tls)).await, &[words]);
    }
}
