//! Names of the metrics of the serving layer.

/// Bytes that the realtime store in memory holds.
pub(crate) const MEMORY_STORE_USED_BYTES: &str = "twofold_serving_memory_store_used_bytes";
/// Bytes that it may hold.
pub(crate) const MEMORY_STORE_LIMIT_BYTES: &str = "twofold_serving_memory_store_limit_bytes";
