//! Compaction: fewer files, the same rows and answers, whatever races, fails or is killed.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use arrow::array::AsArray;
use arrow::datatypes::TimestampMicrosecondType;
use batch_layer::archive::ArchiveSettings;
use batch_layer::compact::{Merge, choose_merges, replace, rewrite};
use batch_layer::recompute::{GroupProgress, Mode, Outcome, recompute};
use batch_layer::{BatchError, BatchSettings, CompactSettings, RecomputeSettings};
use datafusion::scalar::ScalarValue;
use lake::DataFile;
use object_store::ObjectStoreExt;
use positions::{IdSource, Offset, PartitionId};
use rand::Rng;
use records::decode::reading_of;
use records::master::{Compaction, MasterDataset, MasterSnapshot};
use serving_layer::always;

use super::archive::{check_holds_all, poll_at_most};
use super::reading::forget_what_was_read;
use super::recompute::{all_finished, check_equals_fold};
use super::world::{Event, START, World};
use crate::support::house::{NoFormer, compact};
use crate::support::seams::SeededIds;
use crate::support::seeds::{for_each_seed, seeds};

pub const OFTEN: CompactSettings = CompactSettings { is_on: true, file_bytes: 1 << 20, min_files: 2 };

pub fn engine() -> RecomputeSettings {
    RecomputeSettings { target_partitions: 1, ..RecomputeSettings::default() }
}

pub async fn compact_with(world: &World, engine: &RecomputeSettings) -> usize {
    compact(&world.batch_context(), &world.source(), &OFTEN, engine).await.unwrap()
}

/// A world whose master dataset has one file per record and partition, and more to archive.
pub async fn world_of_small_files(seed: u64, count: usize) -> World {
    let mut world = World::new(seed).await;
    world.send(count).await;
    archive_singly(&mut world, Duration::from_millis(1)).await;
    world
}

fn singly(world: &mut World, backoff: Duration) -> ArchiveSettings {
    let mut settings = world.archive_settings();
    settings.poll.records = 2;
    settings.backoff = positions::Backoff { first: backoff, longest: backoff };
    settings
}

/// Archives everything in commits of two records at most.
pub async fn archive_singly(world: &mut World, backoff: Duration) {
    let settings = singly(world, backoff);
    world.archive_with(settings).await;
}

/// The files of one compaction of everything that can be merged now.
pub async fn prepare(world: &World, on: &MasterSnapshot) -> Compaction {
    let reading = reading_of(&world.source());
    let merge = choose_merges(on.snapshot.files(), Some(reading), &OFTEN).into_iter().next().unwrap();
    let name = format!("{:032x}", world.ids.next_id());
    let rewriting = rewrite(&world.source(), on, merge, (&engine(), &name), &GroupProgress::default()).await;
    rewriting.unwrap().unwrap()
}

#[tokio::test]
async fn a_compaction_at_any_moment_changes_no_answer() {
    for seed in seeds(8) {
        let mut world = World::new(seed).await;
        let mut compactions = 0;
        for _ in 0..5 {
            let count = world.rng.random_range(0..60);
            world.send(count).await;
            world.archive().await;
            if world.rng.random_bool(0.3) {
                world.clock.advance(Duration::from_secs(40));
            }
            let before = world.snapshot().await;
            let is_first = world.rng.random_bool(0.5);
            if is_first {
                compactions += compact_with(&world, &engine()).await;
            }
            world.recompute(Mode::Incremental).await;
            compactions += compact_with(&world, &engine()).await;
            check_equals_fold(&world).await;
            let after = world.snapshot().await;
            assert_eq!(after.facts, before.facts);
            check_holds_all(&world, &after).await;
        }
        assert!(compactions > 0, "nothing was tested");
        let incremental = all_finished(&world).await;
        world.recompute(Mode::Full).await;
        assert_eq!(all_finished(&world).await, incremental);
        // What a definition built from scratch finds is the same once more, from other files.
        compact_with(&world, &engine()).await;
        world.recompute(Mode::Full).await;
        assert_eq!(all_finished(&world).await, incremental);
    }
}

