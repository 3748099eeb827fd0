//! Sequences: one entry under each number, in memory, on a local disk, on S3; races, lost replies, cuts, crashes.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use lake::LakeError;
use lake::sequence::{Append, History, MAX_BYTES, Number, Sequence};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutOptions, PutPayload, PutResult, Result as StoreResult};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::task::JoinSet;

use crate::lake::{all_lakes, lake_in, memory_lake};
use crate::support::object_layer::{Layer, Layered};
use crate::support::seeds;

/// The state of a test's reader: all entries, in their order.
type State = Vec<String>;

const GRACE: Duration = Duration::from_secs(60);

fn apply(state: &mut State, history: &History) {
    if let Some(snapshot) = &history.snapshot {
        *state = snapshot.read().unwrap();
    }
    state.extend(history.entries.iter().map(|entry| entry.read::<String>().unwrap()));
    assert_eq!(state.len() as u64, history.newest.0);
}

async fn state_of(sequence: &Sequence) -> State {
    let mut state = State::new();
    apply(&mut state, &sequence.load().await.unwrap());
    state
}

/// Appends after `after`, which nobody else does.
async fn append(sequence: &Sequence, after: u64, text: &str) -> Number {
    match sequence.append(Number(after), &text, u128::from(after) + 1_000).await.unwrap() {
        Append::Appended(number) => number,
        conflict @ Append::Conflict { .. } => panic!("{conflict:?}"),
    }
}

async fn append_all(sequence: &Sequence, count: u64) {
    for after in 0..count {
        append(sequence, after, &format!("e{}", after + 1)).await;
    }
}

fn named(from: u64, to: u64) -> State {
    (from..=to).map(|number| format!("e{number}")).collect()
}

/// Cuts as if all there is were old.
async fn cut_all(sequence: &Sequence) -> usize {
    sequence.cut(GRACE, SystemTime::now() + 2 * GRACE).await.unwrap()
}

#[tokio::test]
async fn entries_are_numbered_from_one_and_appended_only_behind_the_last() {
    let (lakes, _folder) = all_lakes(10);
    for lake in lakes {
        let sequence = lake.sequence("some/journal");
        let empty = sequence.load().await.unwrap();
        assert_eq!((empty.snapshot.is_none(), empty.entries.len(), empty.newest), (true, 0, Number(0)));
        assert_eq!(sequence.last().await.unwrap(), None);

        append_all(&sequence, 3).await;
        assert_eq!(state_of(&sequence).await, named(1, 3));
        assert_eq!(sequence.newest().await.unwrap(), Number(3));
        assert_eq!(sequence.last().await.unwrap().unwrap().read::<String>().unwrap(), "e3");
        for stale in 0..3 {
            let refused = sequence.append(Number(stale), &"stale", 7).await.unwrap();
            assert_eq!(refused, Append::Conflict { newest: Number(3) });
        }
        // Asked again with its own nonce, an append is recognised.
        let again = sequence.append(Number(1), &"e2", 1_001).await.unwrap();
        assert_eq!(again, Append::Appended(Number(2)));

        let news = sequence.after(Number(1)).await.unwrap();
        assert!(news.snapshot.is_none());
        assert_eq!(news.entries.iter().map(|entry| entry.number).collect::<Vec<_>>(), [Number(2), Number(3)]);
        assert_eq!(sequence.after(Number(3)).await.unwrap().entries, []);
        assert_eq!(state_of(&sequence).await, named(1, 3));
        // Another sequence beside it is another one.
        assert_eq!(lake.sequence("some/other").newest().await.unwrap(), Number(0));
    }
}

