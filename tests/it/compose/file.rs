//! `docker-compose.yml` and `Dockerfile` as they stand in the repository, read for what they say about our containers.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

pub fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The compose file with its anchors and merges resolved. `None` without Python's YAML: the test says that it skips; in
/// CI that is a failure.
pub fn compose() -> Option<Value> {
    let script = "import json, sys, yaml; json.dump(yaml.safe_load(sys.stdin), sys.stdout)";
    let file = fs::File::open(root().join("docker-compose.yml")).unwrap();
    let output = Command::new("python3").args(["-c", script]).stdin(file).stderr(Stdio::piped()).output();
    if let Some(output) = output.ok().filter(|output| output.status.success()) {
        return Some(serde_json::from_slice(&output.stdout).unwrap());
    }
    assert!(std::env::var_os("CI").is_none(), "docker-compose.yml cannot be read: `make test` installs python3-yaml");
    eprintln!("skipped: docker-compose.yml cannot be read without Python's yaml; `make test` installs it");
    None
}

/// The containers that run our image, by name, but for [`machines`].
pub fn containers(compose: &Value) -> BTreeMap<&str, &Value> {
    ours(compose).filter(|(_, service)| !is_machine(service)).collect()
}

/// The containers that compute large groups together: those of a profile of their own, which has no HTTP.
pub fn machines(compose: &Value) -> BTreeMap<&str, &Value> {
    ours(compose).filter(|(_, service)| is_machine(service)).collect()
}

fn ours(compose: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let services = compose["services"].as_object().unwrap().iter();
    services.filter(|(_, service)| service["image"] == "twofold").map(|(name, service)| (name.as_str(), service))
}

fn is_machine(service: &Value) -> bool {
    service["profiles"][0] == "ballista"
}

/// The command of a container.
pub fn command(container: &Value) -> Vec<String> {
    let words = container["command"].as_array().unwrap();
    words.iter().map(|word| word.as_str().unwrap().to_owned()).collect()
}

/// What a container finds in its environment: the image's, and the compose file's over it.
pub fn environment(container: &Value) -> BTreeMap<String, String> {
    let mut found = image_environment();
    let own = container.get("environment").and_then(Value::as_object).into_iter().flatten();
    found.extend(own.map(|(name, value)| (name.clone(), in_full(value.as_str().unwrap_or_else(|| panic!("{name}"))))));
    found
}

/// A value as `docker compose` has it where nobody set the variable that it names.
fn in_full(value: &str) -> String {
    let default = value.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')?.split_once(":-"));
    default.map_or(value, |(_, default)| default).to_owned()
}

/// The `ENV` of the image that runs.
fn image_environment() -> BTreeMap<String, String> {
    let dockerfile = read("Dockerfile").replace("\\\n", " ");
    let last_stage = dockerfile.rsplit("\nFROM ").next().unwrap();
    let lines = last_stage.lines().filter_map(|line| line.strip_prefix("ENV "));
    let pairs = lines.flat_map(str::split_whitespace).map(|pair| pair.split_once('=').unwrap());
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// The arguments of our program in the image's health check.
pub fn health_command() -> Vec<String> {
    let dockerfile = read("Dockerfile");
    let check = dockerfile.split_once("\nHEALTHCHECK ").expect("the image has a health check").1;
    let (_, words) = check.lines().next().unwrap().split_once(" CMD ").expect("it is a command");
    let words: Vec<String> = serde_json::from_str(words).expect("without a shell, which the check does not need");
    let (program, arguments) = words.split_first().unwrap();
    assert_eq!(program, "twofold");
    arguments.to_vec()
}
