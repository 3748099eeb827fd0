//! The one section whose keys are free: they are properties of the Kafka client.

/// The section.
pub(super) const PASS_THROUGH: &str = "log.properties";

/// The property that a key stands for, where it does.
pub(super) fn property_of(key: &str) -> Option<&str> {
    key.strip_prefix(PASS_THROUGH)?.strip_prefix('.')
}
