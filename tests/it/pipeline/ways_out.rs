//! The ways out that hints name: a file that does what its hint says is right.

use std::collections::BTreeMap;

use bytes::Bytes;
use views::{MAX_STATIC_BYTES, Pipeline};

use super::{EDITS, files};

/// Something wrong, words of the hint that it gets, and each way out that the hint names.
type Case = (&'static str, &'static str, &'static [&'static str]);

fn known_files() -> BTreeMap<String, Bytes> {
    files(&[
        ("c.csv", "channel,language\n#en,English\n"),
        ("semicolons.csv", "channel;language\n#en;English\n"),
        ("c.json", "{\"channel\": \"#en\", \"language\": \"English\"}\n"),
        ("many.csv", "channel,n\n#en,many\n"),
    ])
}

/// The hints of everything that is wrong.
fn hints(sql: &str, files: &BTreeMap<String, Bytes>) -> Vec<String> {
    let findings = Pipeline::read(sql, files).err().map_or(Vec::new(), |error| error.0);
    findings.into_iter().map(|finding| finding.hint).collect()
}

/// Puts each case into the place `{}` of a file; `$EDITS` stands for the source statement of `pipeline.rs`.
#[track_caller]
pub(super) fn check(file: &str, cases: &[Case]) {
    let with = |piece: &str| hints(&file.replace("{}", piece).replace("$EDITS", EDITS), &known_files());
    for (wrong, words, ways_out) in cases {
        let told = with(wrong);
        assert!(told.iter().any(|hint| hint.contains(*words)), "`{wrong}` is told {told:?}, not: {words}");
        for way_out in *ways_out {
            let told = with(way_out);
            assert!(told.is_empty(), "`{way_out}` instead of `{wrong}`, as it was told, is told {told:?}");
        }
    }
}

#[test]
fn hints_about_statements_lead_out() {
    check(
        "CREATE UNBOUNDED EXTERNAL {} s (t TIMESTAMP) STORED AS JSON LOCATION 'kafka://s' OPTIONS (event_time 't')",
        &[("TABL", "see the pipeline files in `examples/`", &["TABLE"])],
    );
    check(
        "CREATE UNBOUNDED EXTERNAL TABLE s (t TIMESTAMP) STORED AS JSON LOCATION {} OPTIONS (event_time 't')",
        &[("'kafka://s", "check the quotes", &["'kafka://s'"])],
    );
    check("{}", &[("CREATE TABLE s (t TIMESTAMP)", "write CREATE UNBOUNDED EXTERNAL TABLE", &[EDITS])]);
    check(
        "$EDITSCREATE MATERIALIZED VIEW {} AS SELECT page, count(*) AS n FROM edits GROUP BY page",
        &[("Edits", "a name of its own", &["edits_by_page"])],
    );
    let sql = EDITS.to_owned() + &" ".repeat(1 << 20);
    assert_eq!(hints(&sql, &known_files()), ["split it into several pipelines"]);
    assert_eq!(hints(EDITS, &known_files()), [""; 0]);
}

#[test]
fn hints_about_names_of_tables_lead_out() {
    check(
        "CREATE UNBOUNDED EXTERNAL TABLE {} (t TIMESTAMP) STORED AS JSON LOCATION 'kafka://s' OPTIONS (event_time 't')",
        &[
            ("public.s", "leave out the schema", &["s"]),
            ("_s", "choose another name", &["s"]),
            ("\"s!\"", "letters, digits, `_` and `-`, and start with a letter", &["\"s-1\"", "s_1"]),
            ("IF NOT EXISTS s", "leave it out", &["s"]),
        ],
    );
}

