//! Certificates of clients, as a listener with TLS hands them on.

use edge::{Access, ClientCertificate, ProblemKind, Sha256Sum};

use super::{Answer, Port, SHOP, key_of, keyring};

fn certificate(common_name: Option<&str>, names: &[&str]) -> ClientCertificate {
    ClientCertificate {
        fingerprint: Sha256Sum::of(format!("{common_name:?} {names:?}").as_bytes()),
        common_name: common_name.map(str::to_owned),
        names: names.iter().map(|name| (*name).to_owned()).collect(),
    }
}

async fn port(rule: &str, certificate: ClientCertificate) -> Port {
    let key = key_of(1).1;
    let file = format!(
        "[grants.g]\noperate = true\n[[certificates]]\n{rule}\ngrant = 'g'\n\
         [[keys]]\nname = 'ann'\nhash = '{key}'\ngrant = 'g'\n"
    );
    Port::open_for(Access::Keys(keyring(&file).0), Some(certificate)).await
}

#[tokio::test]
async fn a_certificate_is_known_by_its_name_or_its_hash() {
    let shown = certificate(Some("grafana"), &["grafana.example", "spiffe://example/grafana"]);
    let sum = shown.fingerprint.to_string();
    for rule in [
        "common_name = 'grafana'".to_owned(),
        "san = 'grafana.example'".to_owned(),
        "san = 'spiffe://example/grafana'".to_owned(),
        format!("fingerprint = '{sum}'"),
        format!("fingerprint = '{}'", sum.to_uppercase()),
    ] {
        let port = port(&rule, shown.clone()).await;
        assert_eq!(Answer::of(port.get("/who")).await.text, format!("certificate:{sum}"), "{rule}");
    }
    for rule in ["common_name = 'grafana.example'", "san = 'grafana'", "common_name = ''"] {
        let refused = Answer::of(port(rule, shown.clone()).await.get("/who")).await;
        refused.check_problem(ProblemKind::Unauthenticated, "certificate");
    }
    let nameless = port("common_name = ''", certificate(None, &[])).await;
    Answer::of(nameless.get("/who")).await.check_problem(ProblemKind::Unauthenticated, "certificate");
}

#[tokio::test]
async fn a_key_counts_before_a_certificate_and_pages_use_neither() {
    let port = port("common_name = 'grafana'", certificate(Some("grafana"), &[])).await;
    assert_eq!(port.who(&key_of(1).0).await.text, "ann");
    port.who(&key_of(2).0).await.check_problem(ProblemKind::Unauthenticated, "key");
    // The browser shows its certificate for whatever page it shows.
    let of_page = Answer::of(port.get("/who").header("origin", "https://other.example")).await;
    of_page.check_problem(ProblemKind::OriginNotAllowed, "allowed_origins");
    assert_eq!(Answer::of(port.post("/events").header("origin", SHOP)).await.status, 200);
}
