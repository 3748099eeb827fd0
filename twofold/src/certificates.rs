//! The files that the port speaks TLS with: read at the start, and again whenever they change.
//!
//! Guarantee: a start with files that cannot be used is refused by its setting. Later, files that cannot be used change
//! nothing: what was read before stays in force. No word tells what is in a key.
//! Not here: how often they are looked at (`certificates/run.rs`), what TLS is (crate `edge`).
//! Why the contents are compared and not the times of change: files of a mounted secret change by a link that is set to
//! another folder, and a copy may keep the time of what it was copied from.

pub mod run;

use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use edge::{Tls, TlsError, TlsMaterial, Validity};
use positions::{Clock, TimestampMicros};

use crate::config::{ConfigError, ConfigProblem, SystemSettings, TlsSettings};

/// A certificate that ends within this span is told of: 14 days.
const SOON_MICROS: i64 = 14 * 24 * 60 * 60 * 1_000_000;

/// The files, and what was read from them last.
pub struct Certificates {
    settings: TlsSettings,
    clock: Arc<dyn Clock>,
    tls: Tls,
    read: TlsMaterial,
}

impl Certificates {
    /// Reads the files, where the port is to speak TLS.
    ///
    /// # Errors
    /// The setting whose file cannot be used, and why.
    pub async fn open(system: &SystemSettings, clock: Arc<dyn Clock>) -> Result<Option<Self>, ConfigError> {
        let Some(settings) = &system.tls else { return Ok(None) };
        let opened = Self::open_files(settings.clone(), clock).await;
        opened.map(Some).map_err(|problem| ConfigError(vec![problem]))
    }

    async fn open_files(settings: TlsSettings, clock: Arc<dyn Clock>) -> Result<Self, ConfigProblem> {
        let read = read_material(&settings).await?;
        let tls = Tls::new(&read, clock.clone()).map_err(|error| refusal(&settings, &error))?;
        Ok(Self { settings, clock, tls, read })
    }

    /// What the port speaks; follows the files.
    pub fn tls(&self) -> Tls {
        self.tls.clone()
    }

    /// Reads the files again; whether they are others than before, and in force now.
    ///
    /// # Errors
    /// The setting whose file cannot be used; then what was read before stays in force.
    pub async fn look(&mut self) -> Result<bool, ConfigProblem> {
        let read = read_material(&self.settings).await?;
        if read == self.read {
            return Ok(false);
        }
        self.tls.replace(&read).map_err(|error| refusal(&self.settings, &error))?;
        self.read = read;
        Ok(true)
    }

    /// What an operator should know of the span of the certificate that is in force.
    pub fn warning(&self) -> Option<String> {
        let now = self.clock.now();
        let soon = TimestampMicros(now.0.saturating_add(SOON_MICROS));
        let told = match (self.tls.validity(now), self.tls.validity(soon)) {
            (Validity::NotYet(from), _) => format!("counts from {} on: until then clients refuse it", written(from)),
            (Validity::Over(since), _) => format!("has expired at {}: clients refuse it", written(since)),
            (Validity::Good, Validity::Over(at)) => format!("expires at {}", written(at)),
            (Validity::Good, _) => return None,
        };
        Some(format!("the certificate of `system.tls_certificate` ({}) {told}", self.settings.certificate.display()))
    }
}

async fn read_material(settings: &TlsSettings) -> Result<TlsMaterial, ConfigProblem> {
    let client_ca = match &settings.client_ca {
        Some(path) => Some(read_file("system.tls_client_ca", path).await?),
        None => None,
    };
    Ok(TlsMaterial {
        certificate: read_file("system.tls_certificate", &settings.certificate).await?,
        key: read_file("system.tls_key", &settings.key).await?,
        client_ca,
        is_client_required: settings.is_client_required,
    })
}

async fn read_file(key: &str, path: &Path) -> Result<Vec<u8>, ConfigProblem> {
    let way_out = "name a PEM file that this process may read";
    tokio::fs::read(path).await.map_err(|error| problem(key, path, format!("cannot be read: {error}; {way_out}")))
}

/// What a setting must name in the place of what it names.
fn refusal(settings: &TlsSettings, error: &TlsError) -> ConfigProblem {
    let TlsSettings { certificate, key, client_ca, .. } = settings;
    match error {
        TlsError::Certificate(_) => {
            let way_out = "name a PEM file with the certificate of this port, and behind it those up to its authority";
            problem("system.tls_certificate", certificate, format!("{error}; {way_out}"))
        }
        TlsError::Key(_) => {
            let way_out = "name a PEM file with the key of `system.tls_certificate`";
            problem("system.tls_key", key, format!("{error}; {way_out}"))
        }
        TlsError::Mismatch => {
            let other = format!("`system.tls_certificate` ({})", certificate.display());
            let message = format!("is not the key of the certificate in {other}: name two that belong together");
            problem("system.tls_key", key, message)
        }
        TlsError::ClientCa(_) => {
            let way_out = "name a PEM file with certificates of authorities";
            let path = client_ca.as_deref().unwrap_or(Path::new(""));
            problem("system.tls_client_ca", path, format!("{error}; {way_out}"))
        }
    }
}

fn problem(key: &str, path: &Path, message: String) -> ConfigProblem {
    ConfigProblem { key: key.to_owned(), origin: path.display().to_string(), message }
}

fn written(at: TimestampMicros) -> String {
    let at = DateTime::<Utc>::from_timestamp_micros(at.0).unwrap_or(DateTime::<Utc>::MAX_UTC);
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}
