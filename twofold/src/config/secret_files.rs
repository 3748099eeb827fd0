//! Which settings are secrets, and may be given as the path of a file that holds them: `KEY_file`, in the environment
//! `TWOFOLD_<SECTION>__<KEY>_FILE`.
//!
//! Guarantee: a file that is missing, empty or not to be read is refused, by its path; no message holds its content. It
//! is read once, at the start.
//! Not here: what becomes of a setting that is given in both ways (`layers.rs`).
//! Why a list and not every setting: a path in the place of a value is only of use where the value must not be seen.

use super::pass_through::property_of;

/// Secrets, and the names that are handed out together with them.
const SECRETS: [&str; 8] = [
    "lake.access_key_id",
    "lake.secret_access_key",
    "realtime.store",
    "schema_registry.user",
    "schema_registry.password",
    "notify.webhook",
    "notify.webhook_secret",
    "notify.openlineage_key",
];

/// The same among the properties of the Kafka client, which is built without OIDC, and refuses the secrets of that.
const SECRET_PROPERTIES: [&str; 6] = [
    "sasl.username",
    "sasl.password",
    "sasl.oauthbearer.config",
    "ssl.key.password",
    "ssl.key.pem",
    "ssl.keystore.password",
];

/// Whether the value of a key must not be shown.
pub(super) fn is_secret(key: &str) -> bool {
    SECRETS.contains(&key) || property_of(key).is_some_and(|property| SECRET_PROPERTIES.contains(&property))
}

/// The key of the secret whose file `key` names, if it does.
pub(super) fn secret_in_file(key: &str) -> Option<String> {
    // In the environment an underscore stands for a dot of a property.
    let is_property = property_of(key).is_some();
    let secret = key.strip_suffix("_file").or_else(|| key.strip_suffix(".file").filter(|_| is_property))?;
    is_secret(secret).then(|| secret.to_owned())
}

/// The keys of files that have a fixed name.
pub(super) fn secret_variables() -> Vec<String> {
    SECRETS.iter().map(|key| format!("{key}_file")).collect()
}

/// Reads the secret that a file holds, without the end of its last line.
///
/// # Errors
/// A sentence that says what is wrong with the file.
pub(super) fn read_secret(path: &str) -> Result<String, String> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        format!("cannot read {path}: {error}; name a text file with the secret that this process may read")
    })?;
    let secret = text.strip_suffix('\n').unwrap_or(&text);
    match secret.strip_suffix('\r').unwrap_or(secret) {
        "" => Err(format!("{path} is empty: write the secret into it, or leave the setting out")),
        secret => Ok(secret.to_owned()),
    }
}
