//! Rejected records in SQL, of a real master dataset: the same as their route shows, to the same callers; counted
//! exactly where all were read, and said so where not.

use edge::{AllowedOrigins, Origins};
use query_gateway::{Gateway, GatewayComponents, GatewaySettings, NoStatus};
use twofold::rejected_reader::{LakeRejected, MAX_PAYLOADS};

use super::*;

fn gateway(world: &World) -> Arc<Gateway> {
    let lake = world.surroundings.lake.clone();
    let components = GatewayComponents {
        pipeline: world.surroundings.pipeline.clone(),
        lake: lake.clone(),
        store: world.surroundings.realtime(1 << 30, 7).0,
        status: Arc::new(NoStatus),
        rejected: Some(Arc::new(LakeRejected { lake })),
        runs: None,
        clock: world.surroundings.clock.clone(),
    };
    Gateway::new(components, GatewaySettings::default()).unwrap()
}

/// Asks over HTTP from an address, with a header.
async fn ask(
    gateway: Arc<Gateway>,
    (peer, access): (Option<SocketAddr>, Access),
    sql: &str,
    header: Option<(&str, &str)>,
) -> (u16, Value) {
    let pages = query_gateway::page_rules(AllowedOrigins::everywhere(Origins::Any));
    let router = of_peer(guard(query_gateway::router(gateway, &[]), access, Audit::Off, vec![pages]), peer);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1/sql", listener.local_addr().unwrap());
    let stop = CancellationToken::new();
    let served = axum::serve(listener, router).with_graceful_shutdown(stop.clone().cancelled_owned());
    tokio::spawn(served.into_future());
    let request = reqwest::Client::new().post(url).json(&json!({ "sql": sql }));
    let request = header.into_iter().fold(request, |request, (name, value)| request.header(name, value));
    let response = request.send().await.unwrap();
    let answer = (response.status().as_u16(), response.json().await.unwrap());
    stop.cancel();
    answer
}

/// What a caller on this machine is answered: the rows, and what is said of the records that were read.
async fn rows(world: &World, sql: &str) -> (Value, Value) {
    let here = SocketAddr::from(([127, 0, 0, 1], 1234));
    let (status, mut answer) = ask(gateway(world), (Some(here), Access::Local), sql, None).await;
    assert_eq!(status, 200, "{sql}: {answer}");
    (answer["rows"].take(), answer["envelope"]["rejected"].take())
}

