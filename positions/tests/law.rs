//! The pure decisions of the protocol, each against a naive definition of what it must do.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

// One file for both test binaries: this one must not need the crates that the other one tests.
#[path = "../../tests/it/support/seeds.rs"]
#[expect(dead_code, reason = "the other test binary uses all of it")]
mod seeds;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use positions::{
    Archived, Backoff, BorderRule, CopyWindow, Counters, Cut, DefinitionHash, DefinitionNumber, EventKey, Fingerprint,
    Hole, Incarnation, Index, IndexRefusal, IndexStamp, Life, LifeStart, MAX_RAISE, Offset, PartitionId, Position,
    PositionToken, RecordMark, Run, RunId, RunView, SourceName, Start, TilingGap, TimestampMicros, are_mergeable,
    choose_cut, choose_merge, choose_start, event_key, fingerprint, micros, split_at_borders, tile,
};
use rand::Rng;
use rand::rngs::StdRng;

use seeds::for_each_seed;

const VIEW: DefinitionHash = DefinitionHash(7);
const GAP: Duration = Duration::from_micros(20);
/// An instant that a clock may show.
const CLOCK: i64 = 1_700_000_000_000_000;

fn start() -> Position {
    Position::start(Incarnation(0))
}

/// A partition with offset gaps (control records), out-of-order timestamps and silences.
fn random_log(rng: &mut StdRng, records: usize) -> Vec<RecordMark> {
    let (mut offset, mut clock) = (0, CLOCK);
    (0..records)
        .map(|_| {
            offset += if rng.random_bool(0.1) { rng.random_range(1..12) } else { 0 };
            clock += if rng.random_bool(0.1) { rng.random_range(15..60) } else { rng.random_range(0..4) };
            let timestamp = TimestampMicros(clock - rng.random_range(0..8));
            let mark = RecordMark {
                offset: Offset(offset),
                timestamp,
                fingerprint: fingerprint(timestamp, &i64::to_le_bytes(offset)),
            };
            offset += 1;
            mark
        })
        .collect()
}

fn random_rule(rng: &mut StdRng) -> BorderRule {
    BorderRule { grid: rng.random_range(1..9), gap: GAP }
}

/// The grid multiples at or below a record or the end of the log behind one.
fn grid_borders(log: &[RecordMark], rule: &BorderRule) -> BTreeSet<Offset> {
    log.iter().flat_map(|mark| [mark.offset, mark.offset.next()]).map(|offset| rule.grid_floor(offset)).collect()
}

/// Splits a log batch by batch, as a worker does whose polls end anywhere.
fn split_in_batches(
    rng: &mut StdRng,
    log: &[RecordMark],
    rule: &BorderRule,
    cuts: &BTreeSet<Offset>,
) -> Vec<positions::Stretch> {
    let (mut at, mut rest, mut all) = (start(), log, Vec::new());
    while !rest.is_empty() {
        let (batch, after) = rest.split_at(rng.random_range(1..=rest.len()));
        let stretches = split_at_borders(at, batch, rule, cuts);
        at = stretches.last().unwrap().to;
        all.extend(stretches);
        rest = after;
    }
    all
}

#[test]
fn stretches_tile_the_log_and_never_cross_a_border() {
    for_each_seed(500, |mut rng| {
        let (log, rule) = (random_log(&mut rng, 60), random_rule(&mut rng));
        let cuts: BTreeSet<Offset> = (0..3).map(|_| Offset(rng.random_range(0..80))).collect();
        let stretches = split_in_batches(&mut rng, &log, &rule, &cuts);
        let mut at = start();
        for stretch in &stretches {
            assert_eq!(stretch.from, at, "stretches touch");
            assert!(stretch.to.offset > stretch.from.offset, "a stretch covers something");
            let inside = |offset: Offset| offset > stretch.from.offset && offset < stretch.to.offset;
            assert!(!cuts.iter().any(|cut| inside(*cut)), "no cut inside {stretch:?}");
            let crossed = grid_borders(&log, &rule).into_iter().find(|border| inside(*border));
            assert_eq!(crossed, None, "no grid border inside {stretch:?}");
            at = stretch.to;
        }
        let fold = log.iter().fold(start(), |at, mark| at.advance(mark.offset, mark.timestamp, mark.fingerprint));
        assert_eq!(at, fold, "the last position is the fold of the log");
        let mut before = TimestampMicros::MIN;
        for (index, mark) in log.iter().enumerate() {
            if rule.is_gap(before, mark.timestamp) {
                let previous = Offset(log[index - 1].offset.0 + 1);
                let is_inside = stretches.iter().any(|s| s.from.offset < previous && previous < s.to.offset);
                assert!(!is_inside, "no silence inside a stretch");
            }
            before = before.max(mark.timestamp);
        }
    });
}

