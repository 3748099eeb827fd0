//! Row rules: what a principal is answered is what the groups that it sees would be answered alone, in rows and in SQL,
//! from batch, from realtime and from both; values of rules are compared in the type of their dimension.

use std::collections::{BTreeMap, BTreeSet};

use edge::{Grants, Names, Principal, RowRules};
use query_gateway::{GatewaySettings, SqlRequest};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;

use super::world::{Event, World, event, request};
use crate::support::principals::{reader, these};
use crate::support::seeds::seeds;

const PIPELINE: &str = r#"
CREATE UNBOUNDED EXTERNAL TABLE edits (
  time TIMESTAMP NOT NULL, page VARCHAR, "user" VARCHAR, added BIGINT, price DECIMAL(10, 2), weight DOUBLE
) STORED AS JSON LOCATION 'kafka://edits' OPTIONS (event_time 'time', partitions '2');

CREATE MATERIALIZED VIEW wide AS
SELECT page AS country, "user" AS person, added AS amount, added > 2 AS is_large,
       date_bin(INTERVAL '1 hour', time) AS hour, count(*) AS c, sum(added) AS s, max(added) AS largest,
       approx_distinct("user") AS users
FROM edits GROUP BY page, "user", added, added > 2, date_bin(INTERVAL '1 hour', time);

CREATE MATERIALIZED VIEW typed AS
SELECT added AS amount, price AS price, weight AS weight, CAST(time AS DATE) AS day,
       date_bin(INTERVAL '1 minute', time) AS instant, added > 2 AS is_large, "user" AS person, count(*) AS c
FROM edits GROUP BY added, price, weight, CAST(time AS DATE), date_bin(INTERVAL '1 minute', time), added > 2, "user";
"#;

const DIMENSIONS: [&str; 5] = ["country", "person", "amount", "is_large", "hour"];
const COUNTRIES: [&str; 5] = ["A", "B", "B%", "C, D", ""];
const PERSONS: [&str; 4] = ["ann", "bob", "O'Hara", "\"cat\""];

fn pool(dimension: &str) -> Vec<String> {
    let all: Vec<&str> = match dimension {
        "country" => COUNTRIES.into_iter().chain(["nowhere"]).collect(),
        "person" => PERSONS.into_iter().chain(["null"]).collect(),
        "amount" => vec!["0", "1", "2", "3", "4", "5", "99", "1.5", "many"],
        "is_large" => vec!["true", "false", "perhaps"],
        _ => vec!["2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z", "2026-01-01T02:00:00Z", "noon"],
    };
    all.into_iter().map(str::to_owned).collect()
}

fn random_event(random: &mut StdRng) -> Event {
    let user = random.random_bool(0.8).then(|| PERSONS[random.random_range(0..PERSONS.len())].to_owned());
    let page = COUNTRIES[random.random_range(0..COUNTRIES.len())];
    Event { user, ..event(random.random_range(0..180), page, "", random.random_range(0..6)) }
}

/// Sends some events to a partition, as one run.
async fn grow(world: &World, partition: i32, random: &mut StdRng) {
    let count = random.random_range(1..40);
    let events: Vec<Event> = (0..count).map(|_| random_event(random)).collect();
    world.send(partition, events);
    world.append_run(partition).await;
}

fn random_rules(random: &mut StdRng) -> RowRules {
    let mut rules = RowRules::new();
    for dimension in DIMENSIONS {
        if random.random_bool(0.4) {
            let pool = pool(dimension);
            let count = random.random_range(0..4);
            let allowed = (0..count).map(|_| pool[random.random_range(0..pool.len())].clone());
            rules.insert(dimension.to_owned(), allowed.collect::<BTreeSet<String>>());
        }
    }
    rules
}

fn ruled(rules: &RowRules) -> Principal {
    Principal::new("ruled", Grants { read: Names::All, operate: true, rows: rules.clone(), ..Grants::default() })
}

/// Whether a row of an answer over all dimensions is one that the rules let pass.
fn is_allowed(row: &Value, rules: &RowRules) -> bool {
    rules.iter().all(|(dimension, allowed)| match &row[dimension] {
        Value::Null => false,
        Value::String(text) => allowed.contains(text),
        other => allowed.contains(&other.to_string()),
    })
}

fn list(body: &Value) -> Vec<Value> {
    body["rows"].as_array().unwrap().clone()
}