#[test]
fn hints_about_clauses_lead_out() {
    let head = "CREATE {}EXTERNAL TABLE s (t TIMESTAMP) STORED AS JSON LOCATION 'kafka://s' OPTIONS (event_time 't')";
    check(
        head,
        &[
            ("OR REPLACE UNBOUNDED ", "leave it out", &["UNBOUNDED "]),
            ("", "write CREATE UNBOUNDED EXTERNAL TABLE for an event stream", &["UNBOUNDED "]),
        ],
    );
    let behind = "CREATE UNBOUNDED EXTERNAL TABLE s (t TIMESTAMP, id VARCHAR) STORED AS JSON LOCATION 'kafka://s' {} \
                  OPTIONS (event_time 't')";
    check(behind, &[("PARTITIONED BY (id)", "leave it out", &[""]), ("WITH ORDER (t)", "leave it out", &[""])]);
    let inside = "CREATE UNBOUNDED EXTERNAL TABLE s (t TIMESTAMP, id VARCHAR{}) STORED AS JSON LOCATION 'kafka://s' \
                  OPTIONS (event_time 't')";
    check(inside, &[(", PRIMARY KEY (id)", "leave it out", &[""]), (", UNIQUE (id)", "leave it out", &[""])]);
    let columns = "CREATE UNBOUNDED EXTERNAL TABLE s {} STORED AS JSON LOCATION 'kafka://s' OPTIONS (event_time 't')";
    check(columns, &[("", "declare `(name TYPE, ...)`", &["(t TIMESTAMP)"])]);
}

#[test]
fn hints_about_columns_lead_out() {
    check(
        "CREATE UNBOUNDED EXTERNAL TABLE s (t TIMESTAMP, {}) STORED AS JSON LOCATION 'kafka://s' \
         OPTIONS (event_time 't')",
        &[
            ("x BIGINT UNSIGNED", "BOOLEAN, SMALLINT, INT, BIGINT", &["x SMALLINT", "x INT", "x BIGINT"]),
            ("x UUID", "VARCHAR", &["x VARCHAR"]),
            ("x DATETIME", "TIMESTAMP", &["x TIMESTAMP"]),
            ("x DECIMAL(39, 2)", "DECIMAL(p, s)", &["x DECIMAL(38, 2)"]),
            ("x STRUCT<INT>", "STRUCT<name TYPE, ...>", &["x STRUCT<a INT>"]),
            ("x STRUCT<a INT, A INT>", "STRUCT<name TYPE, ...>", &["x STRUCT<a INT, b INT>"]),
            ("x STRUCT<a INT OPTIONS (b = 1)>", "STRUCT<name TYPE, ...>", &["x STRUCT<a INT>"]),
            ("_id INT", "OPTIONS (path = '_id')", &["x INT", "id INT OPTIONS (path = '_id')"]),
            ("\"a b\" INT", "(path = '\"a b\"')", &["a_b INT", "\"a2\" INT", "ab INT OPTIONS (path = '\"a b\"')"]),
            ("\"f(x.y)\" INT", "(path = '\"f(x.y)\"')", &["f INT OPTIONS (path = '\"f(x.y)\"')"]),
            ("\"it's=\" INT", "(path = '\"it''s=\"')", &["its INT OPTIONS (path = '\"it''s=\"')"]),
            ("x INT, \"X\" INT", "differ in case alone", &["x INT, y INT"]),
            ("x DOUBLE COMMENT 'y'", "write only NOT NULL", &["x DOUBLE NOT NULL", "x DOUBLE"]),
        ],
    );
}

