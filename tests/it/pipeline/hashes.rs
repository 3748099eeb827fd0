//! What a definition hash depends on, and what it does not.

use bytes::Bytes;
use positions::DefinitionHash;
use views::Pipeline;

use super::EDITS;

const VIEW: &str = "CREATE MATERIALIZED VIEW v AS SELECT channel, count(*) AS n FROM edits GROUP BY channel;";

fn hash(sql: &str) -> DefinitionHash {
    super::read(sql).view("v").unwrap().hash
}

fn base() -> DefinitionHash {
    hash(&format!("{EDITS}{VIEW}"))
}

#[test]
fn definitions_are_equal_where_what_they_say_is() {
    let definition = |sql: &str| super::read(sql).view("v").unwrap().definition.clone();
    let (base, spaced) = (format!("{EDITS}{VIEW}"), format!("{EDITS}\n\n{VIEW}"));
    assert_eq!(definition(&base), definition(&spaced));
    assert_ne!(definition(&base), definition(&base.replace("count(*)", "count(page)")));
    let longer = EDITS.replace("event_time 'time'", "event_time 'time', horizon '3h'");
    assert_ne!(definition(&base), definition(&format!("{longer}{VIEW}")), "the source is part of it");
}

#[test]
fn layout_and_run_time_options_do_not_change_it() {
    let same = [
        format!(
            "{EDITS}create materialized VIEW v as\n\n select channel,  COUNT(*) AS n -- how many\nFROM edits group by channel"
        ),
        format!(
            "{}{VIEW}",
            EDITS.replace("event_time 'time'", "event_time 'time', grid 7, partitions 2, horizon '1s', gap '1s'")
        ),
        format!("{}{VIEW}", EDITS.replace("event_time 'time'", "event_time 'time', strict 'false'")),
        format!("{}{VIEW}", EDITS.replace("event_time 'time'", "event_time 'time', mode 'lambda'")),
        format!("{}{VIEW}", EDITS.replace("page VARCHAR", "page VARCHAR DEFAULT NULL")),
        format!("{EDITS}{VIEW} CREATE MATERIALIZED VIEW w AS SELECT page, count(*) AS n FROM edits GROUP BY page"),
    ];
    for sql in same {
        assert_eq!(hash(&sql), base(), "{sql}");
    }
    assert_eq!(base(), hash(&format!("{EDITS}{VIEW}")), "reading twice");
}

#[test]
fn whatever_changes_a_state_changes_it() {
    let other = [
        format!("{EDITS}{}", VIEW.replace("count(*)", "count(page)")),
        format!("{EDITS}{}", VIEW.replace("AS SELECT", "WITH (bucket = 'day') AS SELECT")),
        format!("{EDITS}{}", VIEW.replace("FROM edits", "FROM edits WHERE added > 0")),
        format!("{}{VIEW}", EDITS.replace("added BIGINT", "added INT")),
        format!("{}{VIEW}", EDITS.replace("page VARCHAR", "page VARCHAR NOT NULL")),
        format!("{}{VIEW}", EDITS.replace("page VARCHAR", "page JSON")),
        format!("{}{VIEW}", EDITS.replace("page VARCHAR", "page VARCHAR DEFAULT ''")),
        format!("{}{VIEW}", EDITS.replace("page VARCHAR", "page VARCHAR DEFAULT 'x'")),
        format!("{}{VIEW}", EDITS.replace("event_time 'time'", "event_time 'time', event_id 'page'")),
        format!("{}{VIEW}", EDITS.replace("event_time 'time'", "event_time 'time', late_after '2s'")),
        format!("{}{VIEW}", EDITS.replace("event_time 'time'", "event_time 'time', future_limit '2s'")),
        format!("{}{VIEW}", EDITS.replace("event_time 'time'", "event_time 'time', strict 'true'")),
        format!("{}{VIEW}", EDITS.replace("STORED AS JSON", "STORED AS AVRO")),
        format!("{}{VIEW}", EDITS.replace("STORED AS JSON", "STORED AS PROTOBUF")),
        format!("{}{VIEW}", EDITS.replace("kafka://edits", "kafka://other")),
        format!("{}{VIEW}", EDITS.replace("event_time 'time'", "event_time 'time', mode 'kappa'")),
        // No batch view settles what the horizon decided.
        format!("{}{VIEW}", EDITS.replace("event_time 'time'", "event_time 'time', mode 'kappa', horizon '2s'")),
    ];
    let mut hashes: Vec<DefinitionHash> = other.iter().map(|sql| hash(sql)).collect();
    hashes.push(base());
    let count = hashes.len();
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), count, "two different definitions have one hash");
}

#[test]
fn the_content_of_a_static_table_is_part_of_it() {
    let sql = format!(
        "{EDITS}CREATE EXTERNAL TABLE c (channel VARCHAR, language VARCHAR) STORED AS CSV LOCATION 'c.csv';
         CREATE MATERIALIZED VIEW v AS SELECT language, count(*) AS n FROM edits JOIN c ON edits.channel = c.channel
         GROUP BY language;
         CREATE MATERIALIZED VIEW w AS SELECT channel, count(*) AS n FROM edits GROUP BY channel;"
    );
    let read = |content: &'static str| {
        let files = [("c.csv".to_owned(), Bytes::from_static(content.as_bytes()))].into();
        let pipeline = Pipeline::read(&sql, &files).unwrap_or_else(|problems| panic!("{problems}"));
        (pipeline.view("v").unwrap().hash, pipeline.view("w").unwrap().hash)
    };
    let (joined, alone) = read("channel,language\n#en,English\n");
    let (joined_other, alone_other) = read("channel,language\n#en,English\n#de,German\n");
    assert_ne!(joined, joined_other);
    assert_eq!(alone, alone_other, "a view that does not join the table");
}