#[tokio::test]
async fn a_snapshot_stands_for_what_it_sums_up_and_the_rest_can_be_cut_away() {
    let (lakes, _folder) = all_lakes(10);
    for lake in lakes {
        let sequence = lake.sequence("journal");
        append_all(&sequence, 5).await;
        assert_eq!(cut_all(&sequence).await, 0, "without a snapshot every entry is needed");
        sequence.write_snapshot(Number(2), &named(1, 2)).await.unwrap();
        sequence.write_snapshot(Number(4), &named(1, 4)).await.unwrap();
        assert_eq!(sequence.entries().await.unwrap().len(), 5, "also those that a snapshot stands for");
        let history = sequence.load().await.unwrap();
        assert_eq!((history.snapshot.as_ref().map(|one| one.number), history.entries.len()), (Some(Number(4)), 1));
        assert_eq!(state_of(&sequence).await, named(1, 5));
        // Whoever follows needs no snapshot.
        assert_eq!(sequence.after(Number(1)).await.unwrap().entries.len(), 4);

        assert_eq!(sequence.cut(GRACE, SystemTime::now()).await.unwrap(), 0, "the snapshot is too young");
        assert_eq!(cut_all(&sequence).await, 3 + 1, "entries 1 to 3 and the older snapshot");
        assert_eq!(cut_all(&sequence).await, 0);
        assert_eq!(state_of(&sequence).await, named(1, 5));
        let left = sequence.entries().await.unwrap();
        assert_eq!(left.iter().map(|entry| entry.read::<String>().unwrap()).collect::<State>(), named(4, 5));
        assert_eq!(append(&sequence, 5, "e6").await, Number(6));

        // A follower who has seen 3 lacks nothing, one who has seen 2 starts over.
        for (known, starts_over) in [(0, true), (2, true), (3, false), (6, false)] {
            let news = sequence.after(Number(known)).await.unwrap();
            assert_eq!(news.snapshot.is_some(), starts_over, "after {known}");
            let mut state = named(1, known);
            apply(&mut state, &news);
            assert_eq!(state, named(1, 6));
        }
        sequence.write_snapshot(Number(6), &named(1, 6)).await.unwrap();
        assert_eq!(cut_all(&sequence).await, 2 + 2, "entries 4 and 5, snapshot and mark of the last cut");
        assert_eq!(state_of(&sequence).await, named(1, 6));
    }
}