#[test]
fn hints_about_mapped_columns_lead_out() {
    check(
        "CREATE UNBOUNDED EXTERNAL TABLE s (t TIMESTAMP, {}) STORED AS JSON LOCATION 'kafka://s' \
         OPTIONS (event_time 't')",
        &[
            (
                "x TIMESTAMP OPTIONS (way = 'a')",
                "OPTIONS (path = 'key.key', format = 'epoch_ms')",
                &[
                    "x TIMESTAMP OPTIONS (path = 'key.key', format = 'epoch_ms')",
                    "x TIMESTAMP OPTIONS (path = 'key.key')",
                    "x TIMESTAMP OPTIONS (format = 'epoch_ms')",
                ],
            ),
            ("x INT OPTIONS (path = 'a..b')", "path = 'key.key'", &["x INT OPTIONS (path = 'a.b')"]),
            (
                "x INT OPTIONS (path = 'a[0]')",
                "path = 'key.key'",
                &["x INT OPTIONS (path = 'a')", "x INT OPTIONS (path = '\"a[0]\"')"],
            ),
            (
                "x TIMESTAMP OPTIONS (format = 'epoch')",
                "'epoch_s', 'epoch_ms', 'epoch_us', 'epoch_ns'",
                &[
                    "x TIMESTAMP OPTIONS (format = 'epoch_s')",
                    "x TIMESTAMP OPTIONS (format = 'epoch_ms')",
                    "x TIMESTAMP OPTIONS (format = 'epoch_us')",
                    "x TIMESTAMP OPTIONS (format = 'epoch_ns')",
                ],
            ),
            (
                "x TIMESTAMP OPTIONS (format = '%d.%m.')",
                "a pattern such as '%d.%m.%Y %H:%M:%S'",
                &["x TIMESTAMP OPTIONS (format = '%d.%m.%Y %H:%M:%S')"],
            ),
            (
                "x BIGINT OPTIONS (format = 'epoch_s')",
                "declare the column TIMESTAMP, or leave the format out",
                &["x TIMESTAMP OPTIONS (format = 'epoch_s')", "x BIGINT"],
            ),
        ],
    );
}

#[test]
fn hints_about_the_place_and_form_of_events_lead_out() {
    let stored = "CREATE UNBOUNDED EXTERNAL TABLE s (t TIMESTAMP) STORED AS {} LOCATION 'kafka://s' \
                  OPTIONS (event_time 't')";
    check(stored, &[("PARQUET", "STORED AS JSON", &["JSON"])]);
    check(
        "CREATE UNBOUNDED EXTERNAL TABLE s (t TIMESTAMP) STORED AS JSON LOCATION {} OPTIONS (event_time 't')",
        &[
            ("'s3://x/y'", "LOCATION 'kafka://topic'", &["'kafka://topic'"]),
            ("'kafka://a b'", "letters, digits, `.`, `_` and `-`", &["'kafka://a.b'", "'kafka://a_b-1'"]),
        ],
    );
}

#[test]
fn hints_about_event_time_and_id_lead_out() {
    let time = "CREATE UNBOUNDED EXTERNAL TABLE s (t {}) STORED AS JSON LOCATION 'kafka://s' OPTIONS (event_time 't')";
    check(time, &[("BIGINT", "declare the column TIMESTAMP", &["TIMESTAMP"])]);
    let id = "CREATE UNBOUNDED EXTERNAL TABLE s (t TIMESTAMP, id {}) STORED AS JSON LOCATION 'kafka://s' \
              OPTIONS (event_time 't', event_id 'id')";
    check(id, &[("DOUBLE", "declare the column VARCHAR or BIGINT", &["VARCHAR", "BIGINT"])]);
    check(
        "CREATE UNBOUNDED EXTERNAL TABLE s (t TIMESTAMP, id VARCHAR) STORED AS JSON LOCATION 'kafka://s' OPTIONS ({})",
        &[
            ("horizon '1s'", "add OPTIONS (event_time 'column')", &["horizon '1s', event_time 't'"]),
            ("event_time 'tt'", "did you mean `t`?", &["event_time 't'"]),
            ("event_time 't', event_id 'i'", "did you mean `id`?", &["event_time 't', event_id 'id'"]),
            ("event_time 't', event_id 'id, id'", "name it once", &["event_time 't', event_id 'id'"]),
            (
                "event_time '_timestamp', event_id 'id'",
                "name an event_time that the event carries, or leave event_id out",
                &["event_time 't', event_id 'id'", "event_time '_timestamp'"],
            ),
        ],
    );
}

