//! The former definitions of views: what answers while the definition that is to take its place is being built.
//!
//! In: the present set, and the pipeline of a process. Out: per view whose definition is not served yet, the last one
//! that was, planned again from the text and the static files that it came with.
//! Guarantee: a former definition has the very hash that was served, so its states are those of before; one that cannot
//! be had is named with the reason, and keeps no other from answering.
//! Not here: for how long it answers (the gateway says when its successor is complete).

use views::{Pipeline, PlannedView};

use super::DefinitionRegistry;
use crate::ServingError;
use crate::definition_set::{Defined, DefinitionSet};
use crate::former_view::{FormerView, FormerViews, LostView};

/// What the set says of a view that is being built.
struct Wanted<'a> {
    view: &'a PlannedView,
    served: Defined,
}

impl DefinitionRegistry {
    /// The former definitions of those views of a pipeline that `set` holds as being built, as this pipeline has them.
    ///
    /// # Errors
    /// [`ServingError::Unreachable`]: try again. [`ServingError::Lake`]: the object store must not be used.
    pub async fn former_views(&self, set: &DefinitionSet, pipeline: &Pipeline) -> Result<FormerViews, ServingError> {
        let mut found = FormerViews::default();
        for wanted in wanted(set, pipeline) {
            let file = match self.pipeline(set, wanted.served.file).await {
                Ok(file) => file.ok_or_else(|| "its file was not kept by the version that registered it".to_owned()),
                Err(error @ ServingError::Corrupt { .. }) => Err(error.to_string()),
                Err(error) => return Err(error),
            };
            match file.and_then(|file| plan(&wanted, &file, pipeline)) {
                Ok(former) => found.planned.push(former),
                Err(reason) => {
                    let (view, set) = (wanted.view.name.clone(), wanted.served.file);
                    found.lost.push(LostView { view, set, reason });
                }
            }
        }
        for wanted in kept(set, pipeline) {
            // One that cannot be had any more is built again by whoever goes back to it.
            let file = match self.pipeline(set, wanted.served.file).await {
                Ok(file) => file,
                Err(ServingError::Corrupt { .. }) => None,
                Err(error) => return Err(error),
            };
            found.kept.extend(file.and_then(|file| plan(&wanted, &file, pipeline).ok()));
        }
        Ok(found)
    }
}

/// The replaced definitions of the pipeline's views that are kept.
fn kept<'a>(set: &DefinitionSet, pipeline: &'a Pipeline) -> Vec<Wanted<'a>> {
    let kept = pipeline.views.iter().filter_map(|view| {
        let kept = set.views.get(view.name.as_str())?.kept?;
        (kept.defined.hash != view.hash).then_some(Wanted { view, served: kept.defined })
    });
    kept.collect()
}

/// The views of the pipeline that are being built in the set while an earlier definition is served.
fn wanted<'a>(set: &DefinitionSet, pipeline: &'a Pipeline) -> Vec<Wanted<'a>> {
    let wanted = pipeline.views.iter().filter_map(|view| {
        let state = set.views.get(view.name.as_str())?;
        let is_building = state.building.is_some_and(|building| building.hash == view.hash);
        state.served.filter(|_| is_building).map(|served| Wanted { view, served })
    });
    wanted.collect()
}

/// The definition as its file has it, if the pipeline still has its source.
fn plan(wanted: &Wanted<'_>, file: &Pipeline, pipeline: &Pipeline) -> Result<FormerView, String> {
    let Wanted { view, served } = wanted;
    let former = file.view(view.name.as_str()).filter(|former| former.hash == served.hash);
    let former = former.ok_or_else(|| "its file holds another definition of the view".to_owned())?;
    let own = &former.source;
    match pipeline.source(own.name.as_str()) {
        None => Err(format!("its source {} is not defined any more", own.name)),
        Some(source) if source.topic != own.topic => {
            let (name, now, before) = (&own.name, &source.topic, &own.topic);
            Err(format!("its source {name} is read from topic {now} now, no longer from {before}"))
        }
        Some(_) => Ok(FormerView { view: former.clone(), set: served.file, building: view.hash }),
    }
}
