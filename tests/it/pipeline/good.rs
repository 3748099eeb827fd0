//! What is read from files that are right.

use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{DataType, Field, TimeUnit};
use views::{AggregateClass, Bucket, Unreadable, as_json, is_json, map_of};

use super::{edits_view, files, read};

#[test]
fn the_example_of_the_design_is_read() {
    let sql = "
        CREATE EXTERNAL TABLE channels (channel VARCHAR, language VARCHAR) STORED AS CSV LOCATION 'channels.csv';
        CREATE MATERIALIZED VIEW edits_by_channel AS
        SELECT channel, date_bin(INTERVAL '1 minute', time) AS minute,
               count(*) AS edits, sum(added) AS added, approx_distinct(\"user\") AS editors,
               approx_percentile_cont(0.99) WITHIN GROUP (ORDER BY added) AS p99_added
        FROM edits GROUP BY channel, minute;";
    let sql = format!("{}{sql}", super::EDITS);
    assert_eq!(views::Pipeline::static_files(&sql).unwrap(), ["channels.csv"]);
    let files = files(&[("channels.csv", "channel,language\n#en,English\n")]);
    let pipeline = views::Pipeline::read(&sql, &files).unwrap_or_else(|problems| panic!("{problems}"));
    let view = pipeline.view("edits_by_channel").unwrap();
    let dimensions: Vec<&str> = view.dimensions.iter().map(|dimension| dimension.name.as_str()).collect();
    assert_eq!(dimensions, ["channel", "minute"]);
    assert_eq!(view.time_dimension, Some(1));
    assert_eq!(view.bucket, Bucket::Hour);
    let drawn: Vec<String> =
        view.states.fields().iter().map(|field| format!("{} {}", field.name(), field.data_type())).collect();
    assert_eq!(
        drawn,
        [
            "channel Utf8",
            "minute Timestamp(µs, \"UTC\")",
            "edits Int64",
            "added Decimal128(38, 0)",
            "editors Binary",
            "p99_added Binary"
        ]
    );
    assert!(view.states.fields().iter().all(|field| field.is_nullable()));
    let classes: Vec<(AggregateClass, bool)> =
        view.measures.iter().map(|measure| (measure.class, measure.is_additive)).collect();
    assert!(matches!(
        classes[..],
        [
            (AggregateClass::Exact, true),
            (AggregateClass::Exact, true),
            (AggregateClass::Sketch { .. }, false),
            (AggregateClass::Sketch { .. }, false)
        ]
    ));
    assert!(view.answers.fields().iter().skip(2).all(|field| field.data_type() == &DataType::Int64));
}

#[test]
fn options_have_defaults_and_units() {
    let source = read(
        "CREATE UNBOUNDED EXTERNAL TABLE s (t TIMESTAMP) STORED AS JSON LOCATION 'kafka://a.b-c_1' OPTIONS (event_time 't')",
    );
    let source = source.source("s").unwrap();
    assert_eq!(source.topic, "a.b-c_1");
    assert_eq!((source.horizon, source.late_after), (Duration::from_secs(600), Duration::from_secs(60)));
    assert_eq!(source.future_limit, Duration::from_secs(3600));
    assert_eq!((source.border.grid, source.border.gap), (4096, Duration::from_secs(30)));
    assert_eq!((source.partitions, source.partitions_at_creation()), (None, 4));
    assert_eq!(source.event_id, [0_usize; 0]);
    assert_eq!(source.unreadable, Unreadable::Null);
    let source = read(
        "CREATE UNBOUNDED EXTERNAL TABLE s (t TIMESTAMP, id BIGINT) STORED AS JSON LOCATION 'kafka://s' OPTIONS (
           event_time 't', event_id 'id', horizon '1 hour 30 minutes', late_after '500ms', future_limit '2 days',
           grid 1024, gap '5s', partitions '8', strict 'True', events_at 'data.\"line.items\".x')",
    );
    let source = source.source("s").unwrap();
    assert_eq!((source.horizon, source.late_after), (Duration::from_secs(5400), Duration::from_millis(500)));
    assert_eq!(source.future_limit, Duration::from_secs(172_800));
    assert_eq!((source.border.grid, source.border.gap), (1024, Duration::from_secs(5)));
    assert_eq!((source.partitions, source.partitions_at_creation()), (Some(8), 8));
    assert_eq!(source.event_id, [1]);
    assert_eq!(source.unreadable, Unreadable::Reject);
    assert_eq!(source.events_at(), ["data", "line.items", "x"]);
}

