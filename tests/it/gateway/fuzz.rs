//! Questions that are nearly right, over HTTP: each is answered or refused with words, none is an error of ours.

use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use super::http::serve;
use crate::support::mutate::mutated;
use crate::support::seeds::seeds;

const SQL: &str = include_str!("../../corpus/sql.txt");
const ROWS: &str = include_str!("../../corpus/rows.txt");

/// An answer, or a refusal that says why. What runs too long or takes too much is refused, too.
fn check(question: &str, (status, kind, text): (u16, String, String)) {
    let is_ours = status == 500 || text.contains("the engine failed on this query");
    assert!(!is_ours, "{question}\n{text}");
    let body: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{question}\n{error}: {text}"));
    if status == 200 {
        assert!(body["rows"].is_array(), "{question}\n{text}");
    } else {
        let is_told = kind == "application/problem+json" && !body["detail"].as_str().unwrap_or_default().is_empty();
        assert!(is_told, "{question}\n{status}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_sql_is_an_error_of_ours() {
    let (served, corpus) = (serve().await, SQL.lines().collect::<Vec<_>>());
    for seed in seeds(400) {
        let sql = mutated(&corpus, &mut StdRng::seed_from_u64(seed));
        let answer = served.post_sql(json!({ "sql": sql }).to_string()).await;
        check(&format!("TWOFOLD_SEED={seed}: {sql}"), answer);
    }
    for sql in corpus {
        check(sql, served.post_sql(json!({ "sql": sql }).to_string()).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_parameters_are_an_error_of_ours() {
    let (served, corpus) = (serve().await, ROWS.lines().collect::<Vec<_>>());
    for seed in seeds(1_500) {
        let query = mutated(&corpus, &mut StdRng::seed_from_u64(seed));
        // As a client must write it; what it means stays.
        let sent: String = query
            .bytes()
            .map(|byte| match byte {
                b'!'..=b'~' if byte != b'#' => char::from(byte).to_string(),
                _ => format!("%{byte:02X}"),
            })
            .collect();
        let answer = served.get(&format!("/v1/views/by_page/rows?{sent}")).await;
        check(&format!("TWOFOLD_SEED={seed}: {query}"), answer);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_body_of_a_question_is_an_error_of_ours() {
    let served = serve().await;
    let corpus =
        [r#"{"sql": "SELECT 1 AS one"}"#, r#"{"sql": "SELECT * FROM totals", "after": "7b7d", "timeout": "1ms"}"#];
    for seed in seeds(500) {
        let body = mutated(&corpus, &mut StdRng::seed_from_u64(seed));
        check(&format!("TWOFOLD_SEED={seed}: {body}"), served.post_sql(body.clone()).await);
    }
}
