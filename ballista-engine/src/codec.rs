//! Plans as bytes: what Ballista adds to a plan is its own to write, functions are ours.
//!
//! Guarantee: each answer begins with a byte of ours, so that none is empty, and none is taken for another's.

use std::sync::Arc;

use ballista_core::serde::BallistaPhysicalExtensionCodec;
use datafusion::common::exec_datafusion_err;
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{AggregateUDF, ScalarUDF};
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::logical_plan::LogicalExtensionCodec;
use datafusion_proto::physical_plan::{PhysicalExtensionCodec, PhysicalProtoConverterExtension};

use crate::functions::Functions;

/// An operator that Ballista writes.
const OF_BALLISTA: u8 = 1;

/// Plans of views and of the search for copies, as workers, scheduler and executors exchange them.
#[derive(Debug)]
pub struct Codec {
    functions: Arc<Functions>,
    ballista: BallistaPhysicalExtensionCodec,
}

impl Default for Codec {
    fn default() -> Self {
        Self { functions: Arc::new(Functions::of_views()), ballista: BallistaPhysicalExtensionCodec::default() }
    }
}

impl Codec {
    /// The one for expressions: what asks for a codec of logical plans gets this.
    pub fn logical(&self) -> Arc<dyn LogicalExtensionCodec> {
        Arc::<Functions>::clone(&self.functions)
    }
}

impl PhysicalExtensionCodec for Codec {
    fn try_decode(
        &self,
        buf: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        ctx: &TaskContext,
        proto_converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match buf.split_first() {
            Some((&OF_BALLISTA, rest)) => self.ballista.try_decode(rest, inputs, ctx, proto_converter),
            _ => Err(exec_datafusion_err!(
                "an operator is none that this process knows: workers, scheduler and executors must be of one \
                 release of Twofold"
            )),
        }
    }

    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        buf: &mut Vec<u8>,
        proto_converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<()> {
        buf.push(OF_BALLISTA);
        self.ballista.try_encode(node, buf, proto_converter)
    }

    fn try_decode_udf(&self, _name: &str, buf: &[u8]) -> Result<Arc<ScalarUDF>> {
        self.functions.scalar(buf)
    }

    fn try_encode_udf(&self, node: &ScalarUDF, buf: &mut Vec<u8>) -> Result<()> {
        self.functions.put_scalar(node, buf)
    }

    fn try_decode_udaf(&self, _name: &str, buf: &[u8]) -> Result<Arc<AggregateUDF>> {
        self.functions.aggregate(buf)
    }

    fn try_encode_udaf(&self, node: &AggregateUDF, buf: &mut Vec<u8>) -> Result<()> {
        self.functions.put_aggregate(node, buf)
    }
}
