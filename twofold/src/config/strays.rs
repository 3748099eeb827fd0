//! Environment variables that begin as ours do and set nothing: told, never refused.
//!
//! Guarantee: pure. A name with a double underscore is not judged here: it is a setting, or refused as an unknown one.
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
        let Some(rest) = name.strip_prefix(ENVIRONMENT_PREFIX) else { continue };
        if name.starts_with(OF_SERVICES) || name.contains("__") {
            continue;
        }
        // Compared without the prefix: two names that share half of their letters would be near by that alone.
        match did_you_mean(rest, &known) {
            Some(hint) => {
                let hint = hint.replacen('`', &format!("`{ENVIRONMENT_PREFIX}"), 1);
                told.push(format!("environment variable {name} sets nothing; {hint}"));
            }
            None => others.push(name.as_str()),
        }
    }
    if !others.is_empty() {
        let form = "a setting is `TWOFOLD_<SECTION>__<KEY>`, and config/default.toml lists all";
        told.push(format!("environment variables that set nothing: {}; {form}", others.join(", ")));
    }
    told
}