#[test]
fn hints_about_options_of_sources_lead_out() {
    check(
        "CREATE UNBOUNDED EXTERNAL TABLE s (t TIMESTAMP) STORED AS JSON LOCATION 'kafka://s' \
         OPTIONS (event_time 't', {})",
        &[
            ("horizont '1s'", "did you mean `horizon`?", &["horizon '1s'"]),
            ("gap '1s', gap '2s'", "keep one of them", &["gap '1s'", "gap '2s'"]),
            ("grid 0", "a whole number from 1 to 1099511627776", &["grid 1", "grid 1099511627776"]),
            ("partitions '1025'", "a whole number from 1 to 1024", &["partitions '1'", "partitions '1024'"]),
            (
                "late_after 'soon'",
                "such as '500ms', '30s', '10 minutes', '1 hour 30 minutes' or '2 days'",
                &[
                    "late_after '500ms'",
                    "late_after '30s'",
                    "late_after '10 minutes'",
                    "late_after '1 hour 30 minutes'",
                    "late_after '2 days'",
                ],
            ),
            ("horizon '400 days'", "at most 366 days", &["horizon '366 days'"]),
            ("gap '0s'", "a span above zero", &["gap '1ms'"]),
            ("strict 'yes'", "write 'true' or 'false'", &["strict 'true'", "strict 'false'"]),
            ("horizon '1s', unreadable 'reject'", "write strict 'true' for", &["horizon '1s', strict 'true'"]),
            ("horizon '1s', unreadable 'null'", "for unreadable 'null' leave it out", &["horizon '1s'"]),
            ("events_at 'a..b'", "keys with dots between them", &["events_at 'a.b'"]),
            ("envelope 'avro'", "'debezium', or say with events_at", &["envelope 'debezium'", "events_at 'after'"]),
            (
                "envelope 'debezium', events_at 'after'",
                "keep one of them",
                &["envelope 'debezium'", "events_at 'after'"],
            ),
        ],
    );
}

#[test]
fn hints_about_options_and_columns_of_views_lead_out() {
    check(
        "$EDITSCREATE MATERIALIZED VIEW v {} AS SELECT channel, count(*) AS n FROM edits GROUP BY channel",
        &[
            (
                "WITH (bucket = 'week')",
                "'hour', 'day', 'month' or 'none'",
                &[
                    "WITH (bucket = 'hour')",
                    "WITH (bucket = 'day')",
                    "WITH (bucket = 'month')",
                    "WITH (bucket = 'none')",
                ],
            ),
            (
                "WITH (max_state_bytes = 10)",
                "a whole number from 1024 to 1073741824",
                &["WITH (max_state_bytes = 1024)", "WITH (max_state_bytes = 1073741824)"],
            ),
            ("WITH (buckets = 'day')", "did you mean `bucket`?", &["WITH (bucket = 'day')"]),
            ("WITH (bucket = 'day', bucket = 'hour')", "keep one of them", &["WITH (bucket = 'day')"]),
            ("WITH (HEAP)", "write WITH (name = value)", &["WITH (bucket = 'day')"]),
        ],
    );
    check(
        "$EDITSCREATE MATERIALIZED VIEW v AS SELECT channel, {} FROM edits GROUP BY channel",
        &[
            ("count(*) AS \"a.b\"", "use letters, digits and `_`", &["count(*) AS a_b"]),
            ("count(*) AS _n", "choose another name", &["count(*) AS n"]),
            ("channel AS again, count(*) AS n", "select each group key once", &["count(*) AS n"]),
            ("any(page) AS n", "write `first_value(x)`", &["first_value(page) AS n"]),
            ("argmax(page, time) AS n", "write `max_by(x, key)`", &["max_by(page, time) AS n"]),
            ("argmin(page, time) AS n", "write `min_by(x, key)`", &["min_by(page, time) AS n"]),
            ("count_distinct(page) AS n", "write `count(DISTINCT x)`", &["count(DISTINCT page) AS n"]),
            (
                "countIf(added > 1) AS n",
                "write `count(*) FILTER (WHERE condition)`",
                &["count(*) FILTER (WHERE added > 1) AS n"],
            ),
            ("sumIf(added, true) AS n", "write `sum(x) FILTER", &["sum(added) FILTER (WHERE true) AS n"]),
            ("first(page) AS n", "write `first_value(x ORDER BY key)`", &["first_value(page ORDER BY time) AS n"]),
            ("latest(page) AS n", "write `last_value(x ORDER BY key)`", &["last_value(page ORDER BY time) AS n"]),
            ("listagg(page) AS n", "write `string_agg(x, ',')`", &["string_agg(page, ',') AS n"]),
            ("quantile(added) AS n", "approx_percentile_cont(x, 0.95)", &["approx_percentile_cont(added, 0.95) AS n"]),
            ("topK(page) AS n", "write `approx_top_k(x, 10)`", &["approx_top_k(page, 10) AS n"]),
            ("uniq(page) AS n", "write `approx_distinct(x)`", &["approx_distinct(page) AS n"]),
            ("lag(page) AS n, count(*) AS c", "ask for them over the view", &["count(*) AS c"]),
        ],
    );
}

