//! A topic that was replaced, from the stop of its source to the answers of its next life.

use std::process::Output;

use super::*;
use crate::support::process::binary;

impl World {
    /// `twofold source reset hits`, as an operator runs it.
    async fn reset(&self, arguments: &[&str]) -> Output {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &self.pipeline).unwrap();
        let mut command = tokio::process::Command::new(binary());
        command.args(["source", "reset", "hits"]).args(arguments).arg("--pipeline").arg(file.path());
        command.arg("--data-dir").arg(self.folder.path()).envs(self.parts.settings()).kill_on_drop(true);
        tokio::time::timeout(DEADLINE, command.output()).await.unwrap().unwrap()
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn sum(offsets: &Value) -> i64 {
    offsets.as_object().unwrap().values().filter_map(Value::as_i64).sum()
}

/// What its error says to do, and what then happens to both layers and to readers.
pub async fn a_source_whose_topic_was_replaced_goes_on_after_a_reset(kind: Kind) {
    let Some(world) = World::new(kind, PIPELINE).await else { return };
    let (system, client) = world.start().await;
    let receipt = send(&client, &EVENTS).await;
    let before = publish_all(&system, &client, &receipt.token).await;
    if kind == Kind::Embedded {
        let refused = world.reset(&[]).await;
        assert!(!refused.status.success() && said(&refused).contains("in use by another process"), "{refused:?}");
    }
    system.stop().await.unwrap();
    let refused = world.reset(&[]).await;
    assert!(!refused.status.success() && said(&refused).contains("is the one that is archived"), "{refused:?}");

    world.replace_topic().await;
    let (system, client) = world.start().await;
    let others = [
        r#"{"id":"5","time":"2026-01-05T10:03:00Z","page":"/","bytes":5}"#,
        // Sent again to the new topic: a copy of what the former life counted.
        EVENTS[0],
        r#"{"id":"6","time":"2026-01-05T10:03:00Z","page":"/about","bytes":7}"#,
    ];
    world.append(&system, &others).await;
    let reason = until_stopped(&client).await;
    assert!(reason.contains("`twofold source reset`"), "{reason}");
    let stopped = client.get("/v1/views/hits_by_page/rows", &[("order", "-hits")]).await.unwrap();
    assert_eq!(stopped["rows"], before["rows"], "nothing of the new topic is in an answer");
    system.stop().await.unwrap();

    let reset = world.reset(&[]).await;
    assert!(reset.status.success() && said(&reset).contains("life 1"), "{reset:?}");
    let again = world.reset(&[]).await;
    assert!(again.status.success() && said(&again).contains("nothing to reset"), "{again:?}");

    let (system, client) = world.start().await;
    let receipt = send(&client, &[r#"{"id":"7","time":"2026-01-05T10:04:00Z","page":"/","bytes":8}"#]).await;
    // The token of a life is one for the reader who waits: everything of the new topic is in the answer.
    let live = rows(&client, &receipt.token).await;
    assert!(sum(&live["envelope"]["head"]) > sum(&before["envelope"]["head"]), "{live:#}");
    let settled = publish_all(&system, &client, &receipt.token).await;
    let expected = json!([
        {"page": "/", "hits": 4, "bytes": 133, "ids": 4},
        {"page": "/about", "hits": 2, "bytes": 7, "ids": 2},
    ]);
    assert_eq!(settled["rows"], expected, "{:#}", settled["envelope"]);
    assert_eq!(settled["envelope"]["holes"], json!([]));
    let status = client.get("/v1/status", &[]).await.unwrap();
    assert_eq!(status["system"]["stopped_sources"], json!({}));
    system.stop().await.unwrap();
}

/// What is left of a topic that lost its newest records was counted already: `--from end`.
pub async fn a_reset_from_the_end_counts_what_comes(kind: Kind) {
    let Some(world) = World::new(kind, PIPELINE).await else { return };
    let (system, client) = world.start().await;
    let receipt = send(&client, &EVENTS).await;
    publish_all(&system, &client, &receipt.token).await;
    system.stop().await.unwrap();
    world.replace_topic().await;
    let (system, client) = world.start().await;
    let others =
        [1, 2, 3, 4, 5, 6].map(|id| format!(r#"{{"id":"o{id}","time":"2026-01-05T10:00:00Z","page":"/old"}}"#));
    world.append(&system, &others.each_ref().map(String::as_str)).await;
    let reason = until_stopped(&client).await;
    assert!(reason.contains("`twofold source reset`"), "{reason}");
    system.stop().await.unwrap();
    let reset = world.reset(&["--from", "end"]).await;
    assert!(reset.status.success(), "{reset:?}");
    let (system, client) = world.start().await;
    let receipt = send(&client, &[r#"{"id":"5","time":"2026-01-05T10:03:00Z","page":"/","bytes":5}"#]).await;
    let settled = publish_all(&system, &client, &receipt.token).await;
    let expected = json!([
        {"page": "/", "hits": 3, "bytes": 125, "ids": 3},
        {"page": "/about", "hits": 1, "bytes": null, "ids": 1},
    ]);
    assert_eq!(settled["rows"], expected, "{:#}", settled["envelope"]);
    system.stop().await.unwrap();
}
