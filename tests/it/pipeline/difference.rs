//! What one pipeline has that another has not: every kind of edit is named rightly, and nothing else is.

use std::collections::BTreeMap;

use bytes::Bytes;
use views::{ChangeKind, NamedChange, PartKind, Pipeline, PipelineDifference};

const SOURCE: &str = "CREATE UNBOUNDED EXTERNAL TABLE edits (time TIMESTAMP NOT NULL, page VARCHAR, channel VARCHAR, \
                      added BIGINT) STORED AS JSON LOCATION 'kafka://edits' OPTIONS (event_time 'time');\n";
const STATIC: &str =
    "CREATE EXTERNAL TABLE owners (page VARCHAR, owner VARCHAR) STORED AS CSV LOCATION 'owners.csv';\n";
const VIEW: &str = "CREATE MATERIALIZED VIEW by_page AS SELECT page, channel, count(*) AS n, \
                    count(DISTINCT added) AS kinds FROM edits WHERE added > 0 GROUP BY page, channel;\n";
const JOINED: &str = "CREATE MATERIALIZED VIEW by_owner AS SELECT owner, count(*) AS n FROM edits \
                      JOIN owners ON edits.page = owners.page GROUP BY owner;\n";
const CSV: &str = "page,owner\n/a,ann\n/b,bob\n";

fn whole() -> String {
    format!("{SOURCE}{STATIC}{VIEW}{JOINED}")
}

fn read(sql: &str, csv: &str) -> Pipeline {
    let files = BTreeMap::from([("owners.csv".to_owned(), Bytes::from(csv.to_owned()))]);
    Pipeline::read(sql, &files).unwrap_or_else(|error| panic!("{sql}\n{error}"))
}

fn between(sql: &str, csv: &str) -> PipelineDifference {
    PipelineDifference::between(&read(&whole(), CSV), &read(sql, csv))
}

fn named<'a>(changes: &'a [NamedChange], name: &str) -> &'a NamedChange {
    changes.iter().find(|change| change.name == name).unwrap_or_else(|| panic!("{name} is not in {changes:#?}"))
}

/// The parts of a change: kind, name, and whether they were and are there.
fn parts(change: &NamedChange) -> Vec<(PartKind, &str, bool, bool)> {
    let parts = change.parts.iter();
    parts.map(|part| (part.kind, part.name.as_str(), part.before.is_some(), part.after.is_some())).collect()
}

