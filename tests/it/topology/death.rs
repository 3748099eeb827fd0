//! A role that dies while others are being started: whoever started them is told which one, and of what.

use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use tokio::task::yield_now;
use tokio_util::sync::CancellationToken;
use twofold::run::{Stopping, Supervisor, TaskStarter, cause_of_death, supervise};
use twofold::stage::{RoleError, Stage};

/// Starts tasks until one cannot be started.
async fn start_until_refused(starter: TaskStarter) -> anyhow::Error {
    loop {
        let wait = |stop: CancellationToken| async move {
            stop.cancelled().await;
            Ok(())
        };
        if let Err(error) = starter.start(Stage::Speed, "speed worker of hits", wait).await {
            return error.context("cannot start speed of hits");
        }
        yield_now().await;
    }
}

#[tokio::test]
async fn a_start_that_fails_since_a_role_died_names_the_role_and_its_error() {
    let mut supervisor = Supervisor::new(Arc::default(), Duration::from_secs(30));
    let starter = supervisor.starter();
    supervisor.start(Stage::Archive, "archive of hits", async {
        Err(RoleError::Failed(anyhow!("no space left").context("cannot write the master dataset")))
    });
    let mut supervisor = supervise(supervisor, CancellationToken::new());
    let error = tokio::time::timeout(Duration::from_secs(60), start_until_refused(starter)).await.unwrap();
    assert!(error.is::<Stopping>(), "{error:#}");
    let cause = format!("{:#}", cause_of_death(error, &mut supervisor).await);
    assert_eq!(cause, "archive of hits failed: cannot write the master dataset: no space left");
}

#[tokio::test]
async fn a_start_that_fails_for_itself_says_so_while_the_others_run() {
    let supervisor = Supervisor::new(Arc::default(), Duration::from_secs(30));
    let stop = CancellationToken::new();
    let mut supervisor = supervise(supervisor, stop.clone());
    let cause = cause_of_death(anyhow!("source hits cannot be used"), &mut supervisor).await;
    assert_eq!(cause.to_string(), "source hits cannot be used");
    stop.cancel();
    let asked_to_stop = supervisor.join_next().await.unwrap().unwrap();
    assert!(asked_to_stop.is_ok(), "{asked_to_stop:?}");
}
