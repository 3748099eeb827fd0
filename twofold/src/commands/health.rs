//! `twofold health`: whether the process with these settings answers on its port of this machine. It is the health
//! check of the image, where no other client is.
//!
//! Guarantee: it shows no key, and asks `/healthz`, which says nothing but that the process works.
//! Why no certificate is checked: it names the machine as others know it, and this asks by the loopback address. A port
//! that wants to see a certificate of its client before it answers is one that works.
//! Not here: whether roles can do their work (`/readyz`).

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use super::read_config;
use crate::arguments::SettingsArguments;
use crate::console::say;

/// Shorter than what those who run health checks wait.
const TIMEOUT: Duration = Duration::from_secs(2);

/// What a client without a certificate is told that should have one.
const WANTS_CERTIFICATE: [&str; 2] = ["CertificateRequired", "HandshakeFailure"];

/// Runs the command.
///
/// # Errors
/// Where nothing answers, or not with success.
pub async fn health(settings: &SettingsArguments) -> Result<()> {
    let address = reached(read_config(settings, "")?.system.listen);
    let client = reqwest::Client::builder().timeout(TIMEOUT).danger_accept_invalid_certs(true).no_proxy();
    let client = client.build().context("cannot make an HTTP client")?;
    let mut refusals = Vec::new();
    for scheme in ["http", "https"] {
        let answer = client.get(format!("{scheme}://{address}/healthz")).send().await;
        match answer.and_then(reqwest::Response::error_for_status) {
            Ok(_) => {
                say(&format!("alive at {scheme}://{address}\n"));
                return Ok(());
            }
            Err(error) if wants_certificate(&error) => {
                say(&format!("alive at {scheme}://{address}, which wants a certificate of its clients\n"));
                return Ok(());
            }
            Err(error) => refusals.push(format!("{:#}", anyhow!(error))),
        }
    }
    let told = format!("nothing answers at {address}: does a role run there with the same settings (system.listen)?");
    Err(anyhow!(refusals.join("; ")).context(told))
}

/// Where a listener is reached from its own machine.
fn reached(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

fn wants_certificate(error: &(dyn Error + 'static)) -> bool {
    let causes = std::iter::successors(Some(error), |cause| (**cause).source());
    causes.map(ToString::to_string).any(|told| WANTS_CERTIFICATE.iter().any(|sign| told.contains(sign)))
}