/// All rows of an answer, with one more parameter if any.
async fn rows(world: &World, principal: &Principal, parameter: (&str, &str), more: Option<(&str, &str)>) -> Value {
    let all: Vec<(&str, &str)> = [parameter, ("limit", "10000")].into_iter().chain(more).collect();
    let answer = world.gateway.rows(principal, request("wide", &all)).await.unwrap();
    serde_json::from_str(&answer.to_json().unwrap()).unwrap()
}

async fn sql(world: &World, principal: &Principal, consistency: &str, sql: &str) -> Vec<Value> {
    let request = SqlRequest { consistency: Some(consistency.to_owned()), ..SqlRequest::new(sql) };
    let answer = world.gateway.sql(principal, request).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    list(&serde_json::from_str(&answer.to_json().unwrap()).unwrap())
}

/// What groups roll up to by country: records, sum and maximum.
type Rolled = BTreeMap<String, (i64, i64, i64)>;

fn roll_up(groups: &[Value]) -> Rolled {
    let mut rolled = Rolled::new();
    for group in groups {
        let (c, s, largest) = numbers(group);
        let total = rolled.entry(group["country"].to_string()).or_insert((0, 0, i64::MIN));
        *total = (total.0 + c, total.1 + s, total.2.max(largest));
    }
    rolled
}

fn numbers(row: &Value) -> (i64, i64, i64) {
    (row["c"].as_i64().unwrap(), row["s"].as_i64().unwrap(), row["largest"].as_i64().unwrap())
}

fn by_country(rows: &[Value]) -> Rolled {
    rows.iter().map(|row| (row["country"].to_string(), numbers(row))).collect()
}

