//! How far a version is to be folded, and which buckets that changes.
//!
//! Guarantee: pure. What is folded stays so, whatever the age is set to later; only whole days and months are folded
//! that ended at least the age ago. Time decides what an answer costs here, never what it says.

use std::time::Duration;

use positions::TimestampMicros;
use serving_layer::{BucketRanges, Folded};
use views::{Bucket, bucket_of};

use crate::grains::Grains;

/// A folding that is due.
pub(super) struct Due {
    /// How far the version is folded then.
    pub(super) folded: Folded,
    /// Its buckets then.
    pub(super) grains: Grains,
    /// Where they are not the present ones: whole buckets of both.
    pub(super) stretches: BucketRanges,
}

/// How far folding goes of all that ended at least `age` before `now`: whole months, and the whole days behind them.
pub fn folded_by(now: TimestampMicros, age: Duration) -> Folded {
    let before = now.minus(age);
    Folded { months_until: Some(bucket_of(Bucket::Month, before)), days_until: Some(bucket_of(Bucket::Day, before)) }
}

/// What is due of a view with buckets of `own`, whose version is folded as far as `present`; `None`: nothing.
pub(super) fn choose(own: Bucket, present: Folded, wanted: Folded) -> Option<Due> {
    let folded = present.or_further(wanted);
    let grains = Grains::new(own, folded);
    let stretches = Grains::new(own, present).that_differ(&grains);
    (!stretches.is_empty()).then_some(Due { folded, grains, stretches })
}