#[test]
fn hints_about_arrays_lead_out() {
    check(
        "CREATE UNBOUNDED EXTERNAL TABLE ev (time TIMESTAMP, page VARCHAR, tags ARRAY<VARCHAR>, ids ARRAY<BIGINT>,
           deep ARRAY<ARRAY<VARCHAR>>, labels MAP<VARCHAR, VARCHAR>) STORED AS JSON LOCATION 'kafka://ev'
           OPTIONS (event_time 'time');
         CREATE MATERIALIZED VIEW v AS SELECT {}",
        &[
            (
                "page, count(DISTINCT unnest(tags)) AS n FROM ev GROUP BY page",
                "CROSS JOIN UNNEST(array) AS t(item), and name item here",
                &["page, count(DISTINCT item) AS n FROM ev CROSS JOIN UNNEST(tags) AS t(item) GROUP BY page"],
            ),
            (
                "page, count(*) AS n FROM ev WHERE unnest(tags) = 'x' GROUP BY page",
                "CROSS JOIN UNNEST(array) AS t(item), and name item here",
                &["page, count(*) AS n FROM ev CROSS JOIN UNNEST(tags) AS t(item) WHERE item = 'x' GROUP BY page"],
            ),
            (
                "unnest(unnest(deep)) AS tag, count(*) AS n FROM ev GROUP BY tag",
                "unnest(flatten(array))",
                &["unnest(flatten(deep)) AS tag, count(*) AS n FROM ev GROUP BY tag"],
            ),
            (
                "unnest(tags) AS tags, count(*) AS n FROM ev GROUP BY tags",
                "`unnest(tags) AS item`, and GROUP BY item",
                &["unnest(tags) AS item, count(*) AS n FROM ev GROUP BY item"],
            ),
            (
                "item, count(*) AS n FROM ev JOIN UNNEST(tags) AS t(item) ON item = page GROUP BY item",
                "conditions stand in WHERE",
                &[
                    "item, count(*) AS n FROM ev CROSS JOIN UNNEST(tags) AS t(item) WHERE item = page GROUP BY item",
                    "item, count(*) AS n FROM ev LEFT JOIN UNNEST(tags) AS t(item) ON true GROUP BY item",
                ],
            ),
            (
                "item, count(*) AS n FROM ev, UNNEST(tags) WITH ORDINALITY AS t(item) GROUP BY item",
                "leave WITH ORDINALITY out",
                &["item, count(*) AS n FROM ev, UNNEST(tags) AS t(item) GROUP BY item"],
            ),
            (
                "item, count(*) AS n FROM ev, UNNEST(tags) AS t(item, place) GROUP BY item",
                "write AS t(item)",
                &["item, count(*) AS n FROM ev, UNNEST(tags) AS t(item) GROUP BY item"],
            ),
            (
                "unnest(tags) AS tag, unnest(ids) AS id, count(*) AS n FROM ev GROUP BY tag, id",
                "write one view for each array",
                &[
                    "unnest(tags) AS tag, count(*) AS n FROM ev GROUP BY tag",
                    "unnest(ids) AS id, count(*) AS n FROM ev GROUP BY id",
                ],
            ),
            (
                "unnest(page) AS p, count(*) AS n FROM ev GROUP BY p",
                "string_to_array(x, ',') of text, map_keys(x) of a MAP",
                &[
                    "unnest(tags) AS p, count(*) AS n FROM ev GROUP BY p",
                    "unnest(string_to_array(page, ',')) AS p, count(*) AS n FROM ev GROUP BY p",
                    "unnest(map_keys(labels)) AS p, count(*) AS n FROM ev GROUP BY p",
                ],
            ),
        ],
    );
}

