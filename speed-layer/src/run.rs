//! The loop of a speed worker: the only place of this crate that waits.

use tokio_util::sync::CancellationToken;

use crate::{SpeedComponents, SpeedError, SpeedSettings};

/// Keeps the realtime views of one source until `shutdown`.
///
/// # Errors
/// Only what an operator must mend: another topic under the same name, an unusable log or store, a view that cannot be
/// planned. The process may go on with its other sources.
pub async fn run(
    components: SpeedComponents,
    settings: SpeedSettings,
    shutdown: CancellationToken,
) -> Result<(), SpeedError> {
    let _ = (components, settings, shutdown);
    todo!()
}