#[tokio::test]
async fn a_compacted_file_is_sorted_by_event_time_and_late_rows_stay_apart() {
    let world = world_of_small_files(3, 120).await;
    let before = world.snapshot().await.snapshot.files().len();
    while compact_with(&world, &engine()).await > 0 {}
    let after = world.snapshot().await;
    let files = after.snapshot.files().len();
    assert!(files < before / 4, "{before} files became {files}");
    check_sorted_and_apart(&after).await;
    check_holds_all(&world, &after).await;
}

/// Each file is sorted by event time, and holds late rows alone or none.
pub async fn check_sorted_and_apart(after: &MasterSnapshot) {
    for file in after.snapshot.files() {
        let columns = ["time", "_late"];
        let rows = after.snapshot.read(std::slice::from_ref(file), Some(&columns)).await.unwrap();
        let times = rows.iter().flat_map(|batch| batch.column(0).as_primitive::<TimestampMicrosecondType>());
        assert!(times.collect::<Vec<_>>().is_sorted(), "{}", file.path);
        let late = rows.iter().flat_map(|batch| batch.column(1).as_boolean()).map(|late| late == Some(true));
        let late: Vec<bool> = late.collect();
        assert!(late.iter().all(|one| *one == late[0]), "{} mixes late rows with others", file.path);
    }
}

#[tokio::test]
async fn a_compaction_in_little_memory_spills_and_keeps_every_row() {
    let mut world = World::new(31).await;
    for _ in 0..1_000 {
        let page = Some(format!("/{:1000}", world.sent.len()));
        world.send_one(Some(Event { time: START, page, ..Event::default() })).await;
    }
    archive_singly(&mut world, Duration::from_millis(1)).await;
    let little = RecomputeSettings { memory_bytes: 512 << 10, spill_limit_bytes: 1, ..engine() };
    let refused = compact(&world.batch_context(), &world.source(), &OFTEN, &little).await;
    assert!(matches!(refused, Err(BatchError::Engine(_))), "it fits into memory, nothing is tested: {refused:?}");
    let said = refused.unwrap_err().to_string();
    assert!(said.contains("`batch.spill_limit`") && !said.contains("datafusion.runtime"), "{said}");
    check_holds_all(&world, &world.snapshot().await).await;
    let little = RecomputeSettings { spill_limit_bytes: 1 << 30, ..little };
    while compact_with(&world, &little).await > 0 {}
    check_holds_all(&world, &world.snapshot().await).await;
}

#[tokio::test]
async fn of_two_compactions_one_wins_and_rows_stay_single() {
    for seed in seeds(4) {
        let world = world_of_small_files(seed, 30).await;
        let on = world.snapshot().await;
        let (one, other) = (prepare(&world, &on).await, prepare(&world, &on).await);
        let master = world.master();
        let (left, right) = tokio::join!(
            replace(&master, &on, &one, world.ids.as_ref(), &always),
            replace(&master, &on, &other, world.ids.as_ref(), &always),
        );
        let won = [left.unwrap(), right.unwrap()].iter().flatten().count();
        assert_eq!(won, 1, "the same files are replaced once");
        check_holds_all(&world, &world.snapshot().await).await;
        // Whole compactions against each other, from the plan on.
        let engine = engine();
        let both = tokio::join!(compact_with(&world, &engine), compact_with(&world, &engine));
        assert!(both.0 + both.1 > 0);
        check_holds_all(&world, &world.snapshot().await).await;
    }
}

