//! Seeds of randomised tests: printed when a case fails, taken back from `TWOFOLD_SEED`. `TWOFOLD_SEED_TIMES` asks for
//! so many times as many (`make fuzz`), from `TWOFOLD_SEED_FIRST` on.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use rand::SeedableRng;
use rand::rngs::StdRng;

/// Runs `case` for the seeds of [`seeds`]; says how to repeat the one that fails.
pub fn for_each_seed(count: u64, case: impl Fn(StdRng)) {
    for seed in seeds(count) {
        let outcome = catch_unwind(AssertUnwindSafe(|| case(StdRng::seed_from_u64(seed))));
        if let Err(panic) = outcome {
            eprintln!("failed with seed {seed}: repeat with TWOFOLD_SEED={seed}");
            resume_unwind(panic);
        }
    }
}

/// The seeds `0..count`, or those that the environment asks for.
pub fn seeds(count: u64) -> Vec<u64> {
    if let Some(seed) = number("TWOFOLD_SEED") {
        return vec![seed];
    }
    let first = number("TWOFOLD_SEED_FIRST").unwrap_or(0);
    (first..first + count * number("TWOFOLD_SEED_TIMES").unwrap_or(1)).collect()
}

/// The seed in `TWOFOLD_SEED`, else 1: for a test that is too long for many. Says how to repeat `what`.
pub fn one_seed(what: &str) -> u64 {
    let seed = number("TWOFOLD_SEED").unwrap_or(1);
    eprintln!("{what}: repeat with TWOFOLD_SEED={seed}");
    seed
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}