/// The numbers are free, but what is put there is not the sequence.
#[tokio::test]
async fn a_writer_that_slept_through_a_cut_is_refused() {
    let (lakes, _folder) = all_lakes(10);
    for lake in lakes {
        let sequence = lake.sequence("journal");
        append_all(&sequence, 6).await;
        sequence.write_snapshot(Number(5), &named(1, 5)).await.unwrap();
        assert_eq!(cut_all(&sequence).await, 4);
        for slept in 0..4 {
            let refused = sequence.append(Number(slept), &"late", 7).await.unwrap();
            assert_eq!(refused, Append::Conflict { newest: Number(6) }, "after {slept}");
            // Not even by insisting.
            let again = sequence.append(Number(slept), &"late", 7).await.unwrap();
            assert_eq!(again, Append::Conflict { newest: Number(6) }, "after {slept}");
        }
        for known in 0..=6 {
            let mut state = named(1, known);
            apply(&mut state, &sequence.after(Number(known)).await.unwrap());
            assert_eq!(state, named(1, 6), "after {known}");
        }
        assert_eq!(state_of(&sequence).await, named(1, 6));
        assert_eq!(append(&sequence, 6, "e7").await, Number(7));
        sequence.write_snapshot(Number(7), &named(1, 7)).await.unwrap();
        assert_eq!(cut_all(&sequence).await, 4 + 2 + 2, "with what the late ones left behind");
        assert_eq!(state_of(&sequence).await, named(1, 7));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_appenders_each_success_counts_once() {
    const WRITERS: usize = 8;
    const EACH: usize = 10;
    let (lakes, _folder) = all_lakes(10);
    for lake in lakes {
        let next = Arc::new(AtomicI64::new(1));
        let mut writers = JoinSet::new();
        for writer in 0..WRITERS {
            let (sequence, next) = (lake.sequence("journal"), Arc::clone(&next));
            writers.spawn(async move {
                let (mut won, mut state) = (Vec::new(), State::new());
                while won.len() < EACH {
                    let (after, nonce) = (Number(state.len() as u64), next.fetch_add(1, Ordering::Relaxed));
                    assert!(nonce < 100_000, "no progress");
                    let text = format!("{writer}:{nonce}");
                    match sequence.append(after, &text, nonce as u128).await.unwrap() {
                        Append::Appended(number) => {
                            assert_eq!(number, after.next());
                            won.push((number, text.clone()));
                            state.push(text);
                            if number.0 % 7 == 0 {
                                sequence.write_snapshot(number, &state).await.unwrap();
                                // Nobody is slower than the grace here.
                                sequence.cut(GRACE, SystemTime::now()).await.unwrap();
                            }
                        }
                        Append::Conflict { newest } => {
                            assert!(newest > after);
                            apply(&mut state, &sequence.after(after).await.unwrap());
                        }
                    }
                }
                won
            });
        }
        let mut won: Vec<(Number, String)> = writers.join_all().await.into_iter().flatten().collect();
        won.sort_unstable();
        let numbers: Vec<u64> = won.iter().map(|(number, _)| number.0).collect();
        assert_eq!(numbers, (1..=(WRITERS * EACH) as u64).collect::<Vec<_>>());
        let expected: State = won.into_iter().map(|(_, text)| text).collect();
        assert_eq!(state_of(&lake.sequence("journal")).await, expected);
        cut_all(&lake.sequence("journal")).await;
        assert_eq!(state_of(&lake.sequence("journal")).await, expected);
    }
}

/// A leader that was replaced cannot write any more, however long it believes to be one.
#[tokio::test]
async fn an_entry_of_a_higher_epoch_fences_off_whoever_has_not_read_it() {
    let sequence = memory_lake(10).sequence("journal");
    append_all(&sequence, 2).await;
    assert_eq!(append(&sequence, 2, "epoch 2").await, Number(3));
    let old = sequence.append(Number(2), &"by the old leader", 9).await.unwrap();
    assert_eq!(old, Append::Conflict { newest: Number(3) });
}

/// What a [`Faulty`] store does to puts, in percent.
#[derive(Debug)]
struct Faulty {
    inner: Arc<InMemory>,
    rng: std::sync::Mutex<StdRng>,
    percent: u32,
}

impl Faulty {
    fn lake(inner: &Arc<InMemory>, seed: u64, percent: u32) -> lake::Lake {
        let rng = std::sync::Mutex::new(StdRng::seed_from_u64(seed));
        lake_in(Arc::new(Layered::new(Self { inner: Arc::clone(inner), rng, percent })), 10)
    }
}

fn timed_out() -> object_store::Error {
    let error = std::io::Error::from(std::io::ErrorKind::TimedOut);
    object_store::Error::Generic { store: "Faulty", source: Box::new(error) }
}

impl Layer for Faulty {
    type Inner = InMemory;

    fn inner(&self) -> &InMemory {
        &self.inner
    }

    async fn put(&self, path: &Path, payload: PutPayload, options: PutOptions) -> StoreResult<PutResult> {
        let (fails, kind) = {
            let mut rng = self.rng.lock().unwrap();
            (rng.random_range(0..100) < self.percent, rng.random_range(0..3))
        };
        match kind {
            // It never arrives; its reply is lost; its client repeats it and hears of the second alone.
            0 if fails => return Err(timed_out()),
            1 if fails => {
                self.inner.put_opts(path, payload, options).await?;
                return Err(timed_out());
            }
            2 if fails => drop(self.inner.put_opts(path, payload.clone(), options.clone()).await),
            _ => {}
        }
        tokio::task::yield_now().await;
        self.inner.put_opts(path, payload, options).await
    }

    async fn call<T: Send>(&self, name: &str, request: impl Future<Output = StoreResult<T>> + Send) -> StoreResult<T> {
        let fails = !name.starts_with("put") && self.rng.lock().unwrap().random_range(0..100) < self.percent / 3;
        if fails { Err(timed_out()) } else { request.await }
    }
}

/// Repeats a call while the store does not answer.
macro_rules! insist {
    ($call:expr) => {
        loop {
            match $call.await {
                Err(LakeError::Unreachable { .. }) => tokio::task::yield_now().await,
                done => break done.unwrap(),
            }
        }
    };
}

#[tokio::test]
async fn an_append_whose_reply_was_lost_counts_once_whoever_asks_how_often() {
    for seed in seeds::seeds(10) {
        eprintln!("repeat with TWOFOLD_SEED={seed}");
        let inner = Arc::new(InMemory::new());
        let mut writers = JoinSet::new();
        for writer in 0..3_u64 {
            let sequence = Faulty::lake(&inner, seed * 10 + writer, 30).sequence("journal");
            writers.spawn(async move {
                let (mut won, mut state) = (Vec::new(), State::new());
                for at in 0..20 {
                    let text = format!("{writer}:{at}");
                    let nonce = u128::from(writer) << 64 | at;
                    loop {
                        let after = Number(state.len() as u64);
                        if let Append::Appended(number) = insist!(sequence.append(after, &text, nonce)) {
                            state.push(text.clone());
                            won.push((number, text));
                            break;
                        }
                        apply(&mut state, &insist!(sequence.after(after)));
                    }
                    if at % 5 == 0 {
                        insist!(sequence.write_snapshot(Number(state.len() as u64), &state));
                        insist!(sequence.cut(GRACE, SystemTime::now()));
                    }
                }
                won
            });
        }
        let mut won: Vec<(Number, String)> = writers.join_all().await.into_iter().flatten().collect();
        won.sort_unstable();
        let sequence = lake_in(Arc::clone(&inner) as Arc<dyn ObjectStore>, 10).sequence("journal");
        assert_eq!(state_of(&sequence).await, won.iter().map(|(_, text)| text.clone()).collect::<State>());
        assert_eq!(won.last().unwrap().0, Number(60));
        cut_all(&sequence).await;
        assert_eq!(state_of(&sequence).await.len(), 60);
    }
}

#[tokio::test]
async fn a_cut_that_ended_half_way_is_gone_on_with() {
    for crashed_after in 0..=4 {
        let lake = memory_lake(10);
        let sequence = lake.sequence("journal");
        append_all(&sequence, 6).await;
        sequence.write_snapshot(Number(5), &named(1, 5)).await.unwrap();
        // The process ended behind the snapshot, behind the mark, or behind some of the deletions, in any order.
        let object = |name: String| lake.path(&format!("journal/{name}"));
        if crashed_after > 0 {
            lake.store().put(&object(format!("{:010}.cut.json", 5)), "{}".into()).await.unwrap();
        }
        for number in [3, 1, 4].into_iter().take(crashed_after.max(1) - 1) {
            lake.store().delete(&object(format!("{number:010}.json"))).await.unwrap();
        }
        assert_eq!(state_of(&sequence).await, named(1, 6));
        for known in 0..=6 {
            let mut state = named(1, known);
            apply(&mut state, &sequence.after(Number(known)).await.unwrap());
            assert_eq!(state, named(1, 6), "after {known}");
        }
        let late = sequence.append(Number(2), &"late", 7).await.unwrap();
        assert_eq!(late, Append::Conflict { newest: Number(6) });
        cut_all(&sequence).await;
        assert_eq!(cut_all(&sequence).await, 0);
        assert_eq!(state_of(&sequence).await, named(1, 6));
    }
}

#[tokio::test]
async fn what_is_broken_or_too_large_is_named() {
    let lake = memory_lake(10);
    let sequence = lake.sequence("journal");
    let text = "x".repeat(MAX_BYTES);
    for error in [
        sequence.append(Number(0), &text, 1).await.unwrap_err(),
        sequence.write_snapshot(Number(0), &text).await.unwrap_err(),
    ] {
        assert!(matches!(&error, LakeError::Refused { .. }) && error.to_string().contains("4194304 bytes"), "{error}");
    }
    append_all(&sequence, 4).await;
    let object = |number: u64| lake.path(&format!("journal/{number:010}.json"));
    lake.store().delete(&object(2)).await.unwrap();
    for error in [sequence.load().await.unwrap_err(), sequence.after(Number(1)).await.unwrap_err()] {
        assert!(matches!(&error, LakeError::Corrupt { .. }), "{error}");
        assert!(error.to_string().contains(object(2).as_ref()), "{error}");
    }
    assert_eq!(sequence.after(Number(2)).await.unwrap().entries.len(), 2);
    lake.store().put(&object(2), "no json".into()).await.unwrap();
    assert!(sequence.load().await.unwrap_err().to_string().contains(object(2).as_ref()));
    // What was put there by hand, or by an older version, is an entry.
    lake.store().put(&object(2), "\"e2\"".into()).await.unwrap();
    assert_eq!(state_of(&sequence).await, named(1, 4));
    let wrong = sequence.last().await.unwrap().unwrap().read::<u64>().unwrap_err();
    assert!(wrong.to_string().contains(object(4).as_ref()), "{wrong}");
    // Other objects in the folder are none of ours.
    lake.store().put(&lake.path("journal/readme.json"), "{}".into()).await.unwrap();
    assert_eq!(state_of(&sequence).await, named(1, 4));
}