/// Starts the archive after so many steps of a compaction, then runs both to their ends. Answers whether the compaction
/// had so many steps. `is_other`: all that is compacted is of another reading.
async fn check_archive_beside_compaction(steps: usize, is_other: bool) -> bool {
    let mut world = world_of_small_files(5, 24).await;
    if is_other {
        forget_what_was_read(&world).await;
    }
    world.send(24).await;
    let context = world.batch_context();
    let source = world.source();
    let engine = engine();
    let mut compacting = pin!(compact(&context, &source, &OFTEN, &engine));
    let early = poll_at_most(steps, compacting.as_mut()).await;
    let is_over = early.is_some();
    let rest = async {
        match early {
            Some(done) => done,
            None => compacting.await,
        }
    };
    // An archive that took the compaction for another archiver would wait for an hour: longer than the test.
    let (done, ()) = tokio::join!(rest, archive_singly(&mut world, Duration::from_secs(3600)));
    assert!(done.unwrap() > 0, "starved after {steps} steps");
    // Of several merges, the first lost race puts the others off.
    while is_other && compact_with(&world, &engine).await > 0 {}
    check_holds_all(&world, &world.snapshot().await).await;
    !is_over
}

#[tokio::test]
async fn archive_and_compaction_that_race_both_get_on_and_double_nothing() {
    for is_other in [false, true] {
        let mut steps = 0;
        while check_archive_beside_compaction(steps, is_other).await {
            steps += 1 + steps / 8;
        }
        assert!(steps > 20, "only {steps} steps: nothing was tested");
    }
}

/// Ids before each of which somebody else commits, so many times.
struct Overtaken {
    master: MasterDataset,
    ids: Arc<SeededIds>,
    left: AtomicUsize,
}

impl IdSource for Overtaken {
    fn next_id(&self) -> u128 {
        let is_overtaken =
            self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        if is_overtaken {
            let nonce = self.ids.next_id();
            // On a thread of its own: the one that asks cannot wait here.
            std::thread::scope(|scope| scope.spawn(|| append_hole(&self.master, nonce)).join().unwrap());
        }
        self.ids.next_id()
    }
}

/// Somebody's append: a hole behind all rows, as it needs no log.
fn append_hole(master: &MasterDataset, nonce: u128) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let on = master.open().await.unwrap().unwrap();
        let mut facts = on.facts.clone();
        let partition = PartitionId(0);
        let known = facts.partitions.get_mut(&partition).unwrap();
        let from = known.archived.end.offset;
        known.archived.end = known.archived.end.at_offset(Offset(from.0 + 1));
        facts.holes.push(records::master::Hole { partition, from, to: Offset(from.0 + 1) });
        master.append(&on, &[], facts, nonce).await.unwrap();
    });
}

#[tokio::test]
async fn a_compaction_that_is_overtaken_again_and_again_wins_in_the_end_or_is_dropped() {
    for (times, wins) in [(1, true), (10, true), (1_000, false)] {
        let world = world_of_small_files(6, 20).await;
        let on = world.snapshot().await;
        let compaction = prepare(&world, &on).await;
        let ids = Overtaken { master: world.master(), ids: Arc::clone(&world.ids), left: AtomicUsize::new(times) };
        let replaced = replace(&world.master(), &on, &compaction, &ids, &always).await.unwrap();
        assert_eq!(replaced.is_some(), wins, "overtaken {times} times");
        let newest = world.snapshot().await;
        newest.check_ledger().unwrap();
        assert!(newest.facts.holes.len() >= times.min(10), "the others' facts stay");
        let is_replaced = |file: &DataFile| compaction.old.iter().any(|old| old.path == file.path);
        assert_eq!(newest.snapshot.files().iter().any(is_replaced), !wins);
    }
}

#[tokio::test]
async fn a_compaction_killed_at_any_await_leaves_every_row_once() {
    let mut world = world_of_small_files(7, 12).await;
    let mut times = 1;
    loop {
        let context = world.batch_context();
        let ended = poll_at_most(times, compact(&context, &world.source(), &OFTEN, &engine())).await;
        let snapshot = world.snapshot().await;
        snapshot.check_ledger().unwrap();
        if let Some(done) = ended {
            assert!(done.unwrap() > 0 && times > 20, "{times} polls: nothing was tested");
            break;
        }
        times += 1 + times / 16;
        world.send(4).await;
        archive_singly(&mut world, Duration::from_millis(1)).await;
    }
    check_holds_all(&world, &world.snapshot().await).await;
}