#[test]
fn hints_about_joins_by_using_lead_out() {
    check(
        "$EDITSCREATE EXTERNAL TABLE c (channel VARCHAR, language VARCHAR) STORED AS CSV LOCATION 'c.csv';
         CREATE MATERIALIZED VIEW v AS SELECT page, count(*) AS n FROM edits JOIN c ON edits.channel = c.channel
         JOIN c AS e {} GROUP BY page",
        &[
            ("USING (channel)", "write ON edits.channel = e.channel", &["ON edits.channel = e.channel"]),
            ("USING (c.language)", "leave the table out", &["USING (language)"]),
            ("USING (languag)", "did you mean `language`?", &["USING (language)"]),
        ],
    );
}

#[test]
fn hints_about_static_tables_lead_out() {
    check(
        "CREATE EXTERNAL TABLE c (channel VARCHAR, language VARCHAR) STORED AS {}",
        &[
            (
                "PARQUET LOCATION 'c.csv'",
                "write STORED AS CSV or STORED AS JSON",
                &["CSV LOCATION 'c.csv'", "JSON LOCATION 'c.json'"],
            ),
            ("CSV LOCATION 'missing.csv'", "put the file beside the pipeline file", &["CSV LOCATION 'c.csv'"]),
            ("CSV LOCATION '../c.csv'", "without `..`", &["CSV LOCATION 'c.csv'"]),
            (
                "CSV LOCATION 'c.csv' OPTIONS (has_header 'no')",
                "write 'true' or 'false'",
                &[
                    "CSV LOCATION 'c.csv' OPTIONS (has_header 'true')",
                    "CSV LOCATION 'c.csv' OPTIONS (has_header 'false')",
                ],
            ),
            (
                "CSV LOCATION 'semicolons.csv' OPTIONS (delimiter ';;')",
                "one ASCII character, for example ';'",
                &["CSV LOCATION 'semicolons.csv' OPTIONS (delimiter ';')"],
            ),
            (
                "CSV LOCATION 'c.csv' OPTIONS (hasheader 'true')",
                "did you mean `has_header`?",
                &["CSV LOCATION 'c.csv' OPTIONS (has_header 'true')"],
            ),
        ],
    );
    check(
        "CREATE EXTERNAL TABLE c ({}) STORED AS CSV LOCATION 'many.csv'",
        &[
            ("channel VARCHAR, n BIGINT", "make the file fit the declared columns", &["channel VARCHAR, n VARCHAR"]),
            ("channel VARCHAR, m VARCHAR", "make the file fit the declared columns", &["channel VARCHAR, n VARCHAR"]),
            (
                "channel VARCHAR, n VARCHAR OPTIONS (path = 'a.n')",
                "leave their OPTIONS out",
                &["channel VARCHAR, n VARCHAR"],
            ),
        ],
    );
}