#[test]
fn a_wrong_record_costs_a_day_and_a_silence_is_caught_up_with() {
    let hours = |hours: i64| TimestampMicros(CLOCK + hours * 3_600_000_000);
    let position_after = |timestamps: &[TimestampMicros]| {
        let marks = (0..).zip(timestamps);
        marks.fold(start(), |at, (offset, timestamp)| at.advance(Offset(offset), *timestamp, Fingerprint(1)))
    };
    let max = |timestamps: &[TimestampMicros]| position_after(timestamps).max_timestamp;
    assert_eq!(max(&[hours(0), hours(10_000), hours(1)]), hours(24), "a year ahead");
    assert_eq!(max(&[hours(0), hours(10_000), hours(1), hours(25)]), hours(25), "and a day later it is forgotten");
    assert_eq!(max(&[hours(0), hours(168)]), hours(24), "after a week of silence");
    assert_eq!(max(&[&[hours(0)][..], &[hours(168); 7]].concat()), hours(168), "seven records later");
    for absurd in [i64::MIN, -1, 0, 1_000, CLOCK / 1_000, i64::MAX, CLOCK * 1_000].map(TimestampMicros) {
        assert_eq!(max(&[absurd]), TimestampMicros::MIN, "{absurd:?} is no clock's");
        assert_eq!(max(&[absurd, hours(0), absurd, hours(1), absurd]), hours(1), "{absurd:?} is no clock's");
    }
    let behind = position_after(&[hours(0), hours(10_000), hours(1)]).capped.unwrap();
    assert_eq!((behind.offset, behind.max_timestamp), (Offset(1), hours(24)));
    assert_eq!(position_after(&[hours(0), hours(24), hours(1)]).capped, None, "a day is believed whole");
}

#[test]
fn the_running_maximum_never_falls_and_is_the_largest_timestamp_behind_the_last_cap() {
    for_each_seed(300, |mut rng| {
        let (mut at, mut clock) = (start(), CLOCK);
        let mut behind: Vec<(Offset, TimestampMicros)> = Vec::new();
        for offset in 0..100 {
            let longest = if rng.random_bool(0.1) { 300_000_000_000 } else { 1_000_000 };
            clock += rng.random_range(0..longest);
            let ahead = if rng.random_bool(0.1) { rng.random_range(0..90_000_000_000_000) } else { 0 };
            let timestamp = TimestampMicros(clock + ahead);
            let next = at.advance(Offset(offset), timestamp, Fingerprint(1));
            assert!(next.max_timestamp >= at.max_timestamp, "it never falls");
            let is_first = at.max_timestamp == TimestampMicros::MIN;
            assert!(is_first || next.max_timestamp.micros_since(at.max_timestamp) <= micros(MAX_RAISE));
            at = next;
            behind.push((Offset(offset), timestamp));
            let (floor, from) =
                at.capped.map_or((Offset(-1), TimestampMicros::MIN), |cap| (cap.offset, cap.max_timestamp));
            let largest = behind.iter().filter(|(offset, _)| *offset > floor).map(|(_, timestamp)| *timestamp).max();
            assert_eq!(at.max_timestamp, largest.unwrap_or(from).max(from));
        }
    });
}

