//! What an operator meets: which test holds each case, and the cases that no other suite has.
//!
//! [`CASES`] is the list, in the order in which a reader would look: a case whose test is renamed or gone fails here.

mod copies;
mod full_log;
mod pipelines;
mod signals;

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::cli::check;
use crate::support::process::{Running, Setup, binary};

/// What must hold, and the tests that hold it, as paths of this binary (those of both kinds of parts without the kind).
const CASES: &[(&str, &[&str])] = &[
    (
        "compose comes up a second time, on the bucket that is there",
        &["compose::a_bucket_that_is_there_already_is_success"],
    ),
    (
        "a nullable column is added to a source with history",
        &["system::columns::a_new_column_is_read_from_what_was_archived_before_it"],
    ),
    (
        "the log is lost and the lake kept: the source stops, and the way out that it names works",
        &[
            "system::a_source_whose_topic_was_replaced_stops_and_says_so",
            "system::lives::a_source_whose_topic_was_replaced_goes_on_after_a_reset",
        ],
    ),
    (
        "a copy made under load holds what was acknowledged before it",
        &["operator::copies::a_hot_copy_holds_what_was_acknowledged_before_it"],
    ),
    ("a copy made after the stop is the whole", &["operator::copies::a_cold_copy_is_the_whole_also_without_its_lake"]),
    (
        "the lake is lost and the log kept: answers are exact",
        &["operator::copies::a_cold_copy_is_the_whole_also_without_its_lake"],
    ),
    (
        "`batch run --full` beside `up` is done",
        &["cli::by_hand::a_full_recompute_beside_a_busy_loop_is_done_each_time"],
    ),
    (
        "a topic that exists is used with the partitions that it has",
        &["system::partitions::a_topic_is_taken_as_it_is_where_no_number_is_written"],
    ),
    (
        "partitions are raised, on the embedded log and with brokers",
        &[
            "system::partitions::added_partitions_are_read_by_both_layers",
            "system::partitions::a_larger_number_raises_the_topic_of_a_system_that_runs",
            "real::topics::a_topic_with_fewer_partitions_than_written_is_read_and_the_way_to_raise_it_is_told",
        ],
    ),
    (
        "another tool compacted a Delta table: it goes on; another one changed rows: the way back is named",
        &[
            "lake_foreign::a_compaction_by_another_tool_changes_nothing_and_is_put_back_by_the_next_commit",
            "lake_foreign::a_change_of_rows_by_another_tool_is_named_and_left_out_by_a_repair",
        ],
    ),
    (
        "a run failed at night: it is not repeated for nothing, and a retry does only what failed",
        &["workflow_processes::refused::a_permanent_failure_is_not_repeated_before_something_has_changed"],
    ),
    (
        "a backfill is paused, its workers are replaced, and it goes on",
        &["workflow_processes::interrupted::a_backfill_that_was_interrupted_does_only_what_is_left"],
    ),
    (
        "a person is erased from everything, and what is old as well",
        &[
            "erasing::nothing_of_a_person_is_left_and_the_rest_is_exact",
            "erasing::a_killed_erasing_is_gone_on_with",
            "batch::retention::days_that_are_too_old_are_erased_and_the_rest_is_exact",
        ],
    ),
    (
        "Redis over TLS is used, with an authority of one's own",
        &["realtime_store::tls::a_server_that_cannot_be_believed_is_refused"],
    ),
    (
        "a wrong password of Redis is told as that, and a right one is enough",
        &[
            "cli::operating::a_redis_that_wants_another_password_is_told_as_that",
            "realtime_store::rights::a_user_who_is_let_in_again_is_served_again",
        ],
    ),
    (
        "an endpoint without `http://` names the setting and the form",
        &["cli::operating::an_endpoint_is_told_by_its_setting_until_only_the_store_is_missing"],
    ),
    (
        "one bad source of two leaves the other served and the process in the balancer",
        &["real::topics::a_source_on_a_compacted_topic_is_refused_while_another_is_served"],
    ),
    (
        "Kafka is killed under the roles: the probes of those that need it tell, and all come back",
        &["real::roles::a_killed_kafka_shows_in_the_probes_of_the_roles_that_need_it_and_in_no_other"],
    ),
    (
        "an old process does not win by starting last",
        &[
            "cli::superseded::an_old_process_does_not_win_by_starting_last",
            "operator::pipelines::of_two_pipelines_on_one_lake_the_newer_one_stays",
        ],
    ),
    (
        "aborted transactions are neither counted nor lag",
        &["real::topics::what_was_aborted_is_counted_neither_in_answers_nor_as_lag"],
    ),
    (
        "a variable that sets nothing is told",
        &["cli::operating::a_variable_that_sets_nothing_is_told_with_the_one_that_was_meant"],
    ),
    ("a mistyped data directory is not made", &["cli::by_hand::a_mistyped_data_directory_is_refused_and_not_made"]),
    (
        "no data, nothing new and waiting are three messages",
        &["cli::by_hand::no_data_a_silence_to_wait_for_and_nothing_new_are_told_apart"],
    ),
    (
        "keys that stand twice in a static file are warned of",
        &[
            "pipeline::dialect::keys_that_stand_twice_in_a_joined_table_are_doubted",
            "operator::keys_that_stand_twice_are_refused_unless_the_pipeline_says_that_they_are_meant",
        ],
    ),
    (
        "a changed view is answered by its old definition until the new one is whole",
        &[
            "topology::registry::the_registry_says_what_is_being_built_until_it_answers_completely",
            "speed::former::a_former_definition_is_in_new_runs_and_keeps_old_ones_until_its_successor_answers",
            "gateway::pinning::a_view_that_is_read_for_the_first_time_is_being_built_until_a_worker_has_seen_the_end",
        ],
    ),
    (
        "SIGTERM, SIGHUP and SIGQUIT under load lose nothing acknowledged; SIGUSR1 ends nothing",
        &[
            "operator::signals::a_signal_under_load_loses_nothing_acknowledged",
            "operator::signals::signals_that_mean_nothing_end_nothing",
        ],
    ),
    ("a log that nobody reads ends nothing", &["cli::operating::a_log_that_nobody_reads_any_more_ends_nothing"]),
    (
        "a full realtime store is named with the setting",
        &["system::full_store::a_full_realtime_store_is_named_with_the_setting_that_makes_room"],
    ),
    (
        "metrics are there from the start, with their help",
        &["alerts::a_process_tells_every_counter_from_its_start_and_says_what_each_metric_is"],
    ),
];

