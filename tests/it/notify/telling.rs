//! Which changes are told, once, and what a notice says.

use std::collections::BTreeSet;

use positions::{TimestampMicros, ViewName};
use serde_json::json;
use twofold::config::NoticeKind;
use twofold::notify::{Judge, MissedDeadline, RunEvent, notice_of_deadline, notice_of_run, signature};
use workflow::RunState;
use workflow::schedule::ScheduleName;

use super::{backfill, event};

fn told(judge: &mut Judge, events: &[RunEvent]) -> Vec<Option<NoticeKind>> {
    events.iter().map(|event| judge.judge(event)).collect()
}

#[test]
fn a_failure_is_told_once_until_it_is_done_again() {
    let mut judge = Judge::default();
    let night = |run: &str, state: RunState| {
        [event(run, RunState::Queued, 1), event(run, RunState::Running, 2), event(run, state, 3)]
    };
    let (failure, recovery) = (Some(NoticeKind::Failure), Some(NoticeKind::Recovery));
    assert_eq!(told(&mut judge, &night("1", RunState::Done)), [None; 3], "what never failed does not recover");
    assert_eq!(told(&mut judge, &night("2", RunState::Failed)), [None, None, failure]);
    assert_eq!(told(&mut judge, &night("3", RunState::Failed)), [None; 3]);
    assert_eq!(told(&mut judge, &night("4", RunState::Cancelled)), [None; 3]);
    // A restart forgets nothing.
    let mut judge: Judge = serde_json::from_str(&serde_json::to_string(&judge).unwrap()).unwrap();
    assert_eq!(told(&mut judge, &night("5", RunState::Failed)), [None; 3]);
    assert_eq!(told(&mut judge, &night("6", RunState::Done)), [None, None, recovery]);
    assert_eq!(told(&mut judge, &night("7", RunState::Done)), [None; 3]);
    assert_eq!(told(&mut judge, &night("8", RunState::Failed)), [None, None, failure]);
}

#[test]
fn what_is_done_says_nothing_of_another_schedule_or_of_what_somebody_started() {
    let mut judge = Judge::default();
    assert_eq!(judge.judge(&event("1", RunState::Failed, 1)), Some(NoticeKind::Failure));
    let others = [
        RunEvent { schedule: Some(ScheduleName("hourly".to_owned())), ..event("2", RunState::Done, 2) },
        RunEvent { schedule: None, ..event("3", RunState::Done, 3) },
        RunEvent { source: positions::SourceName::new("orders"), ..event("4", RunState::Done, 4) },
    ];
    assert_eq!(told(&mut judge, &others), [None; 3]);
    let by_hand = RunEvent { schedule: None, ..event("5", RunState::Failed, 5) };
    let backfill = RunEvent { kind: "backfill".to_owned(), ..by_hand.clone() };
    assert_eq!(told(&mut judge, &[by_hand, backfill]), [Some(NoticeKind::Failure); 2]);
    assert_eq!(judge.judge(&event("6", RunState::Done, 6)), Some(NoticeKind::Recovery));
}

/// Its runs have other views each time: those that have something new.
#[test]
fn of_the_interval_each_view_is_told_by_itself() {
    let mut judge = Judge::default();
    let run = |views: &[&str], state: RunState, reason: Option<&str>| RunEvent {
        schedule: Some(ScheduleName("batch.interval".to_owned())),
        views: views.iter().map(positions::ViewName::new).collect(),
        reason: reason.map(str::to_owned),
        ..event("1", state, 1)
    };
    let (failure, recovery) = (Some(NoticeKind::Failure), Some(NoticeKind::Recovery));
    let events = [
        run(&["hits", "visits"], RunState::Failed, Some("view visits: over its limit")),
        run(&["hits"], RunState::Done, None),
        run(&["visits"], RunState::Failed, Some("view visits: over its limit")),
        run(&["hits"], RunState::Failed, Some("the store does not answer")),
        run(&["hits", "visits"], RunState::Done, None),
    ];
    assert_eq!(told(&mut judge, &events), [failure, None, None, failure, recovery]);
}

