//! Environment variables that begin as ours do and set nothing: told, never refused.
//!
//! Guarantee: pure. A name in capitals with a double underscore is not judged here: it is a setting, or refused as an
//! unknown one.
//! Why not refused: others may name theirs so, as Kubernetes does for a service `twofold` (`TWOFOLD_PORT`).

use std::collections::BTreeSet;

use views::did_you_mean;

use super::layers::{ENVIRONMENT_PREFIX, MergedConfig};

/// What the services of `scripts/services.sh` are told by.
const OF_SERVICES: &str = "TWOFOLD_TEST_";

/// A sentence for each of the variables `present` that is near to one of ours, and one for all others. `command_line`
/// names those that stand for a flag.
pub fn stray_variables(present: &BTreeSet<String>, command_line: &BTreeSet<String>) -> Vec<String> {
    let settings = MergedConfig::defaults().variables();
    let known = settings.iter().chain(command_line).filter_map(|name| name.strip_prefix(ENVIRONMENT_PREFIX));
    let known: Vec<&str> = known.collect();
    let (mut told, mut others) = (Vec::new(), Vec::new());
    for name in present.difference(command_line) {
        let Some((prefix, rest)) = name.split_at_checked(ENVIRONMENT_PREFIX.len()) else { continue };
        let is_written_so = prefix == ENVIRONMENT_PREFIX;
        if !prefix.eq_ignore_ascii_case(ENVIRONMENT_PREFIX)
            || is_written_so && (name.starts_with(OF_SERVICES) || name.contains("__"))
        {
            continue;
        }
        // Compared without the prefix: two names that share half of their letters would be near by that alone.
        match meant(&rest.to_uppercase(), &known) {
            Some(hint) => {
                let hint = hint.replacen('`', &format!("`{ENVIRONMENT_PREFIX}"), 1);
                told.push(format!("environment variable {name} sets nothing; {hint}"));
            }
            None if is_written_so => others.push(name.as_str()),
            // In small letters it may be anybody's.
            None => {}
        }
    }
    if !others.is_empty() {
        let form = "a setting is `TWOFOLD_<SECTION>__<KEY>`, and config/default.toml lists all";
        told.push(format!("environment variables that set nothing: {}; {form}", others.join(", ")));
    }
    told
}

/// The setting whose key alone was written, or the name that is near.
fn meant(rest: &str, known: &[&str]) -> Option<String> {
    let is_of_key = |known: &&&str| known.split_once("__").is_some_and(|(_, key)| key == rest);
    let mut of_key = known.iter().filter(is_of_key);
    match (of_key.next(), of_key.next()) {
        (Some(only), None) => Some(format!("did you mean `{only}`?")),
        _ => did_you_mean(rest, known),
    }
}
