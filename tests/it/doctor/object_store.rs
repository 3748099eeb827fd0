//! What an S3 server answers that cannot be used, and what an operator is told of it. Servers of one test each.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use ::object_store::aws::{AmazonS3Builder, S3ConditionalPut};
use ::object_store::path::Path;
use ::object_store::{ObjectStore, RetryConfig};
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{Method, Response};
use lake::{Lake, LakeError, connection_way_out};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use twofold::store_answers::{StoreClock, StoreConnector};

use crate::support::process::free_port;

const WEEKDAY: &str = "Mon, 05 Jan 2026 10:00:00 GMT";

/// Status, code, message and more of an answer; what is to be told.
const REFUSALS: [(u16, &str, &str, &str, &str); 10] = [
    (
        403,
        "AccessDenied",
        "Access Denied",
        "",
        "s3:PutObject is not allowed (AccessDenied: Access Denied): allow s3:PutObject on the objects of bucket things \
         below `lake.location` to the key of `lake.access_key_id`",
    ),
    (403, "InvalidAccessKeyId", "No such key", "", "correct `lake.access_key_id`"),
    (403, "SignatureDoesNotMatch", "Check your key", "", "correct `lake.secret_access_key`"),
    (403, "ExpiredToken", "Expired", "", "AWS_SESSION_TOKEN"),
    (
        403,
        "RequestTimeTooSkewed",
        "Too large",
        "<RequestTime>20260105T100000Z</RequestTime><ServerTime>2026-01-05T10:26:30Z</ServerTime>",
        "the clock of this machine is 26 min behind that of the object store (RequestTimeTooSkewed: Too large): set the \
         clock of this machine",
    ),
    (
        403,
        "RequestTimeTooSkewed",
        "Too large",
        "<RequestTime>Mon, 05 Jan 2026 12:00:00 GMT</RequestTime><ServerTime>2026-01-05T10:00:00Z</ServerTime>",
        "the clock of this machine is 120 min ahead of that of the object store",
    ),
    (
        404,
        "NoSuchBucket",
        "Not there",
        "<BucketName>things</BucketName>",
        "bucket things does not exist (NoSuchBucket: Not there): make it, or correct `lake.location`",
    ),
    (
        400,
        "AuthorizationHeaderMalformed",
        "expecting 'eu-west-1'",
        "<Region>eu-west-1</Region>",
        "another region than `lake.region` says (AuthorizationHeaderMalformed: expecting 'eu-west-1'): set `lake.region` \
         to eu-west-1",
    ),
    (503, "SlowDown", "Reduce your rate", "", "the store asks for fewer requests (SlowDown: Reduce your rate)"),
    (501, "NotImplemented", "A header", "", "conditional puts"),
];

/// Status, headers and body.
type Answer = (u16, Vec<(&'static str, &'static str)>, String);

/// A server that ends with the test.
struct FakeS3 {
    port: u16,
    _server: JoinSet<()>,
}

impl FakeS3 {
    async fn start(answer: impl Fn(&Method, &str) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let answer = Arc::new(answer);
        let router = Router::new().fallback(move |request: Request| {
            let (status, headers, body) = answer(request.method(), &request.uri().to_string());
            let response = Response::builder().status(status);
            let response = headers.into_iter().fold(response, |response, (name, value)| response.header(name, value));
            std::future::ready(response.body(Body::from(body)).unwrap())
        });
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { port, _server: server }
    }

