//! Ballista against the worker itself: the same tables of the same events, also where an executor is lost meanwhile.

use std::sync::Arc;
use std::time::Duration;

use batch_layer::recompute::{GroupOutput, GroupProgress, Mode};
use batch_layer::{BatchError, PlanEngine};
use lake::Lake;
use object_store::ObjectStore;
use object_store::path::Path;
use positions::IdSource;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serving_layer::always;
use tokio::sync::watch;
use tokio::time::timeout;

use super::super::recompute::{all_finished, check_equals_fold};
use super::super::steps::{all_facts, law_world, settings};
use super::super::world::World;
use super::parts::Machines;
use super::{opened, recompute};
use crate::support::object_layer::{Layer, Layered};
use crate::support::seeds::one_seed;

const VIEWS: [&str; 3] = ["by_page", "by_day", "in_all"];

#[tokio::test(flavor = "multi_thread")]
async fn two_executors_compute_all_measures_of_the_law_as_one_worker_does() {
    let seed = one_seed("two executors");
    let world = law_world(seed, 400, &mut StdRng::seed_from_u64(seed)).await;
    let here = (all_finished(&world).await, all_facts(&world).await);
    let machines = Machines::start(&world.lake, 2).await;
    recompute(&world, &["plain", "statistics", "ordered"], Mode::Full, 1, &machines.engine).await;
    assert_eq!((all_finished(&world).await, all_facts(&world).await), here);
}

/// Every read of an executor waits while it is told to.
#[derive(Debug)]
struct Stalling {
    inner: Arc<dyn ObjectStore>,
    is_stalled: watch::Sender<bool>,
    has_asked: watch::Sender<bool>,
}

impl Layer for Stalling {
    type Inner = Arc<dyn ObjectStore>;

    fn inner(&self) -> &Arc<dyn ObjectStore> {
        &self.inner
    }

    async fn call<T: Send>(
        &self,
        _name: &str,
        request: impl Future<Output = object_store::Result<T>> + Send,
    ) -> object_store::Result<T> {
        self.has_asked.send_replace(true);
        let mut is_stalled = self.is_stalled.subscribe();
        // It fails only without a sender, and this store holds one.
        let _ = is_stalled.wait_for(|is_stalled| !is_stalled).await;
        request.await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_executor_costs_time_and_nothing_is_published_twice() {
    let seed = one_seed("a lost executor");
    let mut world = World::new(seed).await;
    world.send(200).await;
    world.archive().await;
    let (is_stalled, has_asked) = (watch::Sender::new(true), watch::Sender::new(false));
    let store = Stalling {
        inner: Arc::clone(world.lake.store()),
        is_stalled: is_stalled.clone(),
        has_asked: has_asked.clone(),
    };
    let slow = Lake::new(Arc::new(Layered::new(store)), Path::from("lake"));
    let mut machines = Machines::start(&slow, 2).await;
    let lost = machines.executors.pop();
    let losing = async {
        let mut asked = has_asked.subscribe();
        timeout(Duration::from_secs(60), asked.wait_for(|asked| *asked)).await.unwrap().unwrap();
        drop(lost);
        is_stalled.send_replace(false);
    };
    let (outputs, ()) = tokio::join!(compute_until_done(&world, &machines.engine), losing);
    for (plan, outputs) in opened(&world, &VIEWS, Mode::Full, 1, &machines.engine).await.iter().zip(outputs) {
        plan.publish(&outputs, None, &always).await;
        // Whoever does not know that it was published asks for it again.
        plan.publish(&outputs, None, &always).await;
    }
    for view in VIEWS {
        assert_eq!(world.newest(&world.view(view)).await.unwrap().number(), lake::Version(1), "{view}");
    }
    check_equals_fold(&world).await;
}

/// The outputs of the groups of each plan, as a worker comes to them whose task is tried again after each transient
/// failure.
async fn compute_until_done(world: &World, engine: &Arc<dyn PlanEngine>) -> Vec<Vec<GroupOutput>> {
    let mut all = Vec::new();
    for plan in opened(world, &VIEWS, Mode::Full, 1, engine).await {
        let mut outputs = Vec::new();
        for part in plan.parts() {
            let mut tries = 0..5;
            let computed = loop {
                tries.next().expect("a group is computed at the fifth attempt at the latest");
                let name = format!("attempt-{:032x}", world.ids.next_id());
                match plan.compute_part(&part, &name, &settings(1), &GroupProgress::default()).await {
                    Ok(computed) if computed.iter().all(|computed| computed.errors.is_empty()) => break computed,
                    Ok(computed) => computed.iter().flat_map(|part| part.errors.values()).for_each(assert_transient),
                    Err(error) => assert_transient(&error),
                }
            };
            outputs.extend(computed.into_iter().map(|computed| computed.output));
        }
        all.push(outputs);
    }
    all
}

fn assert_transient(error: &BatchError) {
    assert!(error.is_retryable(), "{error}");
}

/// Nobody is there to compute: the task is to be tried again, and says who is missing.
#[tokio::test(flavor = "multi_thread")]
async fn a_scheduler_that_is_gone_is_a_transient_failure() {
    let mut world = World::new(one_seed("no scheduler")).await;
    world.send(40).await;
    world.archive().await;
    let machines = Machines::start(&world.lake, 0).await;
    let engine = Arc::clone(&machines.engine);
    drop(machines);
    let plans = opened(&world, &VIEWS, Mode::Full, 1, &engine).await;
    let gone = async {
        while !plans[0]
            .compute_part(&plans[0].part(0).unwrap(), "nobody", &settings(1), &GroupProgress::default())
            .await
            .is_err_and(|error| error.is_retryable() && error.to_string().contains("executors of http://127.0.0.1"))
        {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(60), gone).await.unwrap();
}

/// It reads no rows here, and whoever watches its task must not take that for a standstill.
#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_waits_for_executors_gives_signs() {
    let mut world = World::new(one_seed("no executors")).await;
    world.send(40).await;
    world.archive().await;
    let machines = Machines::start(&world.lake, 0).await;
    let plans = opened(&world, &VIEWS, Mode::Full, 1, &machines.engine).await;
    let (part, recompute, progress) = (plans[0].part(0).unwrap(), settings(1), GroupProgress::default());
    let watching = async {
        while progress.signs().count() < 3 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        biased;
        _ = plans[0].compute_part(&part, "nobody", &recompute, &progress) => panic!("nobody is there to compute it"),
        watched = timeout(Duration::from_secs(60), watching) => watched.unwrap(),
    }
    assert_eq!((progress.step().as_str(), progress.read_so_far().rows), ("copies on other machines", 0));
}