#[tokio::test]
async fn whichever_call_fails_a_compaction_leaves_every_row_once() {
    for is_after in [false, true] {
        let mut number = 1;
        loop {
            let world = world_of_small_files(8, 8).await;
            let context = world.batch_context();
            world.faults.fail_call(number, is_after);
            let ended = compact(&context, &world.source(), &OFTEN, &engine()).await;
            let has_failed = world.faults.has_failed();
            world.faults.fail_call(0, false);
            check_holds_all(&world, &world.snapshot().await).await;
            if !has_failed {
                assert!(ended.unwrap() > 0 && number > 15, "only {number} calls: nothing was tested");
                break;
            }
            number += 1;
        }
    }
}

#[tokio::test]
async fn a_recompute_under_way_finds_its_files_while_they_are_compacted_and_cleaned_up() {
    for steps in [10, 30, 60, 120, 240] {
        let mut world = world_of_small_files(9, 50).await;
        let components = world.recompute_components();
        let settings = engine();
        let mut recomputing = pin!(recompute(&components, Mode::Incremental, &settings));
        let early = poll_at_most(steps, recomputing.as_mut()).await;
        assert!(compact_with(&world, &engine()).await > 0);
        let compacted = world.snapshot().await.snapshot.version().0;
        world.send(50).await;
        archive_singly(&mut world, Duration::from_millis(1)).await;
        // Everything before the compaction is older than the grace; the compaction is not.
        let (table, newest) = (world.lake.table("raw/hits"), world.snapshot().await.snapshot.version());
        let commit = world.lake.path(&format!("raw/hits/_delta_log/{compacted:020}.json"));
        let grace = Duration::from_secs(3600);
        let at = SystemTime::from(world.lake.store().head(&commit).await.unwrap().last_modified);
        table.vacuum(newest, grace, at + grace).await.unwrap();
        let round = match early {
            Some(round) => round,
            None => recomputing.await,
        };
        assert!(round.values().all(|outcome| matches!(outcome, Ok(Outcome::Published(_)))), "{steps}: {round:?}");
        check_equals_fold(&world).await;

        // Much later they are gone, and what was published from them stays right.
        let deleted = table.vacuum(newest, grace, at + 3 * grace).await.unwrap();
        assert!(deleted.objects > 0);
        check_equals_fold(&world).await;
        world.recompute(Mode::Full).await;
        check_equals_fold(&world).await;
        check_holds_all(&world, &world.snapshot().await).await;
    }
}

#[tokio::test]
async fn files_are_merged_beside_rounds_unless_told_not_to() {
    for is_on in [false, true] {
        let world = world_of_small_files(10, 30).await;
        let before = world.snapshot().await.snapshot.version();
        let settings = BatchSettings {
            interval: Duration::from_secs(3600),
            recompute: engine(),
            compact: CompactSettings { is_on, ..OFTEN },
            ..BatchSettings::default()
        };
        world.keep_house(&NoFormer, &settings).await;
        let after = world.snapshot().await;
        assert_eq!(after.snapshot.version() > before, is_on);
        check_holds_all(&world, &after).await;
        check_equals_fold(&world).await;
    }
}

pub fn file(number: usize, rows: u64, size_bytes: u64, is_late: bool) -> DataFile {
    let boolean = ScalarValue::Boolean(Some(is_late));
    let offset = ScalarValue::Int64(Some(number as i64));
    let bounds = BTreeMap::from([
        ("_late".to_owned(), (boolean.clone(), boolean, 0)),
        ("_offset".to_owned(), (offset.clone(), offset, 0)),
        ("_clock_shift".to_owned(), (ScalarValue::Int64(None), ScalarValue::Int64(None), rows)),
    ]);
    DataFile { path: format!("{number:08}"), size_bytes, rows, bounds: Arc::new(bounds) }
}

