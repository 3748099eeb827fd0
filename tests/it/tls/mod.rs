//! TLS of a port: who is answered and who is refused, what is replaced while it runs, and clients that hold on to a
//! handshake.

mod authority;
mod process;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::routing::get;
use edge::{ClientCertificate, ConnectionSettings, Sha256Sum, Tls, TlsError, TlsMaterial, Validity};
use positions::{Clock, TimestampMicros};
use reqwest::{Client, ClientBuilder, Version};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use twofold::environment::SystemClock;

use crate::support::large_body::{LARGE_BYTES, with_large_body};
use crate::support::process::DEADLINE;
use authority::{Authority, Pair};

/// What a client of TLS begins with, of a record that is longer.
const BEGUN: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";

/// A port on loopback; ends with the value.
struct Port {
    address: String,
    tls: Tls,
    large_is_gone: CancellationToken,
    _stop: DropGuard,
}

/// Whom the port takes the client for.
async fn who(request: Request) -> String {
    match request.extensions().get::<ClientCertificate>() {
        Some(shown) => {
            let name = shown.common_name.as_deref().unwrap_or("nameless");
            format!("{name} {} {}", shown.names.join("+"), shown.fingerprint)
        }
        None => "anybody".to_owned(),
    }
}

async fn serve_with(settings: ConnectionSettings, material: &TlsMaterial) -> Port {
    let (listener, stop) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), CancellationToken::new());
    let address = listener.local_addr().unwrap().to_string();
    let (router, large_is_gone) = with_large_body(Router::new().route("/who", get(who)));
    let tls = Tls::new(material, Arc::new(SystemClock)).unwrap();
    tokio::spawn(edge::serve_tls(listener, router, settings, tls.clone(), stop.clone()));
    Port { address, tls, large_is_gone, _stop: stop.drop_guard() }
}

async fn serve(material: &TlsMaterial) -> Port {
    serve_with(ConnectionSettings::default(), material).await
}

fn material(pair: &Pair) -> TlsMaterial {
    TlsMaterial {
        certificate: pair.certificate.clone().into_bytes(),
        key: pair.key.clone().into_bytes(),
        client_ca: None,
        is_client_required: false,
    }
}

fn mutual(pair: &Pair, clients: &Authority, is_client_required: bool) -> TlsMaterial {
    TlsMaterial { client_ca: Some(clients.pem.clone().into_bytes()), is_client_required, ..material(pair) }
}

impl Port {
    async fn ask(&self, client: ClientBuilder) -> reqwest::Result<String> {
        let client = client.timeout(DEADLINE).build().unwrap();
        client.get(format!("https://{}/who", self.address)).send().await?.text().await
    }
}

/// Reads until the other side ends the connection.
async fn read_to_end(stream: &mut TcpStream) {
    let mut read = Vec::new();
    let _ = timeout(DEADLINE, stream.read_to_end(&mut read)).await.expect("the connection ended");
}

#[tokio::test]
async fn both_versions_of_tls_are_spoken_and_http_1_alone() {
    let authority = Authority::new();
    let port = serve(&material(&authority.server())).await;
    for version in [reqwest::tls::Version::TLS_1_2, reqwest::tls::Version::TLS_1_3] {
        let client = authority.trusted_by().min_tls_version(version).max_tls_version(version).build().unwrap();
        let answer = client.get(format!("https://localhost:{}/who", port.address.rsplit(':').next().unwrap()));
        let answer = timeout(DEADLINE, answer.send()).await.unwrap().unwrap();
        assert_eq!((answer.status().as_u16(), answer.version()), (200, Version::HTTP_11));
        assert_eq!(answer.text().await.unwrap(), "anybody");
    }
    assert!(port.ask(Authority::new().trusted_by()).await.is_err(), "nobody else's clients believe it");
}

