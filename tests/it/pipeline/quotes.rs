//! Names that SQL reads otherwise without their double quotes: what is said of them leads to the column.

use super::read;
use super::ways_out::check;

#[test]
fn keys_of_feeds_are_names_of_columns() {
    let source = |columns: &str, event_time: &str, key: &str| {
        read(&format!(
            "CREATE UNBOUNDED EXTERNAL TABLE ev ({columns}) STORED AS JSON LOCATION 'kafka://ev'
             OPTIONS (event_time '{event_time}');
             CREATE MATERIALIZED VIEW v AS SELECT {key} AS k, count(*) AS n FROM ev GROUP BY k"
        ))
    };
    for name in ["order", "group", "type", "user"] {
        source(&format!("time TIMESTAMP NOT NULL, {name} VARCHAR"), "time", &format!("\"{name}\""));
    }
    for name in ["service.name", "@type", "$schema", "user-agent", "größe"] {
        source(&format!("time TIMESTAMP NOT NULL, \"{name}\" VARCHAR"), "time", &format!("\"{name}\""));
    }
    source("\"@timestamp\" TIMESTAMP NOT NULL, k VARCHAR", "@timestamp", "k");
}

#[test]
fn hints_about_names_that_need_quotes_lead_out() {
    check(
        "CREATE UNBOUNDED EXTERNAL TABLE ev (time TIMESTAMP, \"userId\" VARCHAR, \"service.name\" VARCHAR, user VARCHAR,
           meta STRUCT<domain VARCHAR>) STORED AS JSON LOCATION 'kafka://ev' OPTIONS (event_time 'time');
         CREATE MATERIALIZED VIEW v AS SELECT {} AS k, count(*) AS n FROM ev GROUP BY k",
        &[
            ("userId", "write \"userId\", in double quotes", &["\"userId\""]),
            ("\"USERID\"", "write \"userId\", in double quotes", &["\"userId\""]),
            ("ev.userid", "write \"userId\", in double quotes", &["ev.\"userId\""]),
            ("service.name", "write \"service.name\", in double quotes", &["\"service.name\""]),
            ("user", "write \"user\", in double quotes", &["\"user\""]),
            ("meta['Domain']", "name a field that the column declares", &["meta['domain']"]),
            ("meta[\"domain\"]", "write ['domain'], in single quotes", &["meta['domain']"]),
        ],
    );
}
