//! Percentile sketches on one core: values taken in, and states merged. Ours beside the KLL of Apache DataSketches,
//! whose coin is drawn at random; the DDSketch beside ours.

use std::hint::black_box;

use datasketches::kll::{KllFloat, KllSketch as PeerSketch};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use views::{DdSketch, KllDouble, KllSketch};

use crate::report::{Report, rate};

const VALUES: usize = 5_000_000;
/// Sketches that are merged into one, of so many values each.
const STATES: usize = 2_000;
const VALUES_PER_STATE: usize = 1_000;
/// As `views` makes them.
const K: u16 = 200;
/// The best of so many runs counts: whoever else uses the machine can only make one slower.
const RUNS: usize = 3;

/// Values per second, and states per second from bytes to one merged sketch.
pub fn measure(report: &mut Report) {
    let random = &mut StdRng::seed_from_u64(1);
    let values: Vec<f64> = (0..VALUES).map(|_| random.random::<f64>().powi(-2)).collect();
    let peer = best(VALUES, || drop(black_box(peer_of(&values))));
    let kll = best(VALUES, || drop(black_box(kll_of(&values))));
    let dd = best(VALUES, || drop(black_box(dd_of(&values))));
    report.add("percentile sketch, values taken in, one core", kll, "values/s", ("Apache DataSketches' KLL", peer));
    report.add("relative-error sketch, values taken in, one core", dd, "values/s", ("our KLL", kll));

    let parts = || values.chunks(VALUES_PER_STATE).take(STATES);
    let states: Vec<Vec<u8>> = parts().map(|part| peer_of(part).serialize()).collect();
    let peer = best(STATES, || {
        let mut all = PeerSketch::<KllFloat<f64>>::new(K).unwrap();
        for state in &states {
            all.merge(&PeerSketch::deserialize(state).unwrap()).unwrap();
        }
        black_box(all);
    });
    let states: Vec<Vec<u8>> = parts().map(|part| kll_of(part).to_bytes()).collect();
    let kll = best(STATES, || {
        let mut all = KllSketch::<KllDouble>::default();
        for state in &states {
            all.merge(KllSketch::from_bytes(state).unwrap()).unwrap();
        }
        black_box(all);
    });
    let states: Vec<Vec<u8>> = parts().map(|part| dd_of(part).to_bytes()).collect();
    let dd = best(STATES, || {
        let mut all = DdSketch::default();
        for state in &states {
            all.merge(&DdSketch::from_bytes(state).unwrap()).unwrap();
        }
        black_box(all);
    });
    report.add("percentile sketch, states of 1,000 values merged", kll, "states/s", ("Apache DataSketches' KLL", peer));
    report.add("relative-error sketch, states of 1,000 values merged", dd, "states/s", ("our KLL", kll));
}

fn best(count: usize, work: impl Fn()) -> f64 {
    (0..RUNS).map(|_| rate(count, &work)).fold(0.0, f64::max)
}

fn peer_of(values: &[f64]) -> PeerSketch<KllFloat<f64>> {
    let mut sketch = PeerSketch::new(K).unwrap();
    values.iter().for_each(|value| sketch.update(KllFloat::<f64>::new(*value).unwrap()));
    sketch
}

fn kll_of(values: &[f64]) -> KllSketch<KllDouble> {
    let mut sketch = KllSketch::default();
    values.iter().for_each(|value| sketch.update(KllDouble::new(*value).unwrap()).unwrap());
    sketch
}

fn dd_of(values: &[f64]) -> DdSketch {
    let mut sketch = DdSketch::default();
    values.iter().for_each(|value| sketch.update(*value).unwrap());
    sketch
}