#[tokio::test]
async fn plain_http_is_told_what_the_port_speaks() {
    let port = serve(&material(&Authority::new().server())).await;
    let answer = Client::new().post(format!("http://{}/who", port.address)).body("x".repeat(10_000)).send();
    let answer = timeout(DEADLINE, answer).await.unwrap().unwrap();
    assert_eq!(answer.status().as_u16(), 400);
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
    assert!(answer.headers()["content-security-policy"].to_str().unwrap().contains("default-src 'none'"));
    let problem: Value = answer.json().await.unwrap();
    assert_eq!(problem["type"], "urn:twofold:problem:bad-request", "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("TLS"), "{problem}");
    assert!(problem["hint"].as_str().unwrap().contains("https://"), "{problem}");
}

#[tokio::test]
async fn a_client_is_known_by_a_certificate_of_its_authority_alone() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let port = serve(&mutual(&authority.server(), &clients, false)).await;
    let shop = clients.client("shop", &["shop.example", "eu.shop.example"]);
    let known = port.ask(authority.trusted_by().identity(shop.identity())).await.unwrap();
    let (name, fingerprint) = known.rsplit_once(' ').unwrap();
    assert_eq!(name, "shop shop.example+eu.shop.example");
    assert_eq!(fingerprint, ClientCertificate::read(&shop.der).fingerprint.to_string());
    assert_eq!(port.ask(authority.trusted_by()).await.unwrap(), "anybody");

    // Of an authority by the same name.
    let stranger = Authority::new().client("shop", &["shop.example"]);
    assert!(port.ask(authority.trusted_by().identity(stranger.identity())).await.is_err());
}

#[tokio::test]
async fn a_client_without_a_certificate_is_refused_where_one_is_required() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let port = serve(&mutual(&authority.server(), &clients, true)).await;
    assert!(port.ask(authority.trusted_by()).await.is_err());
    let client = clients.client("scraper", &[]);
    let known = port.ask(authority.trusted_by().identity(client.identity())).await.unwrap();
    assert!(known.starts_with("scraper "), "{known}");
}

#[test]
fn a_certificate_is_read_as_far_as_it_can_be() {
    // The hash of "abc" in FIPS 180-4.
    let of_abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let fingerprint = Sha256Sum::read(of_abc).unwrap();
    let expected = ClientCertificate { fingerprint, common_name: None, names: Vec::new() };
    assert_eq!(ClientCertificate::read(b"abc"), expected);
    let long = "n".repeat(60);
    let shown = ClientCertificate::read(&Authority::new().client(&long, &[]).der);
    assert_eq!(shown.common_name, Some(long));
    // Damaged anywhere, it is read as something or as nothing, and never panics.
    let whole = Authority::new().client("shop", &["shop.example"]).der;
    for place in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[place] ^= 0xff;
        assert_ne!(ClientCertificate::read(&damaged), ClientCertificate::read(&whole));
    }
}

#[tokio::test]
async fn what_is_replaced_holds_for_new_connections_and_what_is_broken_replaces_nothing() {
    let (before, after) = (Authority::new(), Authority::new());
    let port = serve(&material(&before.server())).await;
    let lasting = before.trusted_by().timeout(DEADLINE).build().unwrap();
    let ask_again = || lasting.get(format!("https://{}/who", port.address)).send();
    assert_eq!(ask_again().await.unwrap().text().await.unwrap(), "anybody");

    let pair = after.server();
    port.tls.replace(&material(&pair)).unwrap();
    assert!(port.ask(before.trusted_by()).await.is_err());
    assert_eq!(port.ask(after.trusted_by()).await.unwrap(), "anybody");
    assert_eq!(ask_again().await.unwrap().text().await.unwrap(), "anybody", "on the connection that it has");

    let half = TlsMaterial { key: before.server().key.into_bytes(), ..material(&pair) };
    assert_eq!(port.tls.replace(&half), Err(TlsError::Mismatch));
    assert_eq!(port.ask(after.trusted_by()).await.unwrap(), "anybody");
}

