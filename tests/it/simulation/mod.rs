//! The project's real code on one thread, under virtual time and a seeded scheduler: archivers, speed workers, batch
//! schedulers and gateways over a log, an object store and a realtime store that delay, fail before and after they did
//! what was asked, go back to older copies, are wiped, lose what was not archived, put another topic under the name,
//! and kill whoever calls them. Each role has a clock of its own, in some worlds minutes off. Some worlds are in kappa
//! mode.
//!
//! Every answer is compared with the fold of the log that its envelope claims, over what is left of it; holes are
//! named; heads never go back; afterwards all events reach batch, or, where another topic took the name, all readers
//! stop. In worlds of their own (`changing.rs`) operators change the definitions of whole processes.
//! `TWOFOLD_SIM_SEEDS` says how many seeds run (without those below `TWOFOLD_SIM_FIRST`), `TWOFOLD_SIM_SEED` runs one
//! (with `TWOFOLD_SIM_TRACE` every call is printed). A seed that fails is shrunk and printed.

mod acts;
mod bugs;
pub mod chance;
mod changing;
mod clocks;
mod compaction;
mod directed;
mod family;
mod folding;
mod former;
mod kappa;
pub mod log;
pub mod objects;
mod operators;
pub mod plan;
mod readers;
pub mod realtime;
mod receipts;
mod run;
mod traffic;
mod world;

use plan::Plan;

/// Six minutes of two cores; `make sim` runs more.
const SEEDS: u64 = 1_000;
/// One world of so many is one in which definitions change, in a sweep of its own.
const SEEDS_FOR_A_CHANGE: u64 = 15;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|number| number.parse().expect("a number"))
}

#[test]
fn every_answer_is_right_for_the_head_it_claims() {
    let seeds = match number("TWOFOLD_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => number("TWOFOLD_SIM_FIRST").unwrap_or(0)..number("TWOFOLD_SIM_SEEDS").unwrap_or(SEEDS),
    };
    let began = std::time::Instant::now();
    let wide = seeds.end.saturating_sub(seeds.start.max(plan::WIDE_FROM));
    let (found, totals) = run::sweep(seeds, None);
    eprintln!("simulation: {totals:?} in {:?}", began.elapsed());
    if let Some((plan, violation)) = found {
        let seed = plan.seed;
        eprintln!("seed {seed}: {violation:?}\n{plan:?}\nrepeat with TWOFOLD_SIM_SEED={seed}");
        let (plan, violation) = run::shrink(plan, violation, 200);
        panic!("seed {seed}, shrunk to {plan:#?}\n{}: {}", violation.kind, violation.text);
    }
    // What is drawn for three of ten, and for one of four, is in every hundred.
    assert!(wide < 100 || (totals.folded > 0 && totals.imported > 0), "{totals:?}");
}

#[test]
fn every_answer_is_right_by_the_definition_that_it_names() {
    let of = |seeds: u64| seeds.div_ceil(SEEDS_FOR_A_CHANGE);
    let seeds = match number("TWOFOLD_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => of(number("TWOFOLD_SIM_FIRST").unwrap_or(0))..of(number("TWOFOLD_SIM_SEEDS").unwrap_or(SEEDS)),
    };
    let began = std::time::Instant::now();
    let tally = operators::sweep(seeds);
    eprintln!("simulation of changes: {tally:?} in {:?}", began.elapsed());
    operators::check_tally(&tally);
}

#[test]
fn a_seed_repeats_its_history() {
    for seed in 0..8 {
        let plan = Plan::draw(seed, None);
        assert_eq!(run::run(&plan).trace, run::run(&plan).trace, "seed {seed} went two ways");
    }
}