#[test]
fn far_jumps_of_offsets_make_few_stretches_and_every_cut_tiles() {
    for_each_seed(200, |mut rng| {
        let (mut log, rule) = (random_log(&mut rng, 40), random_rule(&mut rng));
        let mut jump = 0;
        for mark in &mut log {
            jump += if rng.random_bool(0.2) { rng.random_range(0..1_000_000_000_000) } else { 0 };
            mark.offset = Offset(mark.offset.0 + jump);
        }
        let stretches = split_in_batches(&mut rng, &log, &rule, &BTreeSet::new());
        assert!(stretches.len() <= 2 * log.len(), "{} stretches of {} records", stretches.len(), log.len());
        let starts: BTreeSet<Offset> = stretches.iter().map(|stretch| stretch.from.offset).collect();
        let mut archived = Archived::start(Incarnation(0));
        for mark in &log {
            archived = archived.advance(mark, &rule);
            let is_end = archived.grid.offset == stretches.last().unwrap().to.offset;
            let cut = archived.grid.offset;
            assert!(is_end || starts.contains(&cut), "the archive may stand at {cut}, inside a stretch");
        }
    });
}

#[test]
fn borders_do_not_depend_on_how_the_log_was_polled() {
    for_each_seed(300, |mut rng| {
        let (log, rule) = (random_log(&mut rng, 60), random_rule(&mut rng));
        let cuts = BTreeSet::new();
        let borders = |stretches: &[positions::Stretch]| -> Vec<Position> {
            stretches.iter().filter(|s| s.starts_at_border).map(|s| s.from).collect()
        };
        let one = borders(&split_at_borders(start(), &log, &rule, &cuts));
        let other = borders(&split_in_batches(&mut rng, &log, &rule, &cuts));
        assert_eq!(one, other);
    });
}

#[test]
fn a_cut_lies_on_a_border_or_at_a_silent_end_and_never_moves_back() {
    for_each_seed(500, |mut rng| {
        let (log, rule) = (random_log(&mut rng, 60), random_rule(&mut rng));
        let archived_records = rng.random_range(0..=log.len());
        let archived = log[..archived_records]
            .iter()
            .fold(Archived::start(Incarnation(0)), |archived, mark| archived.advance(mark, &rule));
        let now = TimestampMicros(archived.end.max_timestamp.0.saturating_add(rng.random_range(0..40)));
        let cut = choose_cut(&archived, None, &rule, now);
        let is_silent = archived_records > 0 && now.micros_since(archived.end.max_timestamp) >= 20;
        if is_silent {
            assert_eq!(cut, archived.end);
        } else {
            assert_eq!(cut.offset.0 % rule.grid, 0, "a grid multiple");
            let below = log.iter().filter(|mark| mark.offset < cut.offset);
            let fold = below.fold(start(), |at, mark| at.advance(mark.offset, mark.timestamp, mark.fingerprint));
            assert_eq!(cut, fold.at_offset(cut.offset), "the position is that of the records below");
            let stretches = split_in_batches(&mut rng, &log, &rule, &BTreeSet::new());
            assert!(!stretches.iter().any(|s| s.from.offset < cut.offset && cut.offset < s.to.offset));
        }
        let later = Position { offset: Offset(cut.offset.0 + 1), ..cut };
        assert_eq!(choose_cut(&archived, Some(later), &rule, now), later, "a cut never moves back");
    });
}

#[test]
fn a_hole_is_counted_where_it_lies() {
    let hole = Hole { partition: PartitionId(0), from: Offset(3), to: Offset(8) };
    let lost = |from, to| hole.within(Offset(from), Offset(to)).map_or(0, Hole::lost);
    for (from, to, expected) in
        [(0, 10, 5), (3, 8, 5), (0, 4, 1), (5, 6, 1), (7, 20, 1), (0, 3, 0), (8, 9, 0), (6, 5, 0)]
    {
        assert_eq!(lost(from, to), expected, "[{from}, {to})");
    }
    let pieces: u64 = (0..10).map(|at| lost(at, at + 1)).sum();
    assert_eq!(pieces, hole.lost(), "runs that tile count each offset once");
}

#[test]
fn a_partition_whose_every_record_expired_is_cut_behind_its_hole() {
    let rule = BorderRule { grid: 4_096, gap: GAP };
    let behind = start().at_offset(Offset(5));
    let archived = Archived { end: behind, grid: start() };
    assert_eq!(
        choose_cut(&archived, Some(start()), &rule, TimestampMicros(0)),
        behind,
        "no later record is waited for"
    );
    let mark = RecordMark { offset: Offset(5), timestamp: TimestampMicros(CLOCK), fingerprint: Fingerprint(1) };
    let archived = archived.advance(&mark, &rule);
    assert_eq!(
        choose_cut(&archived, Some(start()), &rule, TimestampMicros(CLOCK)),
        start(),
        "a record is followed by others"
    );
}

