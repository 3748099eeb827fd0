//! The third step: the files of all groups become the next version of each view.
//!
//! In: a plan, and the output of each of its groups, or of parts that cover a group exactly once. Out: one commit per
//! view on exactly the version that the plan was made on, or the news that another publisher was first.
//! Guarantee: a plan is published once, whoever publishes it how often: whoever comes second finds the version that the
//! plan became, by the id of its recompute, and says so. Groups that are missing since their computing found another
//! publisher first are that news, too. An error of one view, or a panic, does not stop the others.

use std::collections::BTreeMap;
use std::sync::Arc;

use lake::Version;
use positions::{Counters, PartitionId, TimestampMicros};
use serving_layer::{BatchFacts, BatchVersion, MayCommit, Publication, Publisher, ServingError, WrittenPart};
use views::caught;

use super::groups::BucketGroup;
use super::open_plan::{OpenPlan, OpenView};
use super::plan::GroupOutput;
use super::task::{Outcome, Round};
use crate::BatchError;
use crate::grains::folded_of;

/// By the number of the group, and by where in it begins and ends what was computed.
type Outputs<'a> = BTreeMap<(usize, TimestampMicros, TimestampMicros), &'a GroupOutput>;

impl OpenPlan {
    /// Publishes each view of which all groups were computed, as a whole or in parts that cover it exactly once. Of two
    /// outputs of one group, or of one part, the later one counts.
    ///
    /// `publisher` is told in the version. `may_commit` is asked directly before each commit.
    pub async fn publish(
        &self,
        outputs: &[GroupOutput],
        publisher: Option<&Publisher>,
        may_commit: &MayCommit<'_>,
    ) -> Round {
        let mut round = Round::new();
        for view in self.views() {
            round.insert(view.view.name.clone(), self.publish_view(view, outputs, publisher, may_commit).await);
        }
        round
    }

    /// Publishes one view of which all groups were computed.
    pub(crate) async fn publish_view(
        &self,
        view: &OpenView,
        outputs: &[GroupOutput],
        publisher: Option<&Publisher>,
        may_commit: &MayCommit<'_>,
    ) -> Result<Outcome, Arc<BatchError>> {
        let groups = &self.plan().groups;
        let placed = outputs.iter().filter_map(|output| {
            let group = groups.get(output.group)?;
            let (from, to) = output.part.unwrap_or((group.from, group.to));
            Some(((output.group, from, to), output))
        });
        let outputs: Outputs<'_> = placed.collect();
        let publishing = self.commit(view, &outputs, publisher, may_commit);
        caught(publishing).await.unwrap_or_else(|panic| Err(panic.into())).map_err(Arc::new)
    }

