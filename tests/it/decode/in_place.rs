//! Long work of the processor: others go on beside it where there are threads for them.

use std::sync::mpsc;

use ::records::in_place;

use crate::support::process::DEADLINE;

/// Of a body that takes long.
const LARGE: usize = 1 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn tasks_behind_long_work_go_on_beside_it() {
    let working = tokio::spawn(async {
        let (sender, receiver) = mpsc::channel();
        // Behind this task, on the only thread there is.
        let other = tokio::spawn(async move { sender.send("went on") });
        let said = in_place(LARGE, || receiver.recv_timeout(DEADLINE));
        (said, other.await)
    });
    let (said, other) = working.await.unwrap();
    assert_eq!((said, other.unwrap()), (Ok("went on"), Ok(())));
}

#[tokio::test]
async fn on_one_thread_the_work_is_done_where_it_is() {
    assert_eq!(in_place(LARGE, || "done"), "done");
}

#[test]
fn without_a_runtime_the_work_is_done_where_it_is() {
    assert_eq!(in_place(LARGE, || "done"), "done");
}
