//! Plans that went through bytes: they run to what they ran to before, for every measure of the law, with copies left
//! out and operators that fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ballista_engine::{Codec, without_statistics};
use batch_layer::recompute::{Mode, copies_of, keep_first_of};
use batch_layer::{PlanEngine, Signs};
use datafusion::error::Result;
use datafusion::execution::object_store::ObjectStoreRegistry;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::execution::{SendableRecordBatchStream, SessionState};
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::prelude::SessionConfig;
use datafusion_proto::bytes::{
    physical_plan_from_bytes_with_extension_codec, physical_plan_to_bytes_with_extension_codec,
};
use futures::future::BoxFuture;
use lake::Lake;
use object_store::ObjectStore;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use url::Url;

use super::super::erase;
use super::super::recompute::{all_finished, check_equals_fold};
use super::super::steps::{all_facts, law_world};
use super::super::world::World;
use super::recompute;
use crate::support::seeds::seeds;

const LAW: [&str; 3] = ["plain", "statistics", "ordered"];

/// One store for every address.
#[derive(Debug)]
struct OneStore(Arc<dyn ObjectStore>);

impl ObjectStoreRegistry for OneStore {
    fn register_store(&self, _url: &Url, _store: Arc<dyn ObjectStore>) -> Option<Arc<dyn ObjectStore>> {
        None
    }

    fn get_store(&self, _url: &Url) -> Result<Arc<dyn ObjectStore>> {
        Ok(Arc::clone(&self.0))
    }
}

/// Another process within this one: it gets a plan as bytes, and has nothing else of it.
struct ThroughBytes {
    codec: Codec,
    store: Arc<dyn ObjectStore>,
    plans: AtomicUsize,
}

impl ThroughBytes {
    fn of(lake: &Lake) -> Arc<Self> {
        Arc::new(Self { codec: Codec::default(), store: Arc::clone(lake.store()), plans: AtomicUsize::new(0) })
    }

    fn session(&self, config: &SessionConfig) -> Result<SessionState> {
        let registry = Arc::new(OneStore(Arc::clone(&self.store)));
        let runtime = RuntimeEnvBuilder::new().with_object_store_registry(registry).build_arc()?;
        let state = SessionStateBuilder::new_from_existing(views::session_state());
        Ok(state.with_config(config.clone()).with_runtime_env(runtime).build())
    }
}

impl PlanEngine for ThroughBytes {
    fn takes(&self, _bytes: u64) -> bool {
        true
    }

    fn prepare(&self, config: SessionConfig) -> SessionConfig {
        config.with_target_partitions(3)
    }

    fn execute<'a>(
        &'a self,
        _name: &'a str,
        plan: Arc<dyn ExecutionPlan>,
        config: &'a SessionConfig,
        _signs: Signs,
    ) -> BoxFuture<'a, Result<SendableRecordBatchStream>> {
        Box::pin(async move {
            self.plans.fetch_add(1, Ordering::Relaxed);
            let bytes = physical_plan_to_bytes_with_extension_codec(without_statistics(plan)?, &self.codec)?;
            let context = self.session(config)?.task_ctx();
            let plan = physical_plan_from_bytes_with_extension_codec(&bytes, &context, &self.codec)?;
            execute_stream(plan, context)
        })
    }
}

fn engine(world: &World) -> (Arc<ThroughBytes>, Arc<dyn PlanEngine>) {
    let engine = ThroughBytes::of(&world.lake);
    (Arc::clone(&engine), engine)
}

#[tokio::test]
async fn plans_of_all_measures_of_the_law_survive_being_bytes() {
    for seed in seeds(2) {
        let world = law_world(seed, 240, &mut StdRng::seed_from_u64(seed)).await;
        let here = (all_finished(&world).await, all_facts(&world).await);
        let (through, engine) = engine(&world);
        assert!(recompute(&world, &LAW, Mode::Full, 10, &engine).await > 1);
        assert_eq!((all_finished(&world).await, all_facts(&world).await), here);
        assert!(through.plans.load(Ordering::Relaxed) > LAW.len());
    }
}

#[tokio::test]
async fn incremental_rounds_through_bytes_equal_the_fold() {
    for seed in seeds(4) {
        let mut world = World::new(seed).await;
        let random = &mut StdRng::seed_from_u64(seed);
        let (_, engine) = engine(&world);
        for _ in 0..4 {
            let count = random.random_range(20..80);
            world.send(count).await;
            world.archive().await;
            for views in [&["by_page"][..], &["by_day", "in_all"]] {
                recompute(&world, views, Mode::Incremental, 3, &engine).await;
            }
            check_equals_fold(&world).await;
        }
    }
}

#[tokio::test]
async fn what_was_erased_stays_out_of_what_others_compute() {
    let mut world = World::new(47).await;
    world.send(120).await;
    let person = erase::visit(&world, 5_000);
    world.send_one(Some(person)).await;
    world.archive().await;
    world.recompute(Mode::Full).await;
    erase::choose(&mut world).await;
    batch_layer::erase::erase(&erase::components(&world)).await.unwrap();
    let here = all_finished(&world).await;
    let (_, engine) = engine(&world);
    recompute(&world, &["by_page", "by_day", "in_all"], Mode::Full, 1, &engine).await;
    assert_eq!(all_finished(&world).await, here);
}

/// Few places in a chunk are two bytes each, many a bit for every offset; whole or not at all.
#[test]
fn sets_of_copies_survive_being_bytes() {
    let seed = seeds(1)[0];
    let random = &mut StdRng::seed_from_u64(seed);
    let mut bytes = 2_u64.to_le_bytes().to_vec();
    for (chunk, count) in [(7_u64, 3_u32), (9, 65_536 / 2)] {
        bytes.extend(chunk.to_le_bytes());
        bytes.extend(count.to_le_bytes());
        if count == 3 {
            [1_u16, 500, 65_535].iter().for_each(|bit| bytes.extend(bit.to_le_bytes()));
        } else {
            // Half of the bits of each word.
            let word = 0x5555_5555_5555_5555_u64.rotate_left(random.random_range(0..64));
            (0..1_024).for_each(|_| bytes.extend(word.to_le_bytes()));
        }
    }
    bytes.extend(0_u64.to_le_bytes());
    let function = keep_first_of(&bytes).unwrap();
    assert_eq!(copies_of(&function).unwrap(), bytes);
    for length in 0..bytes.len() {
        assert!(keep_first_of(&bytes[..length]).is_err(), "{length} of {} bytes", bytes.len());
    }
}