/// Compares what one is answered who has rules with what follows from the whole.
async fn check(world: &World, rules: &RowRules, case: &str) {
    let (anyone, ruled) = (Principal::anyone(), ruled(rules));
    for parameter in [("parts", "true"), ("layer", "batch"), ("layer", "realtime")] {
        let whole = rows(world, &anyone, parameter, None).await;
        let expected: Vec<Value> = list(&whole).into_iter().filter(|row| is_allowed(row, rules)).collect();
        let seen = rows(world, &ruled, parameter, None).await;
        assert_eq!(list(&seen), expected, "{case}, {parameter:?}");
        assert_eq!(seen["groups"], expected.len(), "{case}, {parameter:?}");
        let rolled = rows(world, &ruled, parameter, Some(("by", "country"))).await;
        assert_eq!(by_country(&list(&rolled)), roll_up(&expected), "{case}, {parameter:?}");
    }
    let whole_sql = "SELECT * FROM wide ORDER BY country, person, amount, is_large, hour";
    let rolled_sql =
        "SELECT country, MEASURE(c) AS c, MEASURE(s) AS s, MEASURE(largest) AS largest FROM wide GROUP BY country";
    for consistency in ["latest", "batch"] {
        let whole = sql(world, &anyone, consistency, whole_sql).await;
        let expected: Vec<Value> = whole.into_iter().filter(|row| is_allowed(row, rules)).collect();
        assert_eq!(sql(world, &ruled, consistency, whole_sql).await, expected, "{case}, {consistency}");
        assert_eq!(by_country(&sql(world, &ruled, consistency, rolled_sql).await), roll_up(&expected), "{case}");
        let counted =
            sql(world, &ruled, consistency, "SELECT count(*) AS n, count(DISTINCT person) AS p FROM wide").await;
        let persons: BTreeSet<String> =
            expected.iter().filter_map(|row| Some(row["person"].as_str()?.to_owned())).collect();
        assert_eq!(counted[0]["n"], expected.len(), "{case}, {consistency}");
        assert_eq!(counted[0]["p"], persons.len(), "{case}, {consistency}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_seen_is_what_the_allowed_groups_alone_would_answer() {
    let mut hidden = 0;
    for seed in seeds(6) {
        let mut random = StdRng::seed_from_u64(seed);
        let world = World::on(PIPELINE, GatewaySettings::default());
        grow(&world, 0, &mut random).await;
        grow(&world, 1, &mut random).await;
        for step in 0..4 {
            if random.random_bool(0.5) {
                world.publish("wide", &[world.log_end(0), world.log_end(1)]).await;
            }
            grow(&world, random.random_range(0..2), &mut random).await;
            for _ in 0..3 {
                let rules = random_rules(&mut random);
                hidden += usize::from(!rules.is_empty());
                check(&world, &rules, &format!("TWOFOLD_SEED={seed}, step {step}, {rules:?}")).await;
            }
        }
    }
    assert!(hidden > 0, "no principal had rules");
}

#[tokio::test]
async fn a_filter_of_the_request_adds_to_the_rules_and_never_widens_them() {
    let world = World::on(PIPELINE, GatewaySettings::default());
    world.send(0, [event(0, "A", "ann", 1), event(0, "B", "ann", 1), event(0, "C", "bob", 1), event(0, "A", "bob", 1)]);
    world.append_run(0).await;
    world.own(1).await;
    let of_two = reader(Names::All, &[("country", &["A", "B"]), ("person", &["ann"])]);
    for (parameters, expected) in [
        (vec![], vec!["A", "B"]),
        (vec![("country", "A")], vec!["A"]),
        (vec![("country", "C")], vec![]),
        (vec![("country.in", "A,C")], vec!["A"]),
        (vec![("country.ne", "A")], vec!["B"]),
        (vec![("country.like", "%")], vec!["A", "B"]),
        (vec![("person", "bob")], vec![]),
        (vec![("country", "A"), ("person", "bob")], vec![]),
        (vec![("person.is", "not_null"), ("country.ge", "B")], vec!["B"]),
        (vec![("country.is", "null")], vec![]),
    ] {
        let answer = world.gateway.rows(&of_two, request("wide", &parameters)).await.unwrap();
        let body: Value = serde_json::from_str(&answer.to_json().unwrap()).unwrap();
        let shown: Vec<String> = list(&body).iter().map(|row| row["country"].as_str().unwrap().to_owned()).collect();
        assert_eq!(shown, expected, "{parameters:?}");
        assert_eq!(answer.extent.groups, expected.len(), "{parameters:?}");
    }
}

/// 3 by ann at midnight of the first day, 5 by nobody then, and 1 by bob an hour into the second.
async fn typed_world() -> World {
    let world = World::on(PIPELINE, GatewaySettings::default());
    let unnamed = Event { user: None, ..event(0, "", "", 5) };
    world.send(0, [event(0, "", "ann", 3), event(25 * 60, "", "bob", 1), unnamed]);
    world.append_run(0).await;
    world.own(1).await;
    world
}

/// Fails unless so many groups are seen with one rule, in rows and in SQL.
async fn check_seen(world: &World, (dimension, values): (&str, &[&str]), expected: usize) {
    let principal = reader(Names::All, &[(dimension, values)]);
    let answer = world.gateway.rows(&principal, request("typed", &[])).await.unwrap();
    assert_eq!(answer.rows.num_rows(), expected, "{dimension}: {values:?}");
    let counted = SqlRequest::new("SELECT count(*) AS n FROM typed");
    let counted = world.gateway.sql(&principal, counted).await.unwrap().to_json().unwrap();
    assert!(counted.starts_with(&format!(r#"{{"rows":[{{"n":{expected}}}]"#)), "{dimension}: {values:?}: {counted}");
}

#[tokio::test]
async fn values_are_compared_in_the_type_of_their_dimension_and_null_is_never_seen() {
    let world = typed_world().await;
    for (dimension, values, expected) in [
        ("amount", vec!["3"], 1),
        ("amount", vec!["3", "1"], 2),
        ("amount", vec!["three", "3.5", "", "null", "NULL", "99999999999999999999"], 0),
        ("amount", vec!["three", "1"], 1),
        ("price", vec!["0.35"], 1),
        ("price", vec!["0.350"], 1),
        ("price", vec!["0.36"], 0),
        ("weight", vec!["1.5", "0.50"], 2),
        ("is_large", vec!["true"], 2),
        ("is_large", vec!["false"], 1),
        ("is_large", vec!["2"], 0),
        ("day", vec!["2026-01-02"], 1),
        ("day", vec!["2026-01-32"], 0),
        ("instant", vec!["2026-01-01T00:00:00Z"], 2),
        ("instant", vec!["2026-01-01"], 2),
        ("instant", vec!["2026-01-01T01:00:00+01:00"], 2),
        ("instant", vec!["1767225600"], 2),
        ("instant", vec!["2026-01-01 00:00:00.000001"], 0),
        ("person", vec!["ann"], 1),
        ("person", vec!["ann "], 0),
        ("person", vec!["Ann", "ANN"], 0),
        ("person", vec!["", "null", "NULL"], 0),
        ("person", vec!["ann", "bob", "null"], 2),
        ("person", vec!["%"], 0),
        ("person", vec![], 0),
    ] {
        check_seen(&world, (dimension, &values), expected).await;
    }
}

/// Makes values that nothing has.
type Other<'a> = &'a dyn Fn(usize) -> String;

#[tokio::test]
async fn many_values_are_compared_as_few_are() {
    let world = typed_world().await;
    let number = |at: usize| (100 + at).to_string();
    let day = |at: usize| format!("2025-01-{:02}", at + 1);
    let name = |at: usize| format!("ann{at}");
    let cases: [(&str, [&str; 2], Other<'_>, usize); 6] = [
        ("amount", ["3", "1"], &number, 2),
        ("price", ["0.15", "0.55"], &number, 2),
        ("weight", ["1.5", "2.5"], &number, 2),
        ("person", ["bob", "null"], &name, 1),
        ("day", ["2026-01-01", "x"], &day, 2),
        ("instant", ["2026-01-02T01:00:00Z", "x"], &day, 1),
    ];
    for (dimension, values, other, expected) in cases {
        let others: Vec<String> = (0..20).map(other).collect();
        let values: Vec<&str> = values.into_iter().chain(others.iter().map(String::as_str)).collect();
        check_seen(&world, (dimension, &values), expected).await;
    }
}

#[tokio::test]
async fn a_view_without_a_ruled_dimension_does_not_exist() {
    const SOME: &[&str] = &["x"];
    let world = World::on(PIPELINE, GatewaySettings::default());
    world.own(0).await;
    world.own(1).await;
    for (rules, expected) in [
        (vec![], vec!["wide", "typed"]),
        (vec!["person"], vec!["wide", "typed"]),
        (vec!["country"], vec!["wide"]),
        (vec!["person", "price"], vec!["typed"]),
        // Neither a measure nor a column of the source is a dimension.
        (vec!["c"], vec![]),
        (vec!["page"], vec![]),
        (vec!["country", "price"], vec![]),
        (vec!["Country"], vec![]),
    ] {
        let rules: Vec<(&str, &[&str])> = rules.into_iter().map(|rule| (rule, SOME)).collect();
        let principal = reader(Names::All, &rules);
        let views = world.gateway.views(&principal).await;
        assert_eq!(views.iter().map(|view| view.view.as_str()).collect::<Vec<_>>(), expected, "{rules:?}");
        let status = world.gateway.status(&principal).await;
        assert_eq!(status.views.iter().map(|view| view.view.as_str()).collect::<Vec<_>>(), expected, "{rules:?}");
        let tables = world.gateway.sql(&principal, SqlRequest::new("SHOW TABLES")).await.unwrap();
        assert_eq!(tables.rows.num_rows(), expected.len(), "{rules:?}");
    }
    let of_none = reader(these(&["nothing"]), &[]);
    assert!(world.gateway.views(&of_none).await.is_empty());
}

#[tokio::test]
async fn a_text_that_others_asked_before_is_answered_to_each_by_its_own_rules() {
    let world = World::on(PIPELINE, GatewaySettings::default());
    world.send(0, [event(0, "A", "ann", 1), event(0, "B", "ann", 2), event(0, "C", "bob", 4)]);
    world.append_run(0).await;
    world.own(1).await;
    let of = |country: &str| reader(Names::All, &[("country", &[country][..])]);
    let asks =
        [(Principal::anyone(), 7), (of("A"), 1), (of("C"), 4), (of("A"), 1), (of("D"), 0), (Principal::anyone(), 7)];
    for (principal, expected) in asks.iter().chain(asks.iter()) {
        let request = SqlRequest::new("SELECT coalesce(sum(s), 0) AS s FROM wide");
        let text = world.gateway.sql(principal, request).await.unwrap().to_json().unwrap();
        assert!(text.starts_with(&format!(r#"{{"rows":[{{"s":{expected}}}]"#)), "{principal:?}: {text}");
    }
}

#[tokio::test]
async fn a_cursor_of_another_shows_no_row_that_is_hidden() {
    let world = World::on(PIPELINE, GatewaySettings::default());
    world.send(0, ["A", "B", "C", "C, D"].map(|country| event(0, country, "ann", 1)));
    world.append_run(0).await;
    world.own(1).await;
    let of_two = reader(Names::All, &[("country", &["A", "C"])]);
    let first = [("by", "country"), ("limit", "1")];
    let whole = world.gateway.rows(&Principal::anyone(), request("wide", &first)).await.unwrap();
    let next = whole.extent.next.unwrap();
    let page = request("wide", &[first[0], first[1], ("cursor", next.as_str())]);
    let answer = world.gateway.rows(&of_two, page).await.unwrap();
    let text = answer.to_json().unwrap();
    assert!(text.starts_with(r#"{"rows":[{"country":"C","#), "{text}");
    assert_eq!((answer.extent.groups, answer.extent.next), (2, None), "{text}");
}
