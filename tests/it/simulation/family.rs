//! The pipelines between which operators choose: planned once for all worlds. What is stored is found again by its
//! text and its hashes.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use positions::DefinitionHash;
use serving_layer::registry::{Defined, DefinitionSet, FormerView};
use twofold::definitions::RunningDefinitions;
use views::{Pipeline, PlannedView};

use super::traffic::{View, pipelines};

/// So many pipelines there are.
pub const MEMBERS: usize = 6;

struct Family {
    members: Vec<Arc<Pipeline>>,
    /// What each definition counts, by its hash as envelopes have it.
    views: BTreeMap<String, View>,
}

static FAMILY: LazyLock<Family> = LazyLock::new(|| {
    let mut family = Family { members: Vec::new(), views: BTreeMap::new() };
    for (text, views) in texts() {
        let pipeline = Pipeline::read(&text, &BTreeMap::new()).unwrap();
        assert_eq!(pipeline.views.len(), views.len());
        let hash = |view: &View| pipeline.view(view.name()).unwrap().hash.to_string();
        family.views.extend(views.iter().map(|view| (hash(view), *view)));
        family.members.push(Arc::new(pipeline));
    }
    family
});

/// Another filter, a measure less, a view less, both of the first two, and a source that is read otherwise.
fn texts() -> [(String, Vec<View>); MEMBERS] {
    let [plain, other] = pipelines();
    let replace = |text: &str, from: &str, to: &str| {
        assert!(text.contains(from), "{text}");
        text.replace(from, to)
    };
    let positive = replace(&plain, "FROM edits  GROUP BY page", "FROM edits WHERE added >= 0 GROUP BY page");
    let less = |text: &str| replace(text, ", count(DISTINCT page) AS pages", "");
    let dropped = plain[..plain.find("CREATE MATERIALIZED VIEW by_size").unwrap()].to_owned();
    [
        (plain.clone(), vec![View::Page, View::Size]),
        (positive.clone(), vec![View::PositivePage, View::Size]),
        (less(&plain), vec![View::Page, View::PlainSize]),
        (less(&positive), vec![View::PositivePage, View::PlainSize]),
        (dropped, vec![View::Page]),
        (other, vec![View::ChangedPage, View::Size]),
    ]
}

/// One of them.
pub fn member(number: usize) -> Arc<Pipeline> {
    FAMILY.members[number].clone()
}

/// What a definition counts.
pub fn counted_by(definition: &str) -> View {
    FAMILY.views[definition]
}

/// The one with this text.
pub fn of_text(text: &str) -> Arc<Pipeline> {
    FAMILY.members.iter().find(|member| *member.text == *text).expect("only these are registered").clone()
}

/// The one that has the views of `present`, but this one as `earlier` has it; if there is one.
pub fn with_view_of(present: &Pipeline, earlier: &Pipeline, name: &str) -> Option<Arc<Pipeline>> {
    let is_wanted = |member: &&Arc<Pipeline>| {
        let is_same = |view: &PlannedView| {
            let of = if view.name.as_str() == name { earlier } else { present };
            of.view(view.name.as_str()).is_some_and(|wanted| wanted.hash == view.hash)
        };
        member.views.len() == present.views.len() && member.views.iter().all(is_same)
    };
    FAMILY.members.iter().find(is_wanted).cloned()
}

fn planned(name: &str, hash: DefinitionHash) -> PlannedView {
    let mut views = FAMILY.members.iter().filter_map(|member| member.view(name));
    views.find(|view| view.hash == hash).expect("only these are registered").clone()
}

/// What a process runs that reads this set: what `serving_layer` plans anew, taken from what is planned.
pub fn running(set: &DefinitionSet) -> RunningDefinitions {
    let pipeline = of_text(&set.file(set.number).unwrap().text);
    let mut running =
        RunningDefinitions { pipeline: pipeline.clone(), number: set.number, ..RunningDefinitions::default() };
    for view in &pipeline.views {
        let name = view.name.as_str();
        let state = &set.views[name];
        let of = |defined: Defined| {
            let (set, building) = (defined.file, view.hash);
            FormerView { view: planned(name, defined.hash), set, building }
        };
        let is_building = state.building.is_some_and(|building| building.hash == view.hash);
        running.former.extend(state.served.filter(|_| is_building).map(of));
        let kept = state.kept.filter(|kept| kept.defined.hash != view.hash);
        running.kept.extend(kept.map(|kept| of(kept.defined)));
    }
    running
}