fn run(id: u128, from: i64, to: i64, starts_at_border: bool) -> Run {
    Run {
        id: RunId(id),
        from: start().at_offset(Offset(from)),
        to: start().at_offset(Offset(to)),
        views: vec![RunView { view: VIEW, rows: 1 }],
        counters: Counters { rows: (to - from) as u64, ..Counters::default() },
        starts_at_border,
    }
}

fn index_of(runs: Vec<Run>) -> Index {
    let first = runs.first().map_or(start(), |run| run.from);
    let empty = Index::new(IndexStamp(1), DefinitionNumber(1), first, TimestampMicros(0));
    runs.into_iter()
        .fold(empty, |index, run| index.append(IndexStamp(2), DefinitionNumber(1), run, TimestampMicros(0)).unwrap())
}

#[test]
fn an_append_is_taken_once_and_only_at_the_head() {
    let index = index_of(vec![run(1, 0, 4, true)]);
    let append =
        |run: Run, definitions| index.append(IndexStamp(3), DefinitionNumber(definitions), run, TimestampMicros(9));
    assert_eq!(append(run(1, 0, 4, true), 1).unwrap(), index, "a retry after a lost reply changes nothing");
    assert!(matches!(append(run(2, 0, 4, true), 1), Err(IndexRefusal::HeadMoved { .. })));
    assert!(matches!(append(run(2, 5, 6, true), 1), Err(IndexRefusal::HeadMoved { .. })));
    assert!(matches!(append(run(2, 4, 6, true), 0), Err(IndexRefusal::OlderDefinitions { .. })));
    let mut another = run(2, 4, 6, true);
    another.from.incarnation = Incarnation(1);
    assert!(matches!(append(another, 1), Err(IndexRefusal::IncarnationChanged { .. })));
    assert_eq!(append(run(2, 4, 6, true), 2).unwrap().head.offset, Offset(6));
}

#[test]
fn older_definitions_are_refused_and_equal_ones_are_not() {
    let mut index = index_of(vec![run(1, 0, 4, true)]);
    index.definitions = DefinitionNumber(7);
    let refused = IndexRefusal::OlderDefinitions { ours: 6, stored: 7 };
    assert_eq!(index.check_definitions(DefinitionNumber(6)), Err(refused));
    assert_eq!(index.check_definitions(DefinitionNumber(7)), Ok(()));
    assert_eq!(index.check_definitions(DefinitionNumber(8)), Ok(()));
}

#[test]
fn the_same_offset_with_another_record_before_it_is_no_head() {
    let index = index_of(vec![run(1, 0, 4, true)]);
    let mut stranger = run(2, 4, 6, false);
    stranger.from.fingerprint = fingerprint(TimestampMicros(1), b"another topic");
    assert!(matches!(
        index.append(IndexStamp(3), DefinitionNumber(1), stranger, TimestampMicros(0)),
        Err(IndexRefusal::HeadMoved { .. })
    ));
}

#[test]
fn a_merge_replaces_exactly_the_runs_it_names() {
    let index = index_of(vec![run(1, 0, 4, true), run(2, 4, 6, false), run(3, 6, 9, false), run(4, 9, 10, true)]);
    let merge = |ids: &[u128], by: Run| {
        let ids: Vec<RunId> = ids.iter().map(|id| RunId(*id)).collect();
        index.merge(IndexStamp(5), &ids, by)
    };
    let merged = merge(&[1, 2], run(9, 0, 6, true)).unwrap();
    assert_eq!(merged.runs.iter().map(|run| run.id.0).collect::<Vec<_>>(), [9, 3, 4]);
    assert_eq!((merged.head, merged.counters), (index.head, index.counters));
    for (ids, by) in [
        (vec![1, 3], run(9, 0, 9, true)),
        (vec![1, 7], run(9, 0, 6, true)),
        (vec![1, 2], run(9, 0, 9, true)),
        (vec![3, 4], run(9, 6, 10, true)),
        (vec![1], run(9, 0, 4, true)),
        (vec![], run(9, 0, 4, true)),
    ] {
        assert_eq!(merge(&ids, by), Err(IndexRefusal::RunsGone), "{ids:?}");
    }
}

