//! What merging the states of an aggregate guarantees.
//!
//! Not here: which aggregate gives which guarantee (`catalogue.rs`).

/// What merging states of an aggregate guarantees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AggregateClass {
    /// Merged equals direct, bit for bit; the state is bounded.
    Exact,
    /// Equal up to the rounding of floating-point sums in another order.
    Float,
    /// Within the published bound of a sketch: the relative error of a count (HLL; three standard deviations, 99.7 % of
    /// estimates), the error of a rank (KLL; 99 % of estimates), the relative error of a value (DDSketch; always), the
    /// error of a count as a share of all values (most frequent values; always).
    Sketch {
        /// The bound, for example 0.02.
        bound: f64,
    },
    /// Exact, but the state grows with the input; limited by `max_state_bytes` per group.
    Unbounded,
}

/// How the class follows from the call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ClassRule {
    /// The same for all arguments.
    Always(AggregateClass),
    /// [`AggregateClass::Float`] where the finished value is a floating-point number, otherwise exact.
    ByResult,
}

impl AggregateClass {
    /// Its name in answers.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Float => "float",
            Self::Sketch { .. } => "sketch",
            Self::Unbounded => "unbounded",
        }
    }

    /// The weaker of two guarantees: that of a measure made of both.
    pub fn weaker(self, other: Self) -> Self {
        use AggregateClass::*;
        match (self, other) {
            (Sketch { bound: one }, Sketch { bound: two }) => Sketch { bound: one.max(two) },
            (Sketch { bound }, _) | (_, Sketch { bound }) => Sketch { bound },
            (Float, _) | (_, Float) => Float,
            (Unbounded, _) | (_, Unbounded) => Unbounded,
            (Exact, Exact) => Exact,
        }
    }
}