    async fn commit(
        &self,
        view: &OpenView,
        outputs: &Outputs<'_>,
        publisher: Option<&Publisher>,
        may_commit: &MayCommit<'_>,
    ) -> Result<Outcome, BatchError> {
        let parts = match self.all_parts(view, outputs) {
            Ok(parts) => parts,
            Err(missing) => return overtaken(view).await?.ok_or(missing),
        };
        let replaced = self.replaced(view.grains());
        let name = format!("{:032x}", self.ids().next_id());
        let publication = Publication {
            replaced: replaced.as_ref(),
            parts: &parts,
            facts: self.facts(view, outputs, publisher),
            name: &name,
            nonce: self.ids().next_id(),
            may_commit,
        };
        match view.store.publish_parts(view.previous.as_ref(), publication).await {
            Ok(version) => Ok(Outcome::Published(version)),
            Err(ServingError::Conflict { .. }) => Ok(who_was_first(view).await?.unwrap_or(Outcome::LostRace)),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether nothing of the plan can be published any more, since each view has a newer version: that of another
    /// publisher, or what the plan became. A few requests of the store for each view.
    ///
    /// # Errors
    /// If the object store fails.
    pub async fn is_overtaken(&self) -> Result<bool, BatchError> {
        for view in self.views() {
            if overtaken(view).await?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The files of all groups of a view.
    fn all_parts(&self, view: &OpenView, outputs: &Outputs<'_>) -> Result<Vec<WrittenPart>, BatchError> {
        let mut parts = Vec::new();
        for (number, group) in self.plan().groups.iter().enumerate() {
            parts.extend(parts_of(view, outputs, (number, group))?);
        }
        Ok(parts)
    }

    /// The facts of the version of a view.
    fn facts(&self, view: &OpenView, outputs: &Outputs<'_>, publisher: Option<&Publisher>) -> BatchFacts {
        let plan = self.plan();
        let previous = plan.since.as_ref().and(view.previous.as_ref());
        let counters = plan.counters.iter().map(|(partition, below)| {
            let known = previous.and_then(|version| version.facts.counters.get(partition));
            // Buckets that were not touched keep their copies; those of the touched ones are counted anew.
            let copies = known.map_or(0, |known| known.copies) + sum(outputs, *partition, |output| &output.left_out);
            let before = sum(outputs, *partition, |output| &output.left_out_before);
            (*partition, Counters { copies: copies - before, ..*below })
        });
        BatchFacts {
            definition: view.view.hash,
            cut: plan.cut.clone(),
            master_version: plan.master_version,
            recompute: view.plan.recompute,
            published_at: self.clock().now(),
            is_full: plan.since.is_none(),
            counters: counters.collect(),
            holes: plan.holes.clone(),
            // Buckets that were not touched are as they were.
            erased: previous.map_or(plan.erased, |version| version.facts.erased),
            publisher: publisher.cloned(),
            folded: folded_of(view.previous.as_ref()),
        }
    }
}

/// The files of one group, rising by event time: of exactly those outputs that lie side by side from its beginning to
/// its end.
fn parts_of(
    view: &OpenView,
    outputs: &Outputs<'_>,
    (number, group): (usize, &BucketGroup),
) -> Result<Vec<WrittenPart>, BatchError> {
    let name = &view.view.name;
    let missing = || BatchError::GroupMissing { view: name.clone(), group: number };
    let (mut parts, mut reached) = (Vec::new(), group.from);
    let (first, last) = (TimestampMicros(i64::MIN), TimestampMicros(i64::MAX));
    for ((_, from, to), output) in outputs.range((number, first, first)..=(number, last, last)) {
        if *from != reached || to <= from {
            return Err(missing());
        }
        parts.push(output.parts.get(name).cloned().ok_or_else(missing)?);
        reached = *to;
    }
    if reached == group.to { Ok(parts) } else { Err(missing()) }
}

fn sum(outputs: &Outputs<'_>, partition: PartitionId, counts: fn(&GroupOutput) -> &BTreeMap<PartitionId, u64>) -> u64 {
    outputs.values().filter_map(|output| counts(output).get(&partition)).sum()
}

/// What the plan came to for a view that has a newer version than the plan was made on; `None`: it has none.
async fn overtaken(view: &OpenView) -> Result<Option<Outcome>, BatchError> {
    let newest = view.store.newest().await?.map(|version| version.number());
    let made_on = view.previous.as_ref().map(BatchVersion::number);
    if newest <= made_on {
        return Ok(None);
    }
    Ok(Some(who_was_first(view).await?.unwrap_or(Outcome::LostRace)))
}

/// The commit that stands where this one was to be: that of another attempt at the same plan, or of somebody else;
/// `None` where there is none.
async fn who_was_first(view: &OpenView) -> Result<Option<Outcome>, BatchError> {
    let next = view.previous.as_ref().map_or(Version(1), |previous| previous.number().next());
    let Some(found) = view.store.version(next).await? else { return Ok(None) };
    let is_own = found.facts.recompute == view.plan.recompute;
    Ok(Some(if is_own { Outcome::Published(found) } else { Outcome::LostRace }))
}
