//! What of a former definition still tiles: as far as runs hold it, and no further.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use positions::{
    Counters, DefinitionHash, DefinitionNumber, Fingerprint, Incarnation, Index, IndexStamp, Offset, Position, Run,
    RunId, RunView, TimestampMicros, tile, tile_held,
};

const FORMER: DefinitionHash = DefinitionHash(1);
const PRESENT: DefinitionHash = DefinitionHash(2);

fn at(offset: i64) -> Position {
    let fingerprint = Fingerprint(offset.unsigned_abs().into());
    Position { offset: Offset(offset), fingerprint, ..Position::start(Incarnation(0)) }
}

/// Runs of ten offsets each; what each of them holds.
fn index(first: i64, held: &[&[DefinitionHash]]) -> Index {
    let mut index = Index::new(IndexStamp(0), DefinitionNumber(1), at(first), TimestampMicros(0));
    for (number, views) in (0..).zip(held) {
        let from = index.head;
        let run = Run {
            id: RunId(from.fingerprint.0 + 1),
            from,
            to: at(first + 10 * (number + 1)),
            views: views.iter().map(|view| RunView { view: *view, rows: 1 }).collect(),
            counters: Counters::default(),
            starts_at_border: false,
        };
        index = index.append(IndexStamp(1), DefinitionNumber(1), run, TimestampMicros(0)).unwrap();
    }
    index
}

fn reached(index: &Index, cut: i64) -> (i64, usize) {
    let tiling = tile_held(Some(index), FORMER, at(cut));
    (tiling.head.offset.0, tiling.runs.len())
}

#[test]
fn runs_that_hold_a_former_definition_answer_for_it_until_the_first_that_does_not() {
    let index = index(20, &[&[FORMER], &[FORMER, PRESENT], &[PRESENT], &[FORMER, PRESENT]]);
    assert_eq!(reached(&index, 20), (40, 2), "what lies behind a gap is not on top of it");
    assert_eq!(reached(&index, 30), (40, 1));
    assert_eq!(reached(&index, 40), (40, 0), "batch alone, up to its cut");
    assert_eq!(reached(&index, 50), (60, 1));
    assert_eq!(reached(&index, 35), (35, 0), "a cut inside a run");
    assert_eq!(reached(&index, 10), (10, 0), "a cut below all runs");
    assert_eq!(reached(&index, 70), (70, 0), "a cut above the head");
    assert_eq!(tile_held(None, FORMER, at(5)).head, at(5));
    let other = Position { fingerprint: Fingerprint(99), ..at(20) };
    assert_eq!(tile_held(Some(&index), FORMER, other).head, other, "runs of another log");
}

#[test]
fn where_all_runs_hold_a_definition_both_rules_say_the_same() {
    let index = index(0, &[&[FORMER], &[FORMER], &[FORMER]]);
    for cut in [0, 10, 20, 30] {
        assert_eq!(tile(Some(&index), FORMER, at(cut)).unwrap(), tile_held(Some(&index), FORMER, at(cut)));
    }
}