#[test]
fn hints_about_aggregates_of_distinct_values_lead_out() {
    check(
        "$EDITSCREATE MATERIALIZED VIEW v AS SELECT channel, {} AS n FROM edits GROUP BY channel",
        &[
            ("mode(DISTINCT page)", "leave DISTINCT out", &["mode(page)", "count(DISTINCT page)"]),
            ("approx_top_k(DISTINCT page, 3)", "leave DISTINCT out", &["approx_top_k(page, 3)"]),
            (
                "visits(DISTINCT page, time, INTERVAL '1 hour')",
                "leave DISTINCT out",
                &["visits(page, time, INTERVAL '1 hour')"],
            ),
            (
                "ddsketch_percentile(DISTINCT added, 0.9)",
                "percentile_cont(DISTINCT x, 0.5)",
                &["percentile_cont(DISTINCT added, 0.9)", "ddsketch_percentile(added, 0.9)"],
            ),
        ],
    );
}

#[test]
fn hints_about_group_keys_lead_out() {
    check(
        "CREATE UNBOUNDED EXTERNAL TABLE ev (time TIMESTAMP NOT NULL, tags ARRAY<VARCHAR>, st STRUCT<a INT, b VARCHAR>, \
         s VARCHAR) STORED AS JSON LOCATION 'kafka://ev' OPTIONS (event_time 'time');\n\
         CREATE MATERIALIZED VIEW v AS SELECT {} AS k, count(*) AS n FROM ev GROUP BY 1",
        &[
            ("tags", "as in `x[1]`, or its items with UNNEST", &["tags[1]", "UNNEST(tags)"]),
            ("st", "group by its fields, as in `x.field`", &["st.b"]),
            ("struct_extract(st, 'b')", "write `get_field(x, 'name')`", &["get_field(st, 'b')"]),
            ("time_bucket(time)", "write `date_bin(INTERVAL '1 hour', x)`", &["date_bin(INTERVAL '1 hour', time)"]),
            (
                "date_bin(INTERVAL '1 day', time AT TIME ZONE 'Europe/Berlin')",
                "write date_trunc('day', time AT TIME ZONE 'Europe/Berlin')",
                &["date_trunc('day', time AT TIME ZONE 'Europe/Berlin')", "date_bin(INTERVAL '1 day', time)"],
            ),
            (
                "time AT TIME ZONE s",
                "AT TIME ZONE 'Europe/Berlin'",
                &["date_part('hour', time AT TIME ZONE 'Europe/Berlin')"],
            ),
            (
                "TIMESTAMP '2026-03-29 02:30:00' AT TIME ZONE 'Europe/Berlin' < time",
                "write the instant in UTC",
                &["TIMESTAMP '2026-03-29T00:30:00Z' < time"],
            ),
            (
                "date_part('hour', time AT TIME ZONE 'europe/berlin')",
                "the IANA time zone database with its capitals",
                &[
                    "date_part('hour', time AT TIME ZONE 'Europe/Berlin')",
                    "date_part('hour', time AT TIME ZONE '+02:00')",
                ],
            ),
            ("s COLLATE \"C\"", "leave COLLATE out, or compare `lower(s)`", &["s", "lower(s)"]),
            ("time + INTERVAL '1 day' * 2", "as in `INTERVAL '2 days'`", &["time + INTERVAL '2 days'"]),
        ],
    );
}

#[test]
fn a_static_file_that_is_too_large_may_be_smaller_or_a_stream() {
    let sql = "CREATE EXTERNAL TABLE c (channel VARCHAR) STORED AS CSV LOCATION 'c.csv'";
    let large = Bytes::from(vec![b'\n'; MAX_STATIC_BYTES + 1]);
    let told = hints(sql, &[("c.csv".to_owned(), large)].into());
    assert_eq!(told, ["load it as events, or keep only the columns that views need"]);
    assert_eq!(hints(sql, &files(&[("c.csv", "channel\n#en\n")])), [""; 0]);
    let events = "CREATE UNBOUNDED EXTERNAL TABLE c (t TIMESTAMP, channel VARCHAR) STORED AS JSON LOCATION 'kafka://c' \
                  OPTIONS (event_time 't')";
    assert_eq!(hints(events, &files(&[])), [""; 0]);
}
