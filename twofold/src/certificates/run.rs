//! Looks at the files of the port's TLS again and again.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::Certificates;
use crate::health::Health;
use crate::stage::RoleError;

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(2);
/// So many looks in a row must find files that cannot be used: certificate and key are never replaced at one moment.
const PATIENCE: u32 = 2;

/// Follows the files until `stop`.
///
/// # Errors
/// None: files that cannot be used are told of, and looked at again.
pub async fn follow_certificates(
    mut certificates: Certificates,
    health: Arc<Health>,
    stop: CancellationToken,
) -> Result<(), RoleError> {
    let (mut failures, mut told) = (0, certificates.warning());
    if let Some(problem) = &told {
        warn!("{problem}");
    }
    health.note_certificates(told.clone());
    while stop.run_until_cancelled(sleep(INTERVAL)).await.is_some() {
        let found = match certificates.look().await {
            Ok(is_new) => {
                if is_new {
                    info!("certificate, key or authorities of TLS have changed, new connections get them");
                }
                failures = 0;
                certificates.warning()
            }
            Err(problem) => {
                failures += 1;
                if failures < PATIENCE {
                    continue;
                }
                Some(format!("what was read before stays in force: {problem}"))
            }
        };
        if found != told {
            match &found {
                Some(problem) if failures > 0 => error!(problem = problem.as_str(), "new files of TLS cannot be used"),
                Some(problem) => warn!("{problem}"),
                None => info!("the files of TLS are good again"),
            }
            health.note_certificates(found.clone());
            told = found;
        }
    }
    Ok(())
}
