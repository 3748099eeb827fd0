//! A realtime store without room: status and answers name it and the setting to raise; raised, or after a publication,
//! all is whole.

use serving_layer::redis::RedisSettings;
use twofold::config::RealtimeSettings;

use crate::support::redis::RedisServer;

use super::*;

const PAGES: usize = 400;

/// One request of events, each of a page of its own.
fn request(number: usize) -> Vec<String> {
    let line = |page: usize| {
        format!(r#"{{"id":"{number}-{page}","time":"2026-01-05T10:00:00Z","page":"/{number}/{page}","bytes":1}}"#)
    };
    (0..PAGES).map(line).collect()
}

fn names_the_way_out(text: &str, setting: &str) -> bool {
    text.contains("realtime store is full") && text.contains(setting)
}

fn is_full(status: &Value, setting: &str) -> bool {
    let problems = status["problems"].as_array().unwrap();
    let mut full = problems.iter().filter(|trouble| trouble["kind"] == "realtime-store-full");
    full.any(|trouble| names_the_way_out(&format!("{} {}", trouble["problem"], trouble["way_out"]), setting))
}

async fn send_one(client: &Client, requests: &mut usize) -> String {
    let lines = request(*requests);
    let receipt = send(client, &lines.iter().map(String::as_str).collect::<Vec<_>>()).await;
    *requests += 1;
    receipt.token
}

/// Sends until status, and then an answer, name the store and the setting. The newest token.
async fn fill(client: &Client, requests: &mut usize, setting: &str) -> String {
    let deadline = Instant::now() + DEADLINE;
    let token = loop {
        let token = send_one(client, requests).await;
        let status = client.get("/v1/status", &[]).await.unwrap();
        if is_full(&status, setting) {
            break token;
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
        if names_the_way_out(&reasons, setting) {
            return token;
        }
        assert!(Instant::now() < deadline, "the answer does not name it: {reasons}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Everything that was sent is answered, and nothing is wrong any more.
async fn check_whole(client: &Client, token: &str, requests: usize) {
    let parameters = [("by", ""), ("after", token), ("timeout", "30s")];
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
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_realtime_store_is_named_with_the_setting_that_makes_room() {
    let world = World::new(Kind::Embedded, PIPELINE).await.expect("the embedded parts are always there");
    let mut config = world.config();
    config.realtime = RealtimeSettings::Memory { limit_bytes: 200_000 };
    let (system, client) = world.start_with(config).await;
    let mut requests = 0;
    let token = fill(&client, &mut requests, "`realtime.memory_limit`").await;
    let readiness = client.get("/readyz", &[]).await.unwrap();
    assert_eq!((&readiness["ready"], &readiness["roles"]["speed"]), (&json!(true), &json!(false)), "{readiness}");
    system.stop().await.unwrap();

    // As told.
    let mut config = world.config();
    config.realtime = RealtimeSettings::Memory { limit_bytes: 1 << 30 };
    let (system, client) = world.start_with(config).await;
    check_whole(&client, &token, requests).await;
    system.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_realtime_store_has_room_again_after_a_publication() {
    let world = World::new(Kind::Embedded, PIPELINE).await.expect("the embedded parts are always there");
    let mut config = world.config();
    config.realtime = RealtimeSettings::Memory { limit_bytes: 200_000 };
    config.speed.courtesy = Duration::from_millis(200);
    let (system, client) = world.start_with(config).await;
    let mut requests = 0;
    let token = fill(&client, &mut requests, "`realtime.memory_limit`").await;
    publish_all(&system, &client, &token).await;
    let token = send_one(&client, &mut requests).await;
    check_whole(&client, &token, requests).await;
    system.stop().await.unwrap();
}

/// Redis is told of more memory while all of it runs.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_redis_is_named_with_its_own_setting_and_goes_on_with_more_memory() {
    let server = RedisServer::start().await;
    let world = World::new(Kind::Embedded, PIPELINE).await.expect("the embedded parts are always there");
    let mut config = world.config();
    config.realtime = RealtimeSettings::Redis(RedisSettings { url: server.url(), ..RedisSettings::default() });
    let (system, client) = world.start_with(config).await;
    let facts: String = server.run(&["INFO", "memory"]).await;
    let used = facts.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap();
    let limit = used.trim().parse::<u64>().unwrap() + 500_000;
    server.configure("maxmemory", &limit.to_string()).await;
    let mut requests = 0;
    let token = fill(&client, &mut requests, "`maxmemory`").await;
    server.configure("maxmemory", "1gb").await;
    check_whole(&client, &token, requests).await;
    system.stop().await.unwrap();
}
