//! The third step: the files of all groups become the next version of each view.
//!
//! In: a plan, and the output of each of its groups. Out: one commit per view on exactly the version that the plan was
//! made on, or the news that another publisher was first.
//! Guarantee: a plan is published once, whoever publishes it how often: whoever comes second finds the version that the
//! plan became, by the id of its recompute, and says so. An error of one view, or a panic, does not stop the others.

use std::collections::BTreeMap;
use std::sync::Arc;

use lake::Version;
use positions::{Counters, PartitionId};
use serving_layer::{BatchFacts, MayCommit, Publication, Publisher, ServingError, WrittenPart};
use views::caught;

use super::open_plan::{OpenPlan, OpenView};
use super::plan::GroupOutput;
use super::task::{Outcome, Round};
use crate::BatchError;
use crate::grains::folded_of;

/// By the number of the group.
type Outputs<'a> = BTreeMap<usize, &'a GroupOutput>;

impl OpenPlan {
    /// Publishes each view of which all groups were computed. Of two outputs of one group the later one counts.
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
        let outputs: Outputs<'_> = outputs.iter().map(|output| (output.group, output)).collect();
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
        let part_of = |group: usize| -> Result<WrittenPart, BatchError> {
            let part = outputs.get(&group).and_then(|output| output.parts.get(&view.view.name));
            part.cloned().ok_or_else(|| BatchError::GroupMissing { view: view.view.name.clone(), group })
        };
        let parts = (0..self.plan().groups.len()).map(part_of).collect::<Result<Vec<_>, _>>()?;
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
            Err(ServingError::Conflict { .. }) => who_was_first(view).await,
            Err(error) => Err(error.into()),
        }
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

fn sum(outputs: &Outputs<'_>, partition: PartitionId, counts: fn(&GroupOutput) -> &BTreeMap<PartitionId, u64>) -> u64 {
    outputs.values().filter_map(|output| counts(output).get(&partition)).sum()
}

/// Another commit stands where this one was to be: that of another attempt at the same plan, or of somebody else.
async fn who_was_first(view: &OpenView) -> Result<Outcome, BatchError> {
    let next = view.previous.as_ref().map_or(Version(1), |previous| previous.number().next());
    let found = view.store.version(next).await?;
    let own = found.filter(|version| version.facts.recompute == view.plan.recompute);
    Ok(own.map_or(Outcome::LostRace, Outcome::Published))
}