#[tokio::test]
async fn counts_and_records_are_those_of_the_route() {
    let mut world = World::new();
    let bad = bad_input();
    world.archive([GOOD, GOOD]).await;
    world.archive(bad.iter().map(|(payload, ..)| payload.clone())).await;
    world.archive([GOOD]).await;
    let route = world.rejected("?limit=100").await;

    let counts = "SELECT reason, count(*) AS records FROM system.rejected WHERE source = 'log' GROUP BY reason \
                  ORDER BY records DESC, reason";
    let (counted, read) = rows(&world, counts).await;
    assert_eq!(counted, route["reasons"]);
    let all = json!({
        "source": "log", "reason": null, "total": bad.len(), "rows": bad.len(), "complete": true,
        "archived": route["archived"], "withheld": null, "notes": [route["note"]],
    });
    assert_eq!(read, json!([all]));

    let (listed, _) = rows(&world, "SELECT * FROM system.rejected ORDER BY time DESC").await;
    let shown = route["records"].as_array().unwrap();
    assert_eq!(listed.as_array().unwrap().len(), shown.len());
    for (row, record) in listed.as_array().unwrap().iter().zip(shown) {
        for name in ["partition", "reason", "column", "error", "payload", "encoding", "payload_bytes", "truncated"] {
            assert_eq!(row[name], record[name], "{name}: {record:#}");
        }
        assert_eq!((&row["source"], &row["log_offset"]), (&json!("log"), &record["offset"]));
        assert_eq!(row["time"], json!(record["time"].as_str().unwrap().replace(".000Z", "Z")));
    }
    // The recipe of docs/operations.md.
    let by_hour = "SELECT date_trunc('hour', time) AS hour, reason, count(*) AS records FROM system.rejected \
                   WHERE source = 'log' GROUP BY 1, 2 ORDER BY 1, 2";
    let (by_hour, _) = rows(&world, by_hour).await;
    assert_eq!(by_hour[0], json!({"hour": "2026-03-01T12:00:00Z", "reason": "ambiguous", "records": 1}));
    let of_reason = "SELECT \"column\", payload FROM system.rejected WHERE reason = 'no_value'";
    let (of_reason, read) = rows(&world, of_reason).await;
    assert_eq!(of_reason, json!([{"column": "k", "payload": r#"{"time":"2026-03-01T12:00:00Z"}"#}]));
    assert_eq!((&read[0]["reason"], &read[0]["rows"]), (&json!("no_value"), &json!(1)));
    // A kind that there is not leaves nothing of all that was read.
    let (none, read) = rows(&world, "SELECT time FROM system.rejected WHERE reason = 'Wrong'").await;
    assert_eq!((&none, &read[0]["reason"]), (&json!([]), &Value::Null));
}

#[tokio::test]
async fn what_is_not_archived_yet_is_said_in_sql() {
    let mut world = World::new();
    let counts = "SELECT count(*) AS n FROM system.rejected";
    let (none, read) = rows(&world, counts).await;
    assert_eq!((&none, &read[0]["total"], &read[0]["archived"]), (&json!([{"n": 0}]), &json!(0), &json!({})));
    assert!(read[0]["notes"][0].as_str().unwrap().contains("nothing of this source is archived yet"), "{read}");

    world.archive([GOOD, OOPS, GOOD]).await;
    let (one, read) = rows(&world, counts).await;
    assert_eq!((&one, &read[0]["archived"]), (&json!([{"n": 1}]), &json!({"0": 2, "1": 1})));
    assert!(read[0]["notes"][0].as_str().unwrap().contains("is not archived yet"), "{read}");
    world.read.lock().unwrap().clear();
    assert_eq!(rows(&world, "SELECT count(*) AS n FROM system.rejected WHERE source = 'x'").await.0, json!([{"n": 0}]));
    assert!(world.read.lock().unwrap().is_empty(), "a source that is left out is read by nobody");
}

/// Each way that the answer names does what it says.
#[tokio::test]
async fn records_beyond_the_bounds_are_said_with_the_ways_to_them() {
    let mut world = World::new();
    // The oldest are of a rare kind.
    world.archive([OOPS, OOPS, OOPS]).await;
    world.archive(vec![""; MAX_PAYLOADS + 5]).await;
    let total = MAX_PAYLOADS + 8;
    let (cut, read) = rows(&world, "SELECT count(*) AS n, max(payload_bytes) AS largest FROM system.rejected").await;
    assert_eq!(cut, json!([{"n": MAX_PAYLOADS, "largest": 0}]));
    assert_eq!((&read[0]["complete"], &read[0]["total"]), (&json!(false), &json!(total)));
    let note = read[0]["notes"][0].as_str().unwrap();
    for part in ["newest 1000 records", "WHERE reason = '...'", "without the columns of their payload"] {
        assert!(note.contains(part), "{part}: {note}");
    }

    let of_reason = "SELECT count(*) AS n, max(payload) AS payload FROM system.rejected WHERE reason = 'wrong_type'";
    let (rare, read) = rows(&world, of_reason).await;
    assert_eq!((rare, &read[0]["complete"]), (json!([{"n": 3, "payload": OOPS}]), &json!(true)));
    let without = "SELECT reason, count(*) AS n FROM system.rejected GROUP BY reason ORDER BY n";
    let (counted, read) = rows(&world, without).await;
    let expected = json!([{"reason": "wrong_type", "n": 3}, {"reason": "empty", "n": MAX_PAYLOADS + 5}]);
    assert_eq!((counted, &read[0]["complete"]), (expected, &json!(true)));
}

#[tokio::test]
async fn sql_tells_words_and_payloads_to_operators_and_others_of_no_such_table() {
    let mut world = World::new();
    world.archive([OOPS, ""]).await;
    let sql = "SELECT source, log_offset, reason, \"column\", error, payload, encoding, payload_bytes, truncated \
               FROM system.rejected ORDER BY reason";
    for (peer, header) in
        [(Some("10.0.0.7:1"), None), (None, None), (Some("127.0.0.1:1"), Some(("X-Forwarded-For", "10.0.0.7")))]
    {
        let peer: Option<SocketAddr> = peer.map(|peer| peer.parse().unwrap());
        let (status, answer) = ask(gateway(&world), (peer, Access::Local), sql, header).await;
        assert_eq!((status, &answer["type"]), (404, &json!("urn:twofold:problem:unknown")), "{answer}");
    }
    for (peer, access, header, is_shown) in [
        (Some("127.0.0.1:1"), Access::Local, None, true),
        (Some("[::1]:1"), Access::Local, None, true),
        // A browser speaks for whatever page it shows.
        (Some("127.0.0.1:1"), Access::Local, Some(("Origin", "http://127.0.0.1:8080")), false),
        (Some("10.0.0.7:1"), Access::Open, None, true),
        (None, Access::Open, None, true),
    ] {
        let peer: Option<SocketAddr> = peer.map(|peer| peer.parse().unwrap());
        let (status, answer) = ask(gateway(&world), (peer, access.clone()), sql, header).await;
        let (rows, read) = (&answer["rows"], &answer["envelope"]["rejected"][0]);
        assert_eq!((status, &rows[0]["reason"], &rows[1]["reason"]), (200, &json!("empty"), &json!("wrong_type")));
        assert_eq!((&read["total"], &read["complete"]), (&json!(2), &json!(true)), "counts are for all");
        assert_eq!(read["withheld"].is_null(), is_shown, "{peer:?} {header:?}: {read}");
        for name in ["column", "error", "payload", "encoding", "payload_bytes", "truncated"] {
            assert_eq!(rows[1][name].is_null(), !is_shown, "{name}, {peer:?} {header:?}: {rows}");
        }
        assert!(is_shown || !answer.to_string().contains("oops"), "{answer}");
        // Nor can they be asked for by what they hold.
        let guess = "SELECT count(*) AS n FROM system.rejected WHERE payload LIKE '%oops%' OR error LIKE '%oops%'";
        let (_, guessed) = ask(gateway(&world), (peer, access), guess, header).await;
        assert_eq!(guessed["rows"], json!([{ "n": usize::from(is_shown) }]), "{peer:?} {header:?}");
    }
}