#[test]
fn types_nest_and_keep_not_null() {
    let pipeline = read(
        "CREATE UNBOUNDED EXTERNAL TABLE s (
           t TIMESTAMP NOT NULL, a BOOLEAN, b SMALLINT, c INT, d BIGINT, e FLOAT, f DOUBLE, g DECIMAL(12, 2), h VARCHAR,
           i DATE, j STRUCT<x INT NOT NULL, y STRUCT<z ARRAY<VARCHAR>, w TEXT NOT NULL>> NOT NULL, k LIST<BIGINT>,
           l INT[], m JSON, n MAP<VARCHAR, ARRAY<STRUCT<x MAP<TEXT, BIGINT>>>> NOT NULL,
           o STRUCT<p MAP<VARCHAR, JSON>, q INT NOT NULL>
         ) STORED AS JSON LOCATION 'kafka://s' OPTIONS (event_time 't')",
    );
    let source = pipeline.source("s").unwrap();
    let DataType::Struct(fields) = source.declared.field_with_name("j").unwrap().data_type() else { panic!() };
    assert!(!source.declared.field_with_name("j").unwrap().is_nullable());
    assert!(!fields[0].is_nullable() && fields[1].is_nullable());
    let DataType::Struct(inner) = fields[1].data_type() else { panic!() };
    assert!(inner[0].is_nullable() && !inner[1].is_nullable());
    let DataType::List(item) = source.declared.field_with_name("k").unwrap().data_type() else { panic!() };
    assert_eq!((item.name().as_str(), item.data_type()), ("element", &DataType::Int64));
    assert!(is_json(source.declared.field_with_name("m").unwrap()));
    assert!(!is_json(source.events.field_with_name("m").unwrap()), "plans read text");
    let of = |value: DataType| map_of(Field::new("value", value, true));
    let deep = Field::new("x", of(DataType::Int64), true);
    let deep = Field::new("element", DataType::Struct(vec![deep].into()), true);
    let declared = source.declared.field_with_name("n").unwrap();
    assert_eq!((declared.data_type(), declared.is_nullable()), (&of(DataType::List(Arc::new(deep))), false));
    let json = as_json(Field::new("value", DataType::Utf8, true));
    let inner = vec![Field::new("p", map_of(json), true), Field::new("q", DataType::Int32, false)];
    assert_eq!(source.declared.field_with_name("o").unwrap().data_type(), &DataType::Struct(inner.into()));
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    assert_eq!(source.declared.field(0).data_type(), &time);
    let DataType::Struct(fields) = source.events.field_with_name("j").unwrap().data_type() else { panic!() };
    assert!(fields.iter().all(|field| field.is_nullable()), "plans read everything nullable");
    let last: Vec<&str> = source.events.fields().iter().rev().take(3).map(|field| field.name().as_str()).collect();
    assert_eq!(last, ["_timestamp", "_offset", "_partition"]);
}

