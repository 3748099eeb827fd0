//! What is said of a change, against what was really changed: random ones, one thing at a time.

use views::{ChangeKind, NamedChange, PartKind, PipelineDifference};

use crate::support::changes::{Change, Definitions};
use crate::support::seeds::for_each_seed;

/// What is expected of a source or a view: what became of it, and of which part, with the name of that where it is one
/// of several.
type Expected<'a> = (ChangeKind, Option<(PartKind, Option<&'a str>)>);

const UNCHANGED: Expected<'static> = (ChangeKind::Unchanged, None);

fn changed(kind: PartKind, name: Option<&str>) -> Expected<'_> {
    (ChangeKind::Changed, Some((kind, name)))
}

fn expected_of_source(change: &Change) -> Expected<'_> {
    match change {
        Change::Column => changed(PartKind::Schema, None),
        Change::LateAfter => changed(PartKind::Reading, Some("late_after")),
        Change::Grid => (ChangeKind::Kept, Some((PartKind::Option, Some("grid")))),
        _ => UNCHANGED,
    }
}

fn expected_of_view<'a>(change: &'a Change, after: &Definitions, name: &str) -> Expected<'a> {
    match change {
        Change::AddView(new) | Change::RenameView { to: new, .. } if new == name => (ChangeKind::Added, None),
        Change::DropView(old) | Change::RenameView { from: old, .. } if old == name => (ChangeKind::Dropped, None),
        Change::Measure { view, measure } if view == name => changed(PartKind::Measure, Some(measure)),
        Change::Filter(view) if view == name => changed(PartKind::Filter, None),
        Change::Letters(view) if view == name => changed(PartKind::Dimension, Some("letters")),
        Change::Bucket(view) if view == name => changed(PartKind::Bucket, None),
        Change::Column => changed(PartKind::Schema, None),
        Change::LateAfter => changed(PartKind::Reading, Some("late_after")),
        Change::StaticRows if after.views.get(name).is_some_and(|view| view.is_weighed) => {
            changed(PartKind::StaticTable, Some("pages"))
        }
        _ => UNCHANGED,
    }
}

fn check(change: &Change, told: &NamedChange, (kind, part): Expected<'_>) {
    assert_eq!(told.kind, kind, "{change:?}: {told:?}");
    let is_right = match part {
        None => told.parts.is_empty(),
        Some((kind, name)) => {
            let is_of_kind = told.parts.iter().all(|part| part.kind == kind);
            is_of_kind
                && !told.parts.is_empty()
                && name.is_none_or(|name| told.parts.iter().all(|part| part.name == name))
        }
    };
    assert!(is_right, "{change:?}: {told:?}");
}

#[test]
fn what_is_said_of_a_change_is_what_was_changed() {
    for_each_seed(6, |mut rng| {
        let mut present = Definitions::first();
        let mut pipeline = present.read().unwrap();
        for _ in 0..8 {
            let (change, next) = present.draw(&mut rng);
            let later = next.read().unwrap();
            let difference = PipelineDifference::between(&pipeline, &later);
            assert_eq!(difference.sources.len(), 1);
            check(&change, &difference.sources[0], expected_of_source(&change));
            let is_renamed = matches!(change, Change::RenameView { .. });
            let is_dropped = matches!(change, Change::DropView(_));
            let views = later.views.len() + usize::from(is_renamed || is_dropped);
            assert_eq!(difference.views.len(), views, "{change:?}");
            for told in &difference.views {
                check(&change, told, expected_of_view(&change, &next, &told.name));
            }
            (present, pipeline) = (next, later);
        }
    });
}
