//! Stores that do not give a file while rows are computed or merged: an error that passes, however deep in the engine
//! it is, and also where the engine keeps no cause of it.

use std::error::Error;
use std::sync::Arc;

use arrow::error::ArrowError;
use batch_layer::BatchError;
use batch_layer::compact::{Merge, rewrite};
use batch_layer::recompute::{GroupProgress, Mode};
use datafusion::error::DataFusionError;
use lake::{LakeError, has_store_failed};

use super::compaction::{engine, world_of_small_files};
use super::steps::{choose_one, open, settings};
use super::world::World;

fn of_the_store() -> object_store::Error {
    object_store::Error::Generic { store: "test", source: "it does not answer".into() }
}

#[test]
fn an_error_of_the_store_is_found_among_the_causes() {
    let boxed = || Box::new(of_the_store()) as Box<dyn Error + Send + Sync>;
    let gone = LakeError::Unreachable { object: "a".to_owned(), reason: "b".to_owned() };
    let of_store = [
        DataFusionError::ObjectStore(Box::new(of_the_store())),
        DataFusionError::External(boxed()),
        DataFusionError::External(Box::new(gone)),
        DataFusionError::ArrowError(Box::new(ArrowError::ExternalError(boxed())), None),
        DataFusionError::Context("in a scan".to_owned(), Box::new(DataFusionError::External(boxed()))),
        DataFusionError::Shared(Arc::new(DataFusionError::External(boxed()))),
    ];
    for error in of_store {
        assert!(has_store_failed(&error), "{error}");
        assert!(BatchError::Engine(error).is_retryable());
    }
    // Words alone are no cause.
    let corrupt = LakeError::Corrupt { object: "a".to_owned(), reason: "Object Store error: b".to_owned() };
    let others = [
        DataFusionError::Execution("Object Store error: it does not answer".to_owned()),
        DataFusionError::External(Box::new(corrupt)),
        DataFusionError::ResourcesExhausted("Object Store error: not enough memory".to_owned()),
    ];
    for error in others {
        assert!(!has_store_failed(&error), "{error}");
        assert!(!BatchError::Engine(error).is_retryable());
    }
}

#[tokio::test]
async fn each_read_that_fails_is_an_error_that_passes() {
    let mut world = World::new(57).await;
    world.send(60).await;
    world.archive().await;
    let plan = choose_one(&world, &["by_page"], Mode::Full, u64::MAX).await;
    for is_after in [false, true] {
        let mut failures = 0;
        for call in 1..200 {
            let worker = open(&world, &plan).await;
            let (part, name) = (worker.part(0).unwrap(), format!("unread-{is_after}-{call}"));
            world.faults.fail_call(call, is_after);
            let computed = worker.compute_part(&part, &name, &settings(1), &GroupProgress::default()).await;
            let has_failed = world.faults.has_failed();
            world.faults.fail_call(0, false);
            if !has_failed {
                break;
            }
            let errors: Vec<BatchError> = match computed {
                Ok(computed) => computed.into_iter().flat_map(|computed| computed.errors.into_values()).collect(),
                Err(error) => vec![error],
            };
            failures += errors.len();
            assert!(errors.iter().all(BatchError::is_retryable), "call {call}, after {is_after}: {errors:?}");
        }
        assert!(failures > 1, "computing reads files");
    }
}

/// Where rows are read again, what they counted for is read from the stored files as well, without a session.
#[tokio::test]
async fn each_read_that_fails_while_files_are_merged_is_an_error_that_passes() {
    let world = world_of_small_files(58, 12).await;
    let (source, on) = (world.source(), world.snapshot().await);
    for (is_read_again, is_after) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut failures = 0;
        for call in 1..400 {
            let merge = Merge { files: on.snapshot.files().to_vec(), is_read_again };
            let name = format!("unread-{is_read_again}-{is_after}-{call}");
            world.faults.fail_call(call, is_after);
            let rewritten = rewrite(&source, &on, merge, (&engine(), &name), &GroupProgress::default()).await;
            let has_failed = world.faults.has_failed();
            world.faults.fail_call(0, false);
            if !has_failed {
                break;
            }
            let Err(error) = rewritten else { continue };
            assert!(error.is_retryable(), "call {call}, read again {is_read_again}, after {is_after}: {error:?}");
            failures += 1;
        }
        assert!(failures > on.snapshot.files().len(), "merging reads each file");
    }
}