#[test]
fn every_case_has_its_tests() {
    let missing = |path: &&str| {
        let (module, name) = path.rsplit_once("::").unwrap();
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("it").join(module.replace("::", "/"));
        let files = [file.with_extension("rs"), file.join("mod.rs")];
        let text: String = files.iter().filter_map(|file| fs::read_to_string(file).ok()).collect();
        !text.contains(&format!("fn {name}("))
    };
    let gone: Vec<&str> = CASES.iter().flat_map(|(_, tests)| *tests).copied().filter(missing).collect();
    assert!(gone.is_empty(), "no such tests: {gone:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_stand_twice_are_refused_unless_the_pipeline_says_that_they_are_meant() {
    let folder = tempfile::tempdir().unwrap();
    let pipeline = "
        CREATE UNBOUNDED EXTERNAL TABLE hits (id VARCHAR NOT NULL, time TIMESTAMP NOT NULL, page VARCHAR NOT NULL)
        STORED AS JSON LOCATION 'kafka://hits' OPTIONS (event_time 'time', event_id 'id');
        CREATE EXTERNAL TABLE owners (page VARCHAR, owner VARCHAR) STORED AS CSV LOCATION 'owners.csv';
        CREATE MATERIALIZED VIEW by_owner AS SELECT owner, count(*) AS hits
        FROM hits LEFT JOIN owners ON hits.page = owners.page GROUP BY owner;";
    let setup = Setup::new(folder.path(), pipeline, Vec::new());
    std::fs::write(folder.path().join("owners.csv"), "page,owner\n/a,ann\n/b,bob\n/a,ann\n").unwrap();
    let told = "1 key stands in several rows of static table owners, among them /a in 2: an event counts once for each";
    let validate = |code| {
        let validated = Command::new(binary()).arg("validate").arg(&setup.pipeline).output().unwrap();
        let expected = [told, "several_rows 'true'"];
        check(&validated, code, if code == 0 { &[] } else { &expected });
    };
    validate(1);
    check(&setup.run_to_its_end(&["up"]).await, 1, &["these definitions are new, and were not registered", told]);
    let said = pipeline.replace("LOCATION 'owners.csv'", "LOCATION 'owners.csv' OPTIONS (several_rows 'true')");
    std::fs::write(&setup.pipeline, said).unwrap();
    validate(0);
    assert!(Running::start(&setup).await.terminate().success());
}