#[test]
fn a_notice_is_a_sentence_for_people_and_keys_for_programs() {
    let notice = notice_of_run(NoticeKind::Failure, &event("r7", RunState::Failed, 90));
    assert_eq!(
        notice.body,
        json!({
            "id": notice.id,
            "event": "failure",
            "text": "schedule nightly, source clicks: run r7 failed: group 7 is over its limit",
            "run": "r7",
            "kind": "recompute",
            "schedule": "nightly",
            "source": "clicks",
            "views": ["hits", "visits"],
            "mode": "incremental",
            "range": null,
            "state": "failed",
            "reason": "group 7 is over its limit",
            "started_at": "2026-05-29T00:00:00.000Z",
            "ended_at": "2026-05-29T00:01:30.000Z",
            "at": "2026-05-29T00:01:30.000Z",
        })
    );
    let by_hand = RunEvent { schedule: None, ..event("r8", RunState::Done, 1) };
    let text = notice_of_run(NoticeKind::Recovery, &by_hand).body["text"].as_str().unwrap().to_owned();
    assert_eq!(text, "recompute of source clicks: run r8 is done; what failed before is well again");

    let body = notice_of_run(NoticeKind::Failure, &backfill("r9", RunState::Failed, 1)).body;
    let range = json!({"from": "2026-01-01T00:00:00.000Z", "to": "2026-01-03T00:00:00.000Z", "only_missing": true});
    assert_eq!((&body["kind"], &body["mode"], &body["range"]), (&json!("backfill"), &json!("buckets"), &range));
    let text = "backfill of source clicks, 2026-01-01T00:00:00.000Z to 2026-01-03T00:00:00.000Z: run r9 failed: group 7 \
                is over its limit";
    assert_eq!(body["text"], text);

    let occurrence = TimestampMicros(1_780_012_800_000_000);
    let mut missed = MissedDeadline { schedule: ScheduleName("nightly".to_owned()), occurrence, run: None };
    let text = |missed: &MissedDeadline| {
        let notice = notice_of_deadline(missed, occurrence);
        assert_eq!(
            (notice.kind, &notice.body["due_at"]),
            (NoticeKind::MissedDeadline, &json!("2026-05-29T00:00:00.000Z"))
        );
        notice.body["text"].as_str().unwrap().to_owned()
    };
    let due = "schedule nightly: what was due at 2026-05-29T00:00:00.000Z missed its deadline";
    assert_eq!(text(&missed), format!("{due}: its run has not started"));
    missed.run = Some("r9".to_owned());
    assert_eq!(text(&missed), format!("{due}: run r9 is not done"));
}

#[test]
fn a_notice_is_bounded_and_has_an_id_of_its_own() {
    let mut failed = event("r1", RunState::Failed, 1);
    failed.reason = Some("\u{e4}".repeat(100_000));
    let notice = notice_of_run(NoticeKind::Failure, &failed);
    assert!(notice.body.to_string().len() < 12_000);
    let again = notice_of_run(NoticeKind::Failure, &failed);
    let later = notice_of_run(NoticeKind::Failure, &event("r1", RunState::Failed, 2));
    let other = notice_of_run(NoticeKind::Recovery, &failed);
    assert_eq!(notice.id, again.id);
    assert_eq!(BTreeSet::from([&notice.id, &later.id, &other.id]).len(), 3);
}

/// Against a value that another program computed: `printf '%s' '1700000000.{"a":1}' | openssl dgst -sha256 -hmac key`.
#[test]
fn the_signature_is_hmac_sha256_over_time_and_body() {
    let expected = "v1=a438e398bfafc57e4396bb7fc2304422f0f768e965d073ca313cb52e22e6ad03";
    assert_eq!(signature("key", "1700000000", br#"{"a":1}"#), expected);
    assert_ne!(signature("key", "1700000001", br#"{"a":1}"#), expected);
    assert_ne!(signature("kez", "1700000000", br#"{"a":1}"#), expected);
}

#[test]
fn one_folding_that_is_done_says_nothing_of_another_one() {
    let mut judge = Judge::default();
    let housekeeping = |views: &[&str], state, seconds| RunEvent {
        kind: "housekeeping".to_owned(),
        views: views.iter().map(ViewName::new).collect(),
        schedule: Some(ScheduleName("housekeeping".to_owned())),
        ..event("1", state, seconds)
    };
    assert_eq!(judge.judge(&housekeeping(&["a"], RunState::Failed, 1)), Some(NoticeKind::Failure));
    assert_eq!(judge.judge(&housekeeping(&["b"], RunState::Done, 2)), None);
    assert_eq!(judge.judge(&housekeeping(&[], RunState::Done, 3)), None);
    assert_eq!(judge.judge(&housekeeping(&["a"], RunState::Done, 4)), Some(NoticeKind::Recovery));
    let merging = |state, seconds| RunEvent { kind: "compact".to_owned(), ..housekeeping(&[], state, seconds) };
    assert_eq!(judge.judge(&merging(RunState::Failed, 5)), Some(NoticeKind::Failure));
    assert_eq!(judge.judge(&housekeeping(&[], RunState::Done, 6)), None, "what was deleted merged nothing");
    assert_eq!(judge.judge(&merging(RunState::Done, 7)), Some(NoticeKind::Recovery));
}
