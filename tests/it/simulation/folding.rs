//! Folding in the simulated worlds: batch schedulers fold after their rounds, while recomputes, kills and late events
//! go on. These worlds begin at a midnight: a day more, or a month, comes to be old enough in the middle of them.

use std::time::Duration;

use positions::TimestampMicros;
use serving_layer::{BatchViewStore, Folded};

use super::plan::{Act, FOLDING_START, Plan, Rates};
use super::run::check;
use super::world::World;

const DAY: Duration = Duration::from_secs(24 * 3600);

impl World {
    /// How far `by_page` is folded by each of its definitions that has a version; read past the dice.
    pub async fn folded(&self) -> Vec<Folded> {
        let mut folded = Vec::new();
        for pipeline in &self.pipelines {
            let view = pipeline.view("by_page").expect("both have it");
            // Where a mistake is planted, the table may be broken.
            let newest = BatchViewStore::new(&self.calm_lake(), view.clone()).newest().await.ok().flatten();
            folded.extend(newest.map(|version| version.facts.folded));
        }
        folded
    }
}

/// Before when events are in buckets of a day, or coarser ones.
fn days_until(folded: &[Folded]) -> Vec<Option<TimestampMicros>> {
    folded.iter().map(|folded| folded.days_until).collect()
}

#[test]
fn a_day_that_comes_to_be_old_enough_is_folded_and_late_events_of_it_count_once() {
    let acts = [(300, Act::Import(20)), (2_500, Act::Send(11)), (3_500, Act::Send(11)), (3_000, Act::Import(5))];
    for seed in 80..84 {
        let plan = Plan::by_hand(seed, Rates { delay: 40, fail: 10, kill: 10 }, &[acts, acts, acts].concat());
        let outcome = check(&Plan { fold_after: Some(Duration::from_secs(12)), ..plan });
        assert_eq!(days_until(&outcome.folded), [Some(FOLDING_START)], "seed {seed}");
    }
}

/// Imported days lie in November: they become days with the first round that folds, and the month with the end of it.
#[test]
fn days_become_months_beside_recomputes_and_kills() {
    let acts = [(300, Act::Import(30)), (2_500, Act::Send(11)), (3_500, Act::Send(9)), (2_000, Act::Kill(4))];
    let december = TimestampMicros(FOLDING_START.0 - positions::micros(DAY));
    for seed in 84..88 {
        let plan = Plan::by_hand(seed, Rates { delay: 40, fail: 10, kill: 10 }, &[acts, acts, acts].concat());
        let outcome = check(&Plan { fold_after: Some(DAY + Duration::from_secs(15)), ..plan });
        let expected = Folded { months_until: Some(december), days_until: Some(december) };
        assert_eq!(outcome.folded, [expected], "seed {seed}");
    }
}

#[test]
fn former_definitions_are_folded_too_while_others_are_built() {
    let before = [(300, Act::Import(20)), (1_000, Act::Send(11)), (5_000, Act::Upgrade)];
    let then = [(3_000, Act::Send(11)), (3_000, Act::Send(11)), (3_000, Act::Send(11)), (3_000, Act::Kill(5))];
    for seed in 88..91 {
        let acts = [&before[..], &then[..], &then[..], &then[..], &then[..]].concat();
        let plan = Plan::by_hand(seed, Rates { delay: 20, fail: 5, kill: 5 }, &acts);
        let outcome = check(&Plan { keeps_former: true, fold_after: Some(Duration::from_secs(30)), ..plan });
        assert_eq!(days_until(&outcome.folded), [Some(FOLDING_START); 2], "seed {seed}");
    }
}