    /// One that answers everything alike.
    async fn always(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> Self {
        let (headers, body) = (headers.to_vec(), body.to_owned());
        Self::start(move |_, _| (status, headers.clone(), body.clone())).await
    }

    fn lake(&self, clock: &Arc<StoreClock>) -> Lake {
        lake_at(&format!("http://127.0.0.1:{}", self.port), clock)
    }
}

/// Tables in bucket `things` below `lake`. Nothing is tried again, so that the tests are short.
fn lake_at(endpoint: &str, clock: &Arc<StoreClock>) -> Lake {
    let store = AmazonS3Builder::new()
        .with_access_key_id("key")
        .with_secret_access_key("secret")
        .with_endpoint(endpoint)
        .with_allow_http(true)
        .with_bucket_name("things")
        .with_region("us-east-1")
        .with_retry(RetryConfig { max_retries: 0, ..RetryConfig::default() })
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_http_connector(StoreConnector::new(clock))
        .build()
        .unwrap();
    Lake::new(Arc::new(store) as Arc<dyn ObjectStore>, Path::from("lake"))
}

fn document(code: &str, message: &str, more: &str) -> String {
    format!("<?xml version=\"1.0\"?>\n<Error><Code>{code}</Code><Message>{message}</Message>{more}</Error>")
}

/// The error of the probe, and that it is told in these words.
async fn check(server: &FakeS3, expected: &[&str]) -> LakeError {
    check_lake(&server.lake(&Arc::default()), expected).await
}

async fn check_lake(lake: &Lake, expected: &[&str]) -> LakeError {
    let error = lake.probe(7).await.unwrap_err();
    let said = error.to_string();
    for part in expected {
        assert!(said.contains(part), "`{part}` is missing in: {said}");
    }
    assert!(!said.contains("<Code>"), "a document instead of words: {said}");
    error
}

#[tokio::test(flavor = "multi_thread")]
async fn each_refusal_is_told_with_its_way_out() {
    for (status, code, message, more, expected) in REFUSALS {
        check(&FakeS3::always(status, &[], &document(code, message, more)).await, &[expected]).await;
    }
}

/// The client of the store reads neither headers nor body of a redirect.
#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_names_the_region_of_the_bucket() {
    let body = document("PermanentRedirect", "Use the endpoint", "<Endpoint>things.s3.example</Endpoint>");
    let server = FakeS3::always(301, &[("x-amz-bucket-region", "eu-west-1")], &body).await;
    let error =
        check(&server, &["another region", "PermanentRedirect: Use the endpoint", "set `lake.region` to eu-west-1"])
            .await;
    assert!(!error.is_transient(), "{error}");
    check(&FakeS3::always(301, &[], &body).await, &["set `lake.region` to that of things.s3.example"]).await;
    check(&FakeS3::always(307, &[], "").await, &["set `lake.region` to that of the bucket"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clock_of_a_store_is_known_from_its_answers() {
    let clock = Arc::new(StoreClock::default());
    assert_eq!(clock.ahead(), None);
    let server = FakeS3::always(403, &[("date", "Sat, 01 Jan 2000 00:00:00 GMT")], "").await;
    server.lake(&clock).probe(7).await.unwrap_err();
    assert!(clock.ahead().unwrap().num_days() > 20 * 365, "{:?}", clock.ahead());
}

/// Puts and reads one object as a store that is in order does, and answers one request otherwise.
async fn allowing_all_but(denied: &'static str) -> FakeS3 {
    refusing(denied, 403, "AccessDenied").await
}

/// The same with another answer to that request.
async fn refusing(denied: &'static str, status: u16, code: &'static str) -> FakeS3 {
    let (puts, stored) = (AtomicUsize::new(0), Mutex::new(String::new()));
    FakeS3::start(move |method, url| {
        let key = url.split('?').next().unwrap_or_default().trim_start_matches("/things/").to_owned();
        let request = match (method.as_str(), url.contains("list-type=")) {
            ("GET", true) => "list",
            ("GET", false) => "get",
            ("PUT", _) => "put",
            _ => "delete",
        };
        if request == denied && request != "delete" {
            return (status, vec![], document(code, "Access Denied", ""));
        }
        let etag = vec![("etag", "\"e\""), ("last-modified", WEEKDAY)];
        match request {
            "put" if puts.fetch_add(1, Ordering::SeqCst) > 0 => (412, vec![], document("PreconditionFailed", "", "")),
            "put" => {
                *stored.lock().unwrap() = key;
                (200, etag, String::new())
            }
            "get" => (200, etag, "1".to_owned()),
            "list" => {
                let key = stored.lock().unwrap().clone();
                let object = format!(
                    "<Key>{key}</Key><Size>1</Size><LastModified>2026-01-05T10:00:00.000Z</LastModified><ETag>e</ETag>"
                );
                (200, vec![], format!("<ListBucketResult><Contents>{object}</Contents></ListBucketResult>"))
            }
            _ => {
                let key = stored.lock().unwrap().clone();
                let error =
                    format!("<Error><Key>{key}</Key><Code>AccessDenied</Code><Message>Access Denied</Message></Error>");
                (200, vec![], format!("<DeleteResult>{error}</DeleteResult>"))
            }
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_action_that_is_missing_is_named() {
    for (denied, action, place) in [
        ("put", "s3:PutObject", "on the objects of bucket things below `lake.location`"),
        ("get", "s3:GetObject", "and s3:ListBucket, without which a missing object looks so"),
        ("list", "s3:ListBucket", "on bucket things"),
        ("delete", "s3:DeleteObject", "below `lake.location`"),
    ] {
        let server = allowing_all_but(denied).await;
        let error = check(&server, &[&format!("{action} is not allowed (AccessDenied"), place]).await;
        assert!(error.to_string().contains(&format!("allow {action} ")), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_be_spoken_with_is_told_with_the_way_out() {
    let nobody = lake_at(&format!("http://127.0.0.1:{}", free_port()), &Arc::default());
    check_lake(&nobody, &["Connection refused", "nothing listens there", "`lake.endpoint`"]).await;
    let plain = FakeS3::always(200, &[], "").await;
    let over_tls = lake_at(&format!("https://127.0.0.1:{}", plain.port), &Arc::default());
    check_lake(&over_tls, &["the server speaks plain http there: write `http://` in `lake.endpoint`"]).await;
}

#[test]
fn each_failed_connection_has_its_way_out() {
    for (said, expected) in [
        ("dns error: failed to lookup address information", "no such host is known here: correct `a.b`"),
        ("tcp connect error: Connection refused (os error 111)", "host and port in `a.b`"),
        ("invalid peer certificate: UnknownIssuer", "SSL_CERT_FILE"),
        (
            "certificate not valid for name \"x\"; certificate is only valid for y",
            "write in `a.b` a name that it is for",
        ),
        ("invalid peer certificate: certificate expired: verification time 7", "renew it"),
        ("operation timed out", "is `a.b` right"),
    ] {
        let way_out = connection_way_out(said, "a.b").unwrap();
        assert!(way_out.contains(expected), "{said}: {way_out}");
    }
    assert_eq!(connection_way_out("what nobody has heard of", "a.b"), None);
}

/// Objects are put and read below such an address as if nothing were wrong.
#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_leads_into_a_bucket_is_told_as_that() {
    let error = check(&refusing("list", 404, "NoSuchKey").await, &["`lake.endpoint` ends behind the port"]).await;
    assert!(!error.is_transient(), "{error}");
}
