//! What an answer was made of: its groups with the version and the runs of the very pin that they were computed from.
//!
//! Guarantee: rows, envelope, version and runs are of one pin.
//! Not here: the events of a group, which are in the master dataset (`twofold/src/explain_route.rs`), and what is told
//! of all this to whom (there, too).

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use edge::Principal;
use positions::{Offset, PartitionId, Position, RunId};
use serving_layer::BatchVersion;
use views::PlannedView;

use crate::asked::AskedGroups;
use crate::envelope::Envelope;
use crate::pin::PartitionPin;
use crate::rows::{Layer, RowsRequest};
use crate::sql_pins::of_layer;
use crate::visible::VisibleStates;
use crate::{Gateway, GatewayError, told};

/// An answer, and what it was made of.
#[derive(Clone, Debug)]
pub struct Account {
    /// The view, by the definition that answered.
    pub view: PlannedView,
    /// The groups that were asked for.
    pub asked: AskedGroups,
    /// Dimensions and finished measures, in the order of the dimensions.
    pub rows: RecordBatch,
    /// What the answer says of itself.
    pub envelope: Envelope,
    /// The batch version; `None` before the first.
    pub version: Option<BatchVersion>,
    /// By partition.
    pub partitions: BTreeMap<PartitionId, AccountPartition>,
}

/// A partition of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountPartition {
    /// Below it batch answered.
    pub cut: Position,
    /// Below it the whole answered.
    pub head: Position,
    /// What tiles `[cut, head)`, in the order of the log.
    pub runs: Vec<AccountRun>,
}

/// A run of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountRun {
    /// Its number in the realtime store.
    pub id: RunId,
    /// Its first offset.
    pub from: Offset,
    /// The first offset behind it.
    pub to: Offset,
    /// States in it, of all groups.
    pub states: u64,
}

impl AccountPartition {
    fn of(pin: &PartitionPin, layer: Layer) -> Self {
        let run = |run: &crate::pin::PinnedRun| AccountRun { id: run.id, from: run.from, to: run.to, states: run.rows };
        match layer {
            Layer::Batch => Self { cut: pin.cut, head: pin.cut, runs: Vec::new() },
            Layer::Merged | Layer::Realtime => {
                Self { cut: pin.cut, head: pin.head, runs: pin.runs.iter().map(run).collect() }
            }
        }
    }
}

impl Gateway {
    /// Answers a rows request that asks for few groups, and says what the answer was made of. Cuts, runs and files are
    /// of all rows: it is for principals that see all of them.
    ///
    /// # Errors
    /// [`GatewayError`], by what the caller should do.
    pub async fn account(&self, principal: &Principal, request: &RowsRequest) -> Result<Account, GatewayError> {
        let mut later: Option<Arc<Self>> = None;
        loop {
            let gateway: &Self = later.as_deref().unwrap_or(self);
            let account = gateway.account_here(principal, request).await;
            match (account, gateway.later().cloned()) {
                (Err(_), Some(next)) => later = Some(next),
                (account, _) => return account.map_err(|error| told::error(principal, error)),
            }
        }
    }

    async fn account_here(&self, principal: &Principal, request: &RowsRequest) -> Result<Account, GatewayError> {
        let (source, reader) = self.find(principal, &request.view)?;
        let view = &reader.view;
        let rules = self.row_filters(principal, view)?;
        let asked = AskedGroups::parse(view, &request.parameters, self.settings())?;
        let state = self.state_covering(source, &[(&view.name, view.hash)], asked.wait()).await?;
        let (_permit, served) = (self.admit()?, source.served(&state, view)?);
        let states = of_layer(VisibleStates::new(&served, &rules), asked.layer());
        let rows = asked.answer_over(view, states).await?;
        let envelope = self.envelope(principal, view, &served, asked.layer(), &state);
        let pins = served.partitions.iter();
        let partitions = pins.map(|(partition, pin)| (*partition, AccountPartition::of(pin, asked.layer())));
        Ok(Account {
            view: view.clone(),
            rows,
            envelope,
            version: served.version.clone(),
            partitions: partitions.collect(),
            asked,
        })
    }
}
