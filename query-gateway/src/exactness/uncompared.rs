//! Why a publication is not compared: for good, or for now.

use crate::GatewayError;

/// Why there is no comparison.
pub(super) enum Uncompared {
    /// There never will be one.
    For(String),
    /// Something failed: try again.
    Failed(GatewayError),
}

impl<E: Into<GatewayError>> From<E> for Uncompared {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// In the place of a comparison that would need more memory than it may.
pub(super) fn too_large(limit_bytes: usize) -> String {
    format!("what was published needs more than {limit_bytes} bytes in memory (`gateway.exactness_memory`)")
}