#[test]
fn random_histories_of_an_index_always_tile() {
    for_each_seed(500, |mut rng| {
        let (log, rule) = (random_log(&mut rng, 80), random_rule(&mut rng));
        let stretches = split_in_batches(&mut rng, &log, &rule, &BTreeSet::new());
        let mut index = Index::new(IndexStamp(0), DefinitionNumber(1), start(), TimestampMicros(0));
        let mut dropped = Offset(0);
        for (number, stretch) in stretches.iter().enumerate() {
            let appended = Run {
                id: RunId(number as u128),
                from: stretch.from,
                to: stretch.to,
                views: vec![RunView { view: VIEW, rows: 1 }],
                counters: Counters { rows: (stretch.last - stretch.first) as u64, ..Counters::default() },
                starts_at_border: stretch.starts_at_border,
            };
            index = index.append(IndexStamp(1), DefinitionNumber(1), appended, TimestampMicros(0)).unwrap();
            while let Some(range) = choose_merge(&index.runs, 2, &BTreeSet::new()).filter(|_| rng.random_bool(0.7)) {
                let replaced = index.runs[range].to_vec();
                assert!(are_mergeable(&replaced, &BTreeSet::new()));
                let merged = Run {
                    id: RunId(1_000_000 + rng.random_range(0..u64::MAX) as u128),
                    to: replaced.last().unwrap().to,
                    counters: replaced.iter().map(|run| run.counters).sum(),
                    ..replaced[0].clone()
                };
                let ids: Vec<RunId> = replaced.iter().map(|run| run.id).collect();
                index = index.merge(IndexStamp(2), &ids, merged).unwrap();
            }
            if rng.random_bool(0.1) {
                let reached = log.iter().filter(|mark| mark.offset < index.head.offset).copied().collect::<Vec<_>>();
                dropped =
                    grid_borders(&reached, &rule).into_iter().rfind(|at| *at <= index.head.offset).unwrap_or(dropped);
                index = index.drop_below(IndexStamp(3), dropped);
            }
            let reached: Vec<RecordMark> = log.iter().filter(|mark| mark.offset < index.head.offset).copied().collect();
            let borders = grid_borders(&reached, &rule).into_iter().filter(|at| *at > dropped);
            let borders: Vec<Offset> = borders.chain([dropped]).collect();
            let cut = borders[rng.random_range(0..borders.len())];
            let below = log.iter().filter(|mark| mark.offset < cut);
            let fold = below.fold(start(), |at, mark| at.advance(mark.offset, mark.timestamp, mark.fingerprint));
            let position = fold.at_offset(cut);
            let tiling = tile(Some(&index), VIEW, position).expect("a grid border that is not dropped tiles");
            let covered: i64 = tiling.runs.iter().map(|run| run.to.offset.0 - run.from.offset.0).sum();
            assert_eq!(covered, index.head.offset.0 - cut.0);
            assert_eq!(tiling.head, index.head);
            let stranger = Position { fingerprint: fingerprint(TimestampMicros(1), b"another log"), ..position };
            let gap = tile(Some(&index), VIEW, stranger).err();
            assert_eq!(gap, (covered > 0).then_some(TilingGap::OtherRecords { at: cut }), "another log is seen");
            let counted: u64 = tiling.runs.iter().map(|run| run.counters.rows).sum();
            let expected = log.iter().filter(|mark| mark.offset >= cut && mark.offset < tiling.head.offset).count();
            assert_eq!(counted, expected as u64);
        }
    });
}

