//! A realtime store in memory without room: status and answers name it and the setting to raise; raised, all is whole.

use twofold::config::RealtimeSettings;

use super::*;

const PAGES: usize = 400;

/// One request of events, each of a page of its own.
fn request(number: usize) -> Vec<String> {
    let line = |page: usize| {
        format!(r#"{{"id":"{number}-{page}","time":"2026-01-05T10:00:00Z","page":"/{number}/{page}","bytes":1}}"#)
    };
    (0..PAGES).map(line).collect()
}

fn names_the_way_out(text: &str) -> bool {
    text.contains("realtime store is full") && text.contains("`realtime.memory_limit`")
}

fn is_full(status: &Value) -> bool {
    let problems = status["problems"].as_array().unwrap();
    let mut full = problems.iter().filter(|trouble| trouble["kind"] == "realtime-store-full");
    full.any(|trouble| names_the_way_out(&format!("{} {}", trouble["problem"], trouble["way_out"])))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_realtime_store_is_named_with_the_setting_that_makes_room() {
    let world = World::new(Kind::Embedded, PIPELINE).await.expect("the embedded parts are always there");
    let mut config = world.config();
    config.realtime = RealtimeSettings::Memory { limit_bytes: 200_000 };
    let (system, client) = world.start_with(config).await;
    let deadline = Instant::now() + DEADLINE;
    let mut requests = 0;
    let token = loop {
        let lines = request(requests);
        let receipt = send(&client, &lines.iter().map(String::as_str).collect::<Vec<_>>()).await;
        requests += 1;
        let status = client.get("/v1/status", &[]).await.unwrap();
        if is_full(&status) {
            break receipt.token;
        }
        assert!(Instant::now() < deadline, "never full: {status:#}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    // Not an answer that waits for the token: it would wait for a publication.
    loop {
        let reasons = match client.get("/v1/views/hits_by_page/rows", &[("limit", "1")]).await {
            Ok(answer) => answer["envelope"]["stale_reasons"].to_string(),
            Err(error) => format!("{error:#}"),
        };
        if names_the_way_out(&reasons) {
            break;
        }
        assert!(Instant::now() < deadline, "the answer does not name it: {reasons}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let readiness = client.get("/readyz", &[]).await.unwrap();
    assert_eq!((&readiness["ready"], &readiness["roles"]["speed"]), (&json!(true), &json!(false)), "{readiness}");
    system.stop().await.unwrap();

    // As told.
    let mut config = world.config();
    config.realtime = RealtimeSettings::Memory { limit_bytes: 1 << 30 };
    let (system, client) = world.start_with(config).await;
    let parameters = [("by", ""), ("after", token.as_str()), ("timeout", "30s")];
    let answer = client.get("/v1/views/hits_by_page/rows", &parameters).await.unwrap();
    assert_eq!(answer["rows"][0]["hits"], json!(requests * PAGES), "{}", answer["envelope"]);
    let deadline = Instant::now() + DEADLINE;
    loop {
        let status = client.get("/v1/status", &[]).await.unwrap();
        if status["problems"] == json!([]) {
            break;
        }
        assert!(Instant::now() < deadline, "still wrong: {status:#}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    system.stop().await.unwrap();
}