#[test]
fn each_row_is_rewritten_a_logarithmic_number_of_times_and_a_table_comes_to_rest() {
    for_each_seed(30, |mut random| {
        let fan_in = random.random_range(2..10);
        let settings = CompactSettings { is_on: true, file_bytes: 64 << 10, min_files: fan_in };
        let mut table = Modelled { settings, files: Vec::new(), rewrites: BTreeMap::new(), next: 0, most_rewrites: 0 };
        let mut total = 0;
        for _ in 0..250 {
            for _ in 0..random.random_range(0..40) {
                let rows = random.random_range(1..300);
                total += rows;
                table.add(rows, 500 + rows * random.random_range(1..200), random.random_bool(0.3), 0);
            }
            table.compact(random.random_range(0.5..1.0));
        }
        while table.compact(0.7) {}
        let powers = (total as f64).log(fan_in as f64) as u32 + 1;
        assert!(table.most_rewrites <= powers + 1, "{} times, {powers} powers of {fan_in}", table.most_rewrites);
        assert_eq!(table.files.iter().map(|file| file.rows).sum::<u64>(), total);
        let small = table.files.iter().filter(|file| file.size_bytes < settings.file_bytes / 2).count();
        assert!(small <= 2 * (fan_in - 1) * powers as usize, "{small} small files are left of {}", table.files.len());
    });
}

/// A table of which only sizes are known.
struct Modelled {
    settings: CompactSettings,
    files: Vec<DataFile>,
    /// How often the rows of a file were rewritten at most.
    rewrites: BTreeMap<String, u32>,
    next: usize,
    most_rewrites: u32,
}

impl Modelled {
    fn add(&mut self, rows: u64, size_bytes: u64, is_late: bool, rewrites: u32) {
        self.next += 1;
        let file = file(self.next, rows, size_bytes, is_late);
        self.rewrites.insert(file.path.clone(), rewrites);
        self.most_rewrites = self.most_rewrites.max(rewrites);
        self.files.push(file);
    }

    /// Carries out all merges of one round; bytes shrink. Answers whether there were any.
    fn compact(&mut self, shrink: f64) -> bool {
        let merges = choose_merges(&self.files, None, &self.settings);
        let bytes = |merge: &Merge| merge.files.iter().map(|file| file.size_bytes).sum::<u64>();
        let in_one_round: u64 = merges.iter().map(bytes).sum();
        let most = self.settings.file_bytes * self.settings.min_files as u64;
        assert!(merges.len() < 2 || in_one_round <= most, "{in_one_round} bytes in one round");
        for merge in &merges {
            let is_late = |file: &DataFile| file.bounds["_late"].0 == ScalarValue::Boolean(Some(true));
            let late = is_late(&merge.files[0]);
            assert!(merge.files.iter().all(|file| is_late(file) == late), "late rows are mixed with others");
            let rows: u64 = merge.files.iter().map(|file| file.rows).sum();
            let power = |rows: u64| rows.ilog(self.settings.min_files as u64);
            let is_higher = merge.files.iter().all(|file| power(file.rows) < power(rows));
            let is_full = bytes(merge) >= self.settings.file_bytes;
            assert!(is_higher || is_full, "neither a higher tier nor a file of the wished size: {merge:?}");
            assert!(bytes(merge) < self.settings.file_bytes * 3 / 2 + 1, "{} bytes in one file", bytes(merge));
            let rewrites = merge.files.iter().map(|file| self.rewrites[&file.path]).max().unwrap();
            self.files.retain(|file| !merge.files.contains(file));
            self.add(rows, (bytes(merge) as f64 * shrink) as u64 + 1, late, rewrites + 1);
        }
        !merges.is_empty()
    }
}