/// What is written, what takes its place, and the parts that change: kind, name, whether there is one before and after.
type Edit<'a> = (&'a str, &'a str, &'a [(PartKind, &'a str, bool, bool)]);

#[test]
fn an_edit_of_a_view_is_named_by_the_part_that_it_changes() {
    use PartKind::*;
    let edits: [Edit<'_>; 11] = [
        ("WHERE added > 0", "WHERE added > 1", &[(Filter, "", true, true)]),
        (" WHERE added > 0", "", &[(Filter, "", true, false)]),
        ("count(*) AS n, count(D", "sum(added) AS n, count(D", &[(Measure, "n", true, true)]),
        ("count(*) AS n, count(D", "count(*) AS n, min(added) AS least, count(D", &[(Measure, "least", false, true)]),
        ("count(*) AS n, count(D", "count(D", &[(Measure, "n", true, false)]),
        ("by_page AS", "by_page WITH (bucket = 'day') AS", &[(Bucket, "", true, true)]),
        (
            "SELECT page, channel, count",
            "SELECT lower(page) AS page, channel, count",
            &[(Dimension, "page", true, true)],
        ),
        ("page, channel, count", "page, channel, added, count", &[(Dimension, "added", false, true)]),
        ("SELECT page, channel, count", "SELECT channel, count", &[(Dimension, "page", true, false)]),
        ("FROM edits WHERE", "FROM edits AS e WHERE", &[(Rows, "", true, true)]),
        ("GROUP BY page, channel", "GROUP BY channel, page", &[(Wording, "", false, false)]),
    ];
    for (from, to, expected) in edits {
        let mut changed = VIEW.replacen(from, to, 1);
        assert_ne!(changed, VIEW, "{from}");
        match expected[0] {
            (Dimension, "added", ..) => {
                changed = changed.replace("GROUP BY page, channel", "GROUP BY page, channel, added")
            }
            (Dimension, "page", _, false) => changed = changed.replace("GROUP BY page, channel", "GROUP BY channel"),
            (Dimension, "page", ..) => changed = changed.replace("GROUP BY page", "GROUP BY lower(page)"),
            _ => {}
        }
        let difference = between(&whole().replace(VIEW, &changed), CSV);
        let change = named(&difference.views, "by_page");
        assert_eq!(change.kind, ChangeKind::Changed, "{to}");
        assert_eq!(parts(change), expected, "{to}: {change:#?}");
        assert_eq!(named(&difference.views, "by_owner").kind, ChangeKind::Unchanged, "{to}");
        assert_eq!(difference.sources[0].kind, ChangeKind::Unchanged, "{to}");
        assert_eq!(difference.to_build().collect::<Vec<_>>(), ["by_page"], "{to}");
    }
}

#[test]
fn what_is_lost_and_what_is_weaker_is_told() {
    let lost = |from: &str, to: &str, group: &str| {
        let view = VIEW.replacen(from, to, 1).replace("GROUP BY page, channel", group);
        named(&between(&whole().replace(VIEW, &view), CSV).views, "by_page").losses.clone()
    };
    let both = "GROUP BY page, channel";
    let [dimension]: [String; 1] =
        lost("page, channel, count", "channel, count", "GROUP BY channel").try_into().unwrap();
    assert!(dimension.contains("loses dimension page"), "{dimension}");
    let [measure]: [String; 1] = lost("count(*) AS n, ", "", both).try_into().unwrap();
    assert!(measure.contains("loses measure n"), "{measure}");
    let [weaker]: [String; 1] = lost("count(DISTINCT added)", "approx_distinct(added)", both).try_into().unwrap();
    assert!(weaker.contains("measure kinds of view by_page was unbounded, and will be sketch within"), "{weaker}");
    assert!(lost("added > 0", "added > 1", both).is_empty());
    assert!(lost("count(DISTINCT added)", "count(added)", both).is_empty(), "unbounded to exact is no loss");
}

#[test]
fn views_sources_and_static_tables_come_go_and_change() {
    let same = between(&whole(), CSV);
    assert!(same.is_empty() && same.to_build().next().is_none(), "{same:#?}");
    let renamed = between(&whole().replace("VIEW by_page", "VIEW pages"), CSV);
    assert_eq!(named(&renamed.views, "pages").kind, ChangeKind::Added);
    assert_eq!(named(&renamed.views, "by_page").kind, ChangeKind::Dropped);
    assert!(named(&renamed.views, "by_page").losses[0].contains("answers nothing"), "{renamed:#?}");
    let content = between(&whole(), "page,owner\n/a,ann\n/b,carl\n");
    assert_eq!(parts(named(&content.views, "by_owner")), [(PartKind::StaticTable, "owners", false, false)]);
    assert_eq!(named(&content.views, "by_page").kind, ChangeKind::Unchanged);
    let second = SOURCE.replace("edits", "others");
    let more = between(&format!("{}{second}", whole()), CSV);
    assert_eq!(named(&more.sources, "others").kind, ChangeKind::Added);
    let less = PipelineDifference::between(&read(&format!("{}{second}", whole()), CSV), &read(&whole(), CSV));
    assert_eq!(named(&less.sources, "others").kind, ChangeKind::Dropped);
    let first = PipelineDifference::between(&Pipeline::default(), &read(&whole(), CSV));
    assert_eq!(first.to_build().collect::<Vec<_>>(), ["by_page", "by_owner"]);
}

#[test]
fn an_edit_of_a_source_changes_its_views_or_is_kept() {
    use PartKind::*;
    let builds: [(&str, &str, PartKind, &str); 7] = [
        ("added BIGINT)", "added BIGINT, removed BIGINT)", Schema, "removed"),
        ("added BIGINT)", "added DOUBLE)", Schema, "added"),
        ("page VARCHAR,", "page VARCHAR NOT NULL,", Schema, "page"),
        ("page VARCHAR, channel VARCHAR", "channel VARCHAR, page VARCHAR", Schema, ""),
        ("event_time 'time'", "event_time 'time', event_id 'page'", Reading, "event_id"),
        ("event_time 'time'", "event_time 'time', strict 'true'", Reading, "strict"),
        ("event_time 'time'", "event_time 'time', mode 'kappa'", Reading, "mode"),
    ];
    for (from, to, kind, name) in builds {
        let difference = between(&whole().replacen(from, to, 1), CSV);
        let source = named(&difference.sources, "edits");
        assert_eq!((source.kind, source.parts.len()), (ChangeKind::Changed, 1), "{to}: {source:#?}");
        for view in ["by_page", "by_owner"] {
            let change = named(&difference.views, view);
            let is_named = change.parts.iter().any(|part| (part.kind, part.name.as_str()) == (kind, name));
            assert!(change.kind == ChangeKind::Changed && is_named, "{to}: {change:#?}");
        }
    }
    let kept = between(&whole().replace("event_time 'time'", "event_time 'time', horizon '3h', partitions '7'"), CSV);
    let source = named(&kept.sources, "edits");
    assert_eq!(source.kind, ChangeKind::Kept);
    assert_eq!(parts(source).iter().map(|part| part.1).collect::<Vec<_>>(), ["horizon", "partitions"]);
    assert!(kept.views.iter().all(|view| view.kind == ChangeKind::Unchanged), "{kept:#?}");
    let replayed = whole().replace("event_time 'time'", "event_time 'time', mode 'kappa'");
    let longer = replayed.replace("mode 'kappa'", "mode 'kappa', horizon '3h'");
    let longer = PipelineDifference::between(&read(&replayed, CSV), &read(&longer, CSV));
    assert_eq!(longer.to_build().collect::<Vec<_>>(), ["by_page", "by_owner"]);
    for change in [named(&longer.sources, "edits"), named(&longer.views, "by_page")] {
        assert_eq!(parts(change), [(Reading, "horizon", true, true)]);
    }
    let back = PipelineDifference::between(&read(&replayed, CSV), &read(&whole(), CSV));
    assert_eq!(parts(named(&back.sources, "edits")), [(Reading, "mode", true, true)]);
    let limit = between(&whole().replace("by_page AS", "by_page WITH (max_state_bytes = 4096) AS"), CSV);
    assert_eq!(named(&limit.views, "by_page").kind, ChangeKind::Kept);
    assert!(limit.to_build().next().is_none() && !limit.is_empty(), "{limit:#?}");
}

#[test]
fn one_view_goes_back_alone_unless_what_it_reads_has_changed() {
    let old = read(&whole(), CSV);
    let both = whole().replace("added > 0", "added > 1").replace("owner, count(*) AS n", "owner, min(added) AS n");
    let both = format!("-- edited: ä\r\n{both}");
    let new = read(&both, CSV);
    let spliced = new.with_view_of(&old, "by_page").unwrap();
    assert_eq!(spliced.view("by_page").unwrap().hash, old.view("by_page").unwrap().hash);
    assert_eq!(spliced.view("by_owner").unwrap().hash, new.view("by_owner").unwrap().hash);
    assert!(spliced.text.starts_with("-- edited: ä\r\n"), "what stands around it stays: {}", spliced.text);
    let wider = read(&both.replace("added BIGINT)", "added DOUBLE)"), CSV);
    let refused = wider.with_view_of(&old, "by_page").unwrap_err();
    assert!(refused.contains("was changed as well"), "{refused}");
    assert!(new.with_view_of(&old, "nobody").unwrap_err().contains("does not have it"));
}

#[test]
fn new_definitions_may_not_join_a_key_of_several_rows_unless_they_say_so() {
    let twice = "page,owner\n/a,ann\n/a,bob\n/b,bob\n/b,bob\n";
    let refused = read(&whole(), twice).check_new().unwrap_err();
    assert_eq!(refused.0.len(), 1, "{refused}");
    assert!(refused.0[0].message.contains("2 keys stand in several rows of static table owners"), "{refused}");
    assert!(refused.0[0].message.contains("among them /a in 2; /b in 2"), "{refused}");
    let said = whole().replace("LOCATION 'owners.csv'", "LOCATION 'owners.csv' OPTIONS (several_rows 'true')");
    let meant = read(&said, twice);
    meant.check_new().unwrap();
    assert!(meant.doubts.is_empty(), "{:?}", meant.doubts);
    let hash = |pipeline: &Pipeline| pipeline.view("by_owner").unwrap().hash;
    assert_eq!(hash(&meant), hash(&read(&whole(), twice)), "saying so builds nothing anew");
    read(&whole(), CSV).check_new().unwrap();
}
