//! What `docker compose up` would run, as processes on the services of this test run: the file and the system cannot
//! drift apart.

mod file;
mod process;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use twofold::client::Client;

use crate::cli::{check, generated};
use crate::support::process::DEADLINE;
use crate::tidy::product_sources;
use process::{Container, Host};

/// Sends for a while with the command of the traffic container; what must be answered for it.
async fn send(host: &Host, traffic: &Value, span: &str) -> (u64, String) {
    let output = host.run("traffic", traffic, &["--for", span]).await;
    check(&output, 0, &[" malformed lines acknowledged"]);
    generated(output)
}

/// The gateway's answer as of `token` holds exactly `visits`; asked again while it is not up to it.
async fn check_total(gateway: &Container, token: &str, visits: u64) -> Value {
    let client = Client::new(&gateway.address).unwrap();
    let deadline = Instant::now() + DEADLINE;
    loop {
        let parameters = [("by", ""), ("after", token), ("timeout", "30s")];
        match client.get("/v1/views/visits_by_page/rows", &parameters).await {
            Ok(answer) => {
                assert_eq!(answer["rows"][0]["visits"], json!(visits), "{}\n{}", answer["envelope"], gateway.log());
                return answer;
            }
            Err(error) => assert!(Instant::now() < deadline, "no answer: {error:#}\n{}", gateway.log()),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What the dashboard computes the lag of the layers from is told by somebody.
async fn check_lag_is_told(running: &[(&str, Container)]) {
    let mut told = String::new();
    for (_, container) in running {
        let answer = reqwest::get(format!("{}/metrics", container.address)).await.unwrap();
        told.push_str(&answer.text().await.unwrap());
    }
    for name in ["event_log_end_offsets", "archive_end_offsets", "gateway_head_offsets", "gateway_cut_offsets"] {
        assert!(told.contains(&format!("\ntwofold_{name}{{source=\"visits\"")), "{name} is not told:\n{told}");
    }
    assert!(told.contains("\ntwofold_gateway_as_of_seconds{"), "{told}");
}

/// Starts the containers, as `docker compose up` does.
async fn up<'a>(host: &Host, containers: &BTreeMap<&'a str, &Value>) -> Vec<(&'a str, Container)> {
    let mut running: Vec<(&str, Container)> =
        containers.iter().map(|(name, container)| (*name, host.start(name, container))).collect();
    for (_, container) in &mut running {
        container.wait_until_healthy().await;
    }
    running
}

/// Stops them; their volumes stay.
async fn down(running: Vec<(&str, Container)>) {
    for (_, container) in running {
        container.stop().await;
    }
}

fn gateway_of<'a>(running: &'a [(&str, Container)]) -> &'a Container {
    &running.iter().find(|(name, _)| *name == "gateway").unwrap().1
}