#[test]
fn what_does_not_tile_is_told_apart() {
    let index = index_of(vec![run(1, 4, 8, true), run(2, 8, 10, true)]);
    let at = |offset: i64| start().at_offset(Offset(offset));
    let gap = |cut: i64| tile(Some(&index), VIEW, at(cut)).map(|tiling| tiling.runs.len());
    assert_eq!(gap(0), Err(TilingGap::NotAt { at: Offset(0), found: Offset(4) }), "runs expired too early");
    assert_eq!(gap(4), Ok(2));
    assert_eq!(gap(5), Err(TilingGap::NotAt { at: Offset(5), found: Offset(4) }), "a cut inside a run");
    assert_eq!(gap(8), Ok(1));
    assert_eq!(gap(10), Ok(0));
    assert_eq!(gap(12), Ok(0), "batch is ahead");
    assert_eq!(tile(None, VIEW, at(3)).unwrap().head, at(3));
    assert_eq!(tile(Some(&index), DefinitionHash(8), at(4)), Err(TilingGap::ViewAbsent { at: Offset(4) }));
    let lost = Index { runs: vec![run(1, 4, 8, true)], ..index.clone() };
    assert_eq!(tile(Some(&lost), VIEW, at(4)), Err(TilingGap::EndsBefore { at: Offset(8), head: Offset(10) }));
}

#[test]
fn runs_of_another_log_do_not_tile_although_their_offsets_fit() {
    let index = index_of(vec![run(1, 4, 8, true), run(2, 8, 10, true)]);
    let cut = start().at_offset(Offset(4));
    assert!(tile(Some(&index), VIEW, cut).is_ok());
    for stranger in [
        Position { fingerprint: fingerprint(TimestampMicros(1), b"another topic"), ..cut },
        Position { incarnation: Incarnation(1), ..cut },
    ] {
        assert_eq!(tile(Some(&index), VIEW, stranger), Err(TilingGap::OtherRecords { at: Offset(4) }));
    }
    let after_a_hole = Position { max_timestamp: TimestampMicros(77), ..cut };
    assert!(
        tile(Some(&index), VIEW, after_a_hole).is_ok(),
        "what expired before it was archived left a mark only here"
    );
    let mut torn = index.clone();
    torn.runs[1].from.fingerprint = fingerprint(TimestampMicros(1), b"another topic");
    assert_eq!(tile(Some(&torn), VIEW, cut), Err(TilingGap::OtherRecords { at: Offset(8) }));
}

#[test]
fn a_worker_starts_where_every_view_can_be_served() {
    let at = |offset| start().at_offset(Offset(offset));
    let index = index_of(vec![run(1, 4, 8, true)]);
    assert_eq!(choose_start(None, &[], start()), Start::Create(start()));
    assert_eq!(choose_start(None, &[at(9), at(5)], start()), Start::Create(at(5)));
    assert_eq!(choose_start(Some(&index), &[at(5), at(99)], start()), Start::Continue(at(8)));
    assert_eq!(choose_start(Some(&index), &[at(9), at(12)], start()), Start::Jump(at(9)));
    assert_eq!(choose_start(Some(&index), &[], start()), Start::Continue(at(8)));
}

/// `fresh` by its definition: a record is dropped if any earlier copy, itself dropped or not, lies within the horizon.
fn naive_copies(events: &[(Option<EventKey>, TimestampMicros)], horizon: i64) -> Vec<bool> {
    let mut running = TimestampMicros::MIN;
    let times: Vec<TimestampMicros> = events
        .iter()
        .map(|(_, at)| {
            running = running.max(*at);
            running
        })
        .collect();
    let is_copy = |at: usize| {
        (0..at).any(|earlier| {
            events[at].0.is_some() && events[earlier].0 == events[at].0 && times[at].0 - times[earlier].0 <= horizon
        })
    };
    (0..events.len()).map(is_copy).collect()
}

#[test]
fn the_copy_window_equals_the_definition_of_fresh() {
    for_each_seed(500, |mut rng| {
        let mut clock = 0;
        let events: Vec<(Option<EventKey>, TimestampMicros)> = (0..200)
            .map(|_| {
                clock += rng.random_range(0..5);
                let id = [rng.random_range(0..12u8)];
                let key = event_key(rng.random_bool(0.9).then_some(&id), TimestampMicros(0));
                (key, TimestampMicros(clock - rng.random_range(0..10)))
            })
            .collect();
        let horizon = Duration::from_micros(rng.random_range(0..40));
        let mut window = CopyWindow::default();
        let mut running = TimestampMicros::MIN;
        let seen: Vec<bool> = events
            .iter()
            .map(|(key, at)| {
                running = running.max(*at);
                window.observe(*key, running, horizon)
            })
            .collect();
        assert_eq!(seen, naive_copies(&events, horizon.as_micros() as i64));
        assert!(window.len() <= 12, "what is outside the horizon is forgotten");
    });
}