#[test]
fn material_that_cannot_be_used_is_told_by_its_part_and_quotes_no_key() {
    let authority = Authority::new();
    let (pair, other) = (authority.server(), authority.server());
    let refused = |change: &dyn Fn(&mut TlsMaterial)| {
        let mut material = mutual(&pair, &authority, false);
        change(&mut material);
        let error = Tls::new(&material, Arc::new(SystemClock)).unwrap_err();
        let told = format!("{error} {error:?} {material:?}");
        assert!(pair.key.lines().all(|line| line.contains("PRIVATE KEY") || !told.contains(line)), "{told}");
        error
    };
    for text in ["", "nonsense", "-----BEGIN CERTIFICATE-----\nnonsense", pair.key.as_str(), &pair.key[..100]] {
        let error = refused(&|material| material.certificate = text.as_bytes().to_vec());
        assert!(matches!(error, TlsError::Certificate(_)), "{text}: {error}");
        let error = refused(&|material| material.client_ca = Some(text.as_bytes().to_vec()));
        assert!(matches!(error, TlsError::ClientCa(_)), "{text}: {error}");
    }
    let torn = pair.certificate.replacen("MII", "MIA", 1);
    let error = refused(&|material| material.certificate = torn.clone().into_bytes());
    assert!(matches!(error, TlsError::Certificate(_)), "{error}");
    let encrypted = pair.key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    for text in ["", "nonsense", pair.certificate.as_str(), &pair.key[..100], encrypted.as_str()] {
        let error = refused(&|material| material.key = text.as_bytes().to_vec());
        assert!(matches!(error, TlsError::Key(_)), "{text}: {error}");
    }
    assert_eq!(refused(&|material| material.key = other.key.clone().into_bytes()), TlsError::Mismatch);
}

#[test]
fn a_certificate_says_until_when_it_is_good() {
    let authority = Authority::new();
    let tls = |pair: &Pair| Tls::new(&material(pair), Arc::new(SystemClock)).unwrap();
    let (new_year_2020, now) = (TimestampMicros(1_577_836_800_000_000), SystemClock.now());
    let expired = tls(&authority.expired());
    assert_eq!(expired.validity(now), Validity::Over(new_year_2020));
    assert_eq!(expired.validity(new_year_2020), Validity::Good);
    assert_eq!(tls(&authority.server()).validity(now), Validity::Good);
    assert!(matches!(tls(&authority.server()).validity(TimestampMicros(0)), Validity::NotYet(_)));
}

#[tokio::test]
async fn a_client_that_does_not_finish_its_handshake_is_let_go() {
    let short = ConnectionSettings { head_timeout: Duration::from_millis(200), ..ConnectionSettings::default() };
    let port = serve_with(short, &material(&Authority::new().server())).await;
    for begun in [b"".as_slice(), b"\x16".as_slice(), BEGUN] {
        let mut stream = TcpStream::connect(&port.address).await.unwrap();
        stream.write_all(begun).await.unwrap();
        read_to_end(&mut stream).await;
    }
}

#[tokio::test]
async fn handshakes_that_stand_still_make_room_for_those_that_go_on() {
    let authority = Authority::new();
    let few = ConnectionSettings { max_connections: 4, ..ConnectionSettings::default() };
    let port = serve_with(few, &material(&authority.server())).await;
    let mut silent = Vec::new();
    for number in 0..12 {
        let mut stream = TcpStream::connect(&port.address).await.unwrap();
        stream.write_all(if number % 2 == 0 { BEGUN } else { b"" }).await.unwrap();
        silent.push(stream);
    }
    assert_eq!(port.ask(authority.trusted_by()).await.unwrap(), "anybody");
}

#[tokio::test]
async fn an_answer_over_tls_that_nobody_reads_is_dropped() {
    let authority = Authority::new();
    let short = ConnectionSettings { answer_timeout: Duration::from_millis(200), ..ConnectionSettings::default() };
    let port = serve_with(short, &material(&authority.server())).await;
    let client = authority.trusted_by().build().unwrap();
    let unread = client.get(format!("https://{}/large", port.address)).send().await.unwrap();
    timeout(DEADLINE, port.large_is_gone.cancelled()).await.expect("the answer was dropped");
    assert!(unread.bytes().await.is_err(), "it never came whole");
}

#[tokio::test]
async fn a_large_answer_comes_whole() {
    let authority = Authority::new();
    let port = serve(&material(&authority.server())).await;
    let client = authority.trusted_by().timeout(DEADLINE).build().unwrap();
    let answer = client.get(format!("https://{}/large", port.address)).send().await.unwrap();
    assert_eq!(answer.bytes().await.unwrap().len(), LARGE_BYTES);
}