#[tokio::test(flavor = "multi_thread")]
async fn the_containers_count_every_event_before_and_after_a_publication_and_another_up() {
    let (Some(compose), Some(host)) = (file::compose(), Host::new()) else { return };
    let mut containers = file::containers(&compose);
    let traffic = containers.remove("traffic").unwrap();
    let running = up(&host, &containers).await;
    let gateway = gateway_of(&running);
    let (mut visits, token) = send(&host, traffic, "2s").await;
    check_total(gateway, &token, visits).await;
    let deadline = Instant::now() + DEADLINE;
    while check_total(gateway, &token, visits).await["envelope"]["batch_rows"] == json!(0) {
        assert!(Instant::now() < deadline, "nothing is published");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (more, token) = send(&host, traffic, "1s").await;
    visits += more;
    let answer = check_total(gateway, &token, visits).await;
    assert!(answer["envelope"]["batch_rows"].as_u64() > Some(0), "{}", answer["envelope"]);
    assert_eq!(answer["envelope"]["stale"], json!(false));
    check_lag_is_told(&running).await;
    // A run that somebody asks for, from a container that has nothing but the settings.
    let by_hand = json!({
        "command": ["runs", "start", "--full", "--wait"],
        "environment": containers["worker-1"]["environment"],
    });
    check(&host.run("by-hand", &by_hand, &[]).await, 0, &[]);
    check_total(gateway, &token, visits).await;
    down(running).await;

    let running = up(&host, &containers).await;
    check_total(gateway_of(&running), &token, visits).await;
    let (more, token) = send(&host, traffic, "1s").await;
    check_total(gateway_of(&running), &token, visits + more).await;
    down(running).await;
}

#[test]
fn every_container_comes_back_is_bounded_and_keeps_its_data() {
    let Some(compose) = file::compose() else { return };
    for (name, service) in compose["services"].as_object().unwrap() {
        assert!(service["restart"].is_string(), "{name} does not come back");
        // It ends by itself.
        assert!(name == "bucket" || service["mem_limit"].is_string(), "{name} may take all memory");
    }
    let named = compose["volumes"].as_object().unwrap();
    for (name, container) in file::containers(&compose) {
        if name == "traffic" {
            assert_eq!(container["healthcheck"]["disable"], json!(true), "it does not listen");
            continue;
        }
        assert!(container.get("healthcheck").is_none(), "{name}: the image's health check holds");
        let says = file::environment(container);
        assert_eq!(says.get("TWOFOLD_ACCESS__MODE").map(String::as_str), Some("none"), "{name}: open in writing");
        let mut ports = container.get("ports").and_then(Value::as_array).into_iter().flatten();
        assert!(ports.all(|port| port.as_str().unwrap().starts_with("127.0.0.1:")), "{name} is open to others");
        let volume = container["volumes"][0].as_str().unwrap();
        let (volume, path) = volume.split_once(':').unwrap();
        assert!(volume == name && path == "/data" && named.contains_key(volume), "{name} has no data of its own");
    }
    assert_eq!(file::health_command(), ["health"]);
}

/// Started by a profile of their own; their ports know nobody, so nobody else may reach them.
#[test]
fn machines_that_compute_together_are_bounded_and_reached_by_containers_alone() {
    let Some(compose) = file::compose() else { return };
    let machines = file::machines(&compose);
    assert_eq!(machines.keys().copied().collect::<Vec<_>>(), ["executor-1", "executor-2", "scheduler"]);
    for (name, container) in machines {
        assert_eq!(container["healthcheck"]["disable"], json!(true), "{name} has no HTTP");
        assert_eq!(container.get("ports"), None, "{name} has neither TLS nor keys");
        assert_eq!(container["read_only"], json!(true), "{name} may write to the image");
        assert_eq!(container["volumes"], json!([format!("{name}:/data")]));
        let says = file::environment(container);
        assert_eq!(says["TWOFOLD_BALLISTA__SCHEDULER"], "scheduler:50050");
        if name.starts_with("executor") {
            assert_eq!(says["TWOFOLD_BALLISTA__ADVERTISED_HOST"], name);
        }
    }
    // Without the profile nobody asks for them.
    let worker = file::environment(file::containers(&compose)["worker-1"]);
    assert_eq!(worker["TWOFOLD_BATCH__ENGINE"], "local");
}

#[test]
fn no_container_has_rights_that_it_does_not_need() {
    let Some(compose) = file::compose() else { return };
    let says = |service: &Value, key: &str, value: &str| {
        service[key].as_array().is_some_and(|list| list.iter().any(|entry| entry == value))
    };
    for (name, service) in compose["services"].as_object().unwrap() {
        assert!(says(service, "security_opt", "no-new-privileges:true"), "{name} may gain rights");
        assert!(says(service, "cap_drop", "ALL"), "{name} has capabilities");
        // These two give root up by themselves.
        let gives_up_root = ["redis", "s3"].contains(&name.as_str());
        let kept = gives_up_root.then(|| json!(["CHOWN", "DAC_OVERRIDE", "SETGID", "SETUID"]));
        assert_eq!(service.get("cap_add"), kept.as_ref(), "{name} has capabilities");
        for opened in ["privileged", "network_mode", "pid", "devices", "user"] {
            assert_eq!(service.get(opened), None, "{name} has {opened}");
        }
    }
    for (name, container) in file::containers(&compose) {
        assert_eq!(container["read_only"], json!(true), "{name} may write to the image");
        let temporary = container["tmpfs"][0].as_str().unwrap();
        assert!(temporary.starts_with("/tmp:size="), "{name}: {temporary}");
    }
    let dockerfile = file::read("Dockerfile");
    let user = dockerfile.lines().filter_map(|line| line.strip_prefix("USER ")).next_back().unwrap();
    let (user, group) = user.split_once(':').unwrap();
    assert!([user, group].iter().all(|id| id.parse::<u32>().is_ok_and(|id| id > 0)), "{user}:{group}");
}

/// The image without a digest, for the reason that stands beside it.
const BY_VERSION_ALONE: [&str; 1] = ["apache/kafka:4.4.0"];

#[test]
fn images_are_named_by_full_versions_and_digests() {
    let Some(compose) = file::compose() else { return };
    let dockerfile = file::read("Dockerfile");
    // It would be an image, too.
    assert!(!dockerfile.contains("# syntax="), "the frontend is that of the builder");
    let bases = dockerfile.lines().filter_map(|line| line.strip_prefix("FROM ")?.split(' ').next());
    let services = compose["services"].as_object().unwrap().values();
    let images = services.map(|service| service["image"].as_str().unwrap()).filter(|image| *image != "twofold");
    for image in bases.chain(images) {
        let (named, digest) = image.split_once("@sha256:").unwrap_or((image, ""));
        let tag = named.rsplit_once(':').unwrap_or_else(|| panic!("{image} has no tag")).1;
        let numbers = tag.trim_start_matches('v').split('-').next().unwrap().split('.');
        let is_whole = numbers.clone().count() >= 2 && numbers.clone().all(|number| number.parse::<u32>().is_ok());
        assert!(is_whole, "{image} does not tell people which version it is");
        let is_pinned = digest.len() == 64 && digest.bytes().all(|digit| b"0123456789abcdef".contains(&digit));
        assert!(is_pinned != BY_VERSION_ALONE.contains(&image), "{image} may be another one tomorrow");
    }
}

#[test]
fn mounted_files_and_make_targets_exist() {
    let Some(compose) = file::compose() else { return };
    for (name, service) in compose["services"].as_object().unwrap() {
        let mounts = service.get("volumes").and_then(Value::as_array).into_iter().flatten();
        for path in mounts.filter_map(|mount| mount.as_str()?.split(':').next()?.strip_prefix("./")) {
            assert!(file::root().join(path).exists(), "{name} mounts {path}");
        }
    }
    let makefile = file::read("Makefile");
    let dockerfile = file::read("Dockerfile");
    let targets: Vec<&str> =
        dockerfile.split("=/cache make ").skip(1).map(|rest| rest.split([' ', '\n']).next().unwrap()).collect();
    assert_eq!(targets, ["release"]);
    targets.iter().for_each(|target| assert!(makefile.contains(&format!("\n{target}:")), "no target {target}"));
}

#[test]
fn images_are_of_the_versions_that_the_tests_run_on() {
    let Some(compose) = file::compose() else { return };
    let image = |service: &str| compose["services"][service]["image"].as_str().unwrap().to_owned();
    let pom = file::read("scripts/kafka/pom.xml");
    let kafka = pom.split_once("<artifactId>kafka_2.13</artifactId>").unwrap().1.split(['<', '>']).nth(2).unwrap();
    assert_eq!(image("kafka"), format!("apache/kafka:{kafka}"));
    let script = file::read("scripts/services.sh");
    let seaweedfs = script.split_once("\nseaweedfs=").unwrap().1.lines().next().unwrap();
    let s3 = image("s3");
    assert_eq!(s3.split('@').next().unwrap(), format!("chrislusf/seaweedfs:{seaweedfs}"));
}

#[test]
fn demonstration_credentials_agree() {
    let Some(compose) = file::compose() else { return };
    let s3: Value = serde_json::from_str(&file::read("deploy/s3.json")).unwrap();
    let environment = file::environment(file::containers(&compose)["collector"]);
    let keys = &s3["identities"][0]["credentials"][0];
    assert_eq!(keys["accessKey"], environment["TWOFOLD_LAKE__ACCESS_KEY_ID"]);
    assert_eq!(keys["secretKey"], environment["TWOFOLD_LAKE__SECRET_ACCESS_KEY"]);
    let bucket = compose["services"]["bucket"]["command"].to_string();
    assert!(bucket.contains("twofold:twofold-demo") && bucket.contains("http://s3:8333/twofold"), "{bucket}");
}

#[tokio::test]
async fn a_bucket_that_is_there_already_is_success() {
    let (Some(compose), Some(host)) = (file::compose(), Host::new()) else { return };
    for _ in 0..2 {
        check(&host.run_shell(&compose["services"]["bucket"]).await, 0, &["the store answered "]);
    }
}

#[test]
fn prometheus_asks_every_container_that_listens() {
    let Some(compose) = file::compose() else { return };
    let text = file::read("deploy/prometheus.yml");
    let asked: BTreeSet<&str> = text.split('"').filter_map(|part| part.strip_suffix(":8080")).collect();
    let listening: BTreeSet<&str> = file::containers(&compose).into_keys().filter(|name| *name != "traffic").collect();
    assert_eq!(asked, listening);
}

#[test]
fn the_dashboard_asks_for_metrics_that_exist() {
    let dashboard: Value = serde_json::from_str(&file::read("deploy/grafana/dashboards/twofold.json")).unwrap();
    let product: String = product_sources().into_values().collect();
    let panels = dashboard["panels"].as_array().unwrap();
    let expressions = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let text: String = expressions.map(|target| format!("{} ", target["expr"].as_str().unwrap())).collect();
    let words = text.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'));
    let asked: BTreeSet<&str> = words.filter(|word| word.starts_with("twofold_")).collect();
    let unknown: Vec<&&str> = asked.iter().filter(|name| !product.contains(&format!("\"{name}\""))).collect();
    assert!(asked.len() > 10 && unknown.is_empty(), "no such metrics: {unknown:?}");
}