#[test]
fn identity_is_id_and_time_as_sent() {
    let at = TimestampMicros;
    assert_eq!(event_key(None, at(1)), None);
    assert_eq!(event_key(Some(b"a"), at(1)), event_key(Some(b"a"), at(1)));
    assert_ne!(event_key(Some(b"a"), at(1)), event_key(Some(b"a"), at(2)));
    assert_ne!(event_key(Some(b"a"), at(1)), event_key(Some(b"b"), at(1)));
}

#[test]
fn cuts_compare_by_what_they_cover() {
    let cut = |offsets: &[(i32, i64)]| {
        let positions = offsets.iter().map(|(p, o)| (PartitionId(*p), start().at_offset(Offset(*o))));
        Cut(positions.collect::<BTreeMap<_, _>>())
    };
    assert!(cut(&[(0, 4), (1, 2)]).is_at_or_above(&cut(&[(0, 4)])));
    assert!(cut(&[]).is_at_or_above(&cut(&[(0, 0)])));
    assert!(!cut(&[(0, 3)]).is_at_or_above(&cut(&[(0, 4)])));
    assert!(!cut(&[(0, 9)]).is_at_or_above(&cut(&[(1, 1)])));
}

#[test]
fn a_token_survives_its_textual_form_and_garbage_is_refused() {
    let mut token = PositionToken::default();
    token.cover(&SourceName::new("edits"), PartitionId(2), Offset(17));
    token.cover(&SourceName::new("edits"), PartitionId(2), Offset(11));
    assert_eq!(PositionToken::decode(&token.encode()).unwrap(), token);
    for garbage in ["", "0", "zz", "7b", "é0", "7b7d7d", &"0".repeat(200_000)] {
        assert!(PositionToken::decode(garbage).is_err(), "{garbage:.10}");
    }
}

#[test]
fn waits_double_up_to_their_limit_whatever_the_count() {
    let backoff = Backoff { first: Duration::from_millis(100), longest: Duration::from_secs(1) };
    let waits: Vec<u128> = (0..7).map(|failures| backoff.delay(failures).as_millis()).collect();
    assert_eq!(waits, [100, 100, 200, 400, 800, 1000, 1000]);
    assert_eq!(backoff.delay(u32::MAX), backoff.longest);
    let longest = Backoff { first: Duration::MAX, longest: Duration::MAX };
    assert_eq!(longest.delay(9), Duration::MAX);
}

#[test]
fn an_offset_names_one_record_in_all_lives_of_a_topic() {
    let id = PartitionId(0);
    let start = LifeStart { offset: Offset(950), log_offset: Offset(20) };
    let life = Life { incarnation: Incarnation(1), starts: BTreeMap::from([(id, start)]) };
    assert_eq!(life.start(id), Position { offset: Offset(950), ..Position::start(Incarnation(1)) });
    assert_eq!(life.offset(id, Offset(23)), Offset(953));
    assert_eq!(life.log_offset(id, Offset(953)), Some(Offset(23)));
    assert_eq!(life.log_offset(id, Offset(949)), None, "a record of the life before");
    let other = PartitionId(1);
    assert_eq!((life.offset(other, Offset(3)), life.log_offset(other, Offset(3))), (Offset(3), Some(Offset(3))));
    assert!(Life::default().is_first() && !life.is_first());
}

#[test]
fn the_first_cut_of_a_life_follows_the_last_one_of_the_life_before_it() {
    let before = Position { offset: Offset(950), fingerprint: Fingerprint(7), ..Position::start(Incarnation(0)) };
    let start = Position { offset: Offset(950), ..Position::start(Incarnation(1)) };
    let rule = BorderRule { grid: 8, gap: GAP };
    let chosen = choose_cut(&Archived::begin(start), Some(before), &rule, TimestampMicros(0));
    assert_eq!(chosen, start, "at the same offset, but of the present life");
    let cut = |position| Cut(BTreeMap::from([(PartitionId(0), position)]));
    assert!(cut(start).is_at_or_above(&cut(before)));
    assert!(!cut(before).is_at_or_above(&cut(start)), "a version of the former life is no substitute");
}
