//! Seeds of randomised tests: printed when a case fails, taken back from `TWOFOLD_SEED`.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use rand::SeedableRng;
use rand::rngs::StdRng;

/// Runs `case` for `count` seeds, or for the one in `TWOFOLD_SEED`; says how to repeat the seed that fails.
pub fn for_each_seed(count: u64, case: impl Fn(StdRng)) {
    for seed in seeds(count) {
        let outcome = catch_unwind(AssertUnwindSafe(|| case(StdRng::seed_from_u64(seed))));
        if let Err(panic) = outcome {
            eprintln!("failed with seed {seed}: repeat with TWOFOLD_SEED={seed}");
            resume_unwind(panic);
        }
    }
}

/// The seeds `0..count`, or the one in `TWOFOLD_SEED`.
pub fn seeds(count: u64) -> Vec<u64> {
    asked_seed().map_or_else(|| (0..count).collect(), |seed| vec![seed])
}

/// The seed in `TWOFOLD_SEED`, else 1: for a test that is too long for many. Says how to repeat `what`.
pub fn one_seed(what: &str) -> u64 {
    let seed = asked_seed().unwrap_or(1);
    eprintln!("{what}: repeat with TWOFOLD_SEED={seed}");
    seed
}

fn asked_seed() -> Option<u64> {
    let seed = std::env::var("TWOFOLD_SEED").ok()?;
    Some(seed.parse().expect("TWOFOLD_SEED is a number"))
}