#[test]
fn expressions_over_aggregates_share_state_columns() {
    let pipeline = edits_view(
        "CREATE MATERIALIZED VIEW v WITH (bucket = 'month', max_state_bytes = 2048) AS
         SELECT upper(channel) AS channel, sum(added) AS added, avg(added) AS mean,
                sum(added) * 100 / (sum(deleted) + 1) AS ratio, count(DISTINCT \"user\") AS users
         FROM edits e WHERE e.page IS NOT NULL GROUP BY upper(channel)",
    );
    let view = pipeline.view("v").unwrap();
    let columns: Vec<&str> = view.states.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(columns, ["channel", "added", "mean", "ratio__sum", "users"]);
    assert_eq!(view.plans.measure_states("ratio").unwrap(), ["added", "ratio__sum"]);
    assert_eq!((view.bucket, view.max_state_bytes), (Bucket::Month, 2048));
    assert_eq!(view.measures[3].class, AggregateClass::Unbounded);
    assert_eq!(view.measures[3].class.as_str(), "unbounded");
    assert!(!view.measures[2].is_additive);
    let DataType::Struct(parts) = view.states.field(2).data_type() else { panic!("avg has two parts") };
    let parts: Vec<String> = parts.iter().map(|part| format!("{} {}", part.name(), part.data_type())).collect();
    assert_eq!(parts, ["count Int64", "sum Float64"]);
}

#[test]
fn names_are_looked_up_as_sql_means_them() {
    let pipeline = read(
        "create unbounded external table Clicks (Time timestamp, \"userId\" bigint) stored as json
           location 'kafka://clicks' options (Event_Time 'time');
         -- a comment; with a semicolon
         create materialized view Per_User as select \"userId\" as user_id, COUNT(*) as Clicks_Made from CLICKS
           group by \"userId\";",
    );
    let view = pipeline.view("per_user").unwrap();
    assert_eq!(view.source.name.as_str(), "clicks");
    assert_eq!((view.dimensions[0].name.as_str(), view.measures[0].name.as_str()), ("user_id", "clicks_made"));
    assert_eq!(pipeline.views_of(&view.source.name).len(), 1);
}

#[test]
fn items_and_distinct_rows_are_columns_and_counts_like_others() {
    let pipeline = read(
        "CREATE UNBOUNDED EXTERNAL TABLE ev (time TIMESTAMP, page VARCHAR, tags ARRAY<VARCHAR>, prices ARRAY<DOUBLE>)
           STORED AS JSON LOCATION 'kafka://ev' OPTIONS (event_time 'time');
         CREATE MATERIALIZED VIEW a AS SELECT unnest(tags) AS tag, date_bin(INTERVAL '1 hour', time) AS hour,
           count(*) AS n, count(DISTINCT page, time) AS rows FROM ev GROUP BY 1, 2;
         CREATE MATERIALIZED VIEW b AS SELECT t.price, sum(price) AS total, array_agg(page) AS pages
           FROM ev, UNNEST(prices) AS t(price) GROUP BY price;",
    );
    let drawn = |name: &str| -> Vec<String> {
        let view = pipeline.view(name).unwrap();
        let fields = view.answers.fields().iter();
        fields.map(|field| format!("{} {}", field.name(), field.data_type())).collect()
    };
    assert_eq!(drawn("a"), ["tag Utf8", "hour Timestamp(µs, \"UTC\")", "n Int64", "rows Int64"]);
    assert_eq!(drawn("b")[..2], ["price Float64", "total Float64"]);
    let view = pipeline.view("a").unwrap();
    assert_eq!(view.time_dimension, Some(1));
    assert_eq!(view.measures[1].class, AggregateClass::Unbounded);
    assert_eq!((view.measures[0].is_additive, view.measures[1].is_additive), (true, false));
    assert_eq!(view.measures[1].expression, "count(DISTINCT page, time)");
}

/// A key that stands in several rows of a file is doubted behind USING as behind ON.
#[test]
fn a_join_by_using_is_doubted_like_others() {
    let sql = format!(
        "{}CREATE EXTERNAL TABLE c (channel VARCHAR, language VARCHAR) STORED AS CSV LOCATION 'c.csv';
         CREATE MATERIALIZED VIEW v AS SELECT channel, count(*) AS n FROM edits JOIN c USING (channel) GROUP BY channel",
        super::EDITS
    );
    let of = |text: &'static str| views::Pipeline::read(&sql, &files(&[("c.csv", text)])).unwrap().doubts;
    assert!(of("channel,language\n#en,English\n").is_empty());
    let doubts = of("channel,language\n#en,English\n#en,Scots\n");
    let [doubt] = doubts.as_slice() else { panic!("{doubts:?}") };
    assert_eq!(doubt.text, "USING(channel)");
    assert!(doubt.message.contains("1 key stands in several rows of static table c, among them #en in 2"), "{doubt}");
}
