//! Receipts of what simulated gateways answer: once all is archived, the lake alone says the same, whatever became of
//! runs and versions meanwhile.

use std::sync::atomic::Ordering;
use std::time::Duration;

use batch_layer::RecomputeSettings;
use edge::Principal;
use query_gateway::RowsRequest;
use twofold::explain::receipt_of;
use twofold::receipt::run::verify_receipt;
use twofold::receipt::{Receipt, Verdict};

use super::readers::{Reader, Violation};
use super::world::World;

/// In one of so many worlds: to verify a receipt costs as much as a recompute.
const ONE_IN: u64 = 16;
/// Receipts of one world.
const MOST: usize = 6;

/// See the module.
#[derive(Default)]
pub struct Receipts(Vec<Receipt>);

impl Receipts {
    /// Takes one of what a reader would be answered now.
    pub async fn take(&mut self, world: &World, reader: &Reader) {
        if !world.plan.seed.is_multiple_of(ONE_IN) || world.plan.bug.is_some() || self.0.len() >= MOST {
            return;
        }
        let request = RowsRequest::new(reader.view.name());
        let Ok(account) = reader.gateway.account(&Principal::anyone(), &request).await else { return };
        self.0.push(receipt_of(&account, &[], world.master().await.as_ref()).unwrap());
    }

    /// All of them are equal, but for those that counted what was lost before it was archived.
    pub async fn check(&self, world: &World) -> Result<(), Violation> {
        let (lake, settings) =
            (world.calm_lake(), RecomputeSettings { target_partitions: 1, ..RecomputeSettings::default() });
        let pipeline = Some(world.pipelines[world.generation.load(Ordering::SeqCst)].as_ref());
        for receipt in &self.0 {
            match verify_receipt(&lake, pipeline, receipt, Duration::ZERO, &settings).await {
                Ok(Verdict::Equal { .. } | Verdict::NotVerifiable { .. }) => {}
                // Nothing of such a world waits for the archive.
                Ok(Verdict::NotArchived { .. }) if world.plan.is_kappa => {}
                found => return Err(Violation::new("wrong receipt", format!("{found:?} of {}", receipt.to_text()))),
            }
        }
        Ok(())
    }
}
