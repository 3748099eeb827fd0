//! What changes by itself, as arguments: time, randomness, the set of definitions. Libraries never read a clock or a
//! random source of their own, so that a run can be replayed from its seed.

use crate::{DefinitionHash, DefinitionNumber, TimestampMicros};

/// Where instants come from.
pub trait Clock: Send + Sync + 'static {
    /// The present instant.
    fn now(&self) -> TimestampMicros;
}

/// Where random ids come from.
pub trait IdSource: Send + Sync + 'static {
    /// 128 random bits.
    fn next_id(&self) -> u128;
}

/// Where the number of the set of definitions comes from: a set may follow another while whoever writes under the
/// number goes on, because nothing changed for it.
pub trait CurrentDefinitions: Send + Sync + 'static {
    /// The number of the present set.
    fn number(&self) -> DefinitionNumber;

    /// Whether answers still need the states of a former definition: until the definition that takes its place answers
    /// completely.
    fn needs(&self, _former: DefinitionHash) -> bool {
        true
    }
}

/// A set that no other follows.
impl CurrentDefinitions for DefinitionNumber {
    fn number(&self) -> DefinitionNumber {
        *self
    }
}
