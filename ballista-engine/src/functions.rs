//! Functions as bytes, and back.
//!
//! In: the functions in plans of views. Out: a byte that says of which kind one is, and what it is made of.
//! Guarantee: the function that comes out computes the same as the one that went in; one that would not is refused
//! where it is sent. No function is left to be found by its name but those that are equal to what every process has
//! under it.
//! Why not by name: the functions around one aggregate share a name whatever their arguments are (`sum_state`), and
//! those that answer NULL where an operator fails are made for one expression. Why a byte even for names: a codec that
//! answers nothing is asked no more, and the next one of a chain takes that for its own answer.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use batch_layer::recompute::{copies_of, keep_first_of};
use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::catalog::TableProvider;
use datafusion::common::{DFSchema, TableReference, exec_datafusion_err, not_impl_err, plan_datafusion_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{AggregateUDF, Expr, Extension, LogicalPlan, ScalarUDF};
use datafusion_proto::logical_plan::LogicalExtensionCodec;
use datafusion_proto::logical_plan::from_proto::parse_expr;
use datafusion_proto::logical_plan::to_proto::serialize_expr;
use datafusion_proto::protobuf;
use prost::Message;
use views::{AggregateParts, ScalarParts, is_lenient, lenient_function};

use crate::parts::{Parts, put};

/// What every process has under this name.
const NAMED: u8 = 1;
const OR_NULL: u8 = 2;
const NULLABLE: u8 = 3;
const LIMITED: u8 = 4;
const CHECKED: u8 = 5;
const FLOAT_KEY: u8 = 6;
const WITHIN_BOUNDS: u8 = 7;
const FIRST_COPY: u8 = 8;
const LENIENT: u8 = 9;
const COMBINED: u8 = 10;

/// The functions that every process has under their names, and all others as what they are made of.
pub(crate) struct Functions {
    scalar: HashMap<String, Arc<ScalarUDF>>,
    aggregate: HashMap<String, Arc<AggregateUDF>>,
    task: Arc<TaskContext>,
}

impl fmt::Debug for Functions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Functions")
            .field("scalar", &self.scalar.len())
            .field("aggregate", &self.aggregate.len())
            .finish()
    }
}

impl Functions {
    /// Those of the sessions of views.
    pub(crate) fn of_views() -> Self {
        let state = views::session_state();
        let (scalar, aggregate) = (state.scalar_functions().clone(), state.aggregate_functions().clone());
        Self { scalar, aggregate, task: state.task_ctx() }
    }

    /// Appends a scalar function.
    pub(crate) fn put_scalar(&self, function: &ScalarUDF, buffer: &mut Vec<u8>) -> Result<()> {
        if let Some(copies) = copies_of(function) {
            buffer.push(FIRST_COPY);
            put(buffer, &copies);
            return Ok(());
        }
        match ScalarParts::of(function) {
            Some(parts) => self.put_parts(parts, buffer),
            None => {
                let known = self.scalar.get(function.name()).filter(|known| ***known == *function);
                put_name(function.name(), known.is_some(), buffer)
            }
        }
    }

    /// The scalar function that was put.
    pub(crate) fn scalar(&self, bytes: &[u8]) -> Result<Arc<ScalarUDF>> {
        let (kind, mut parts) = opened(bytes)?;
        let made = match kind {
            NAMED => {
                let name = parts.text()?;
                let found = self.scalar.get(&name).cloned();
                return found.ok_or_else(|| plan_datafusion_err!("there is no function {name}"));
            }
            FIRST_COPY => return keep_first_of(parts.next()?).map(Arc::new),
            OR_NULL => {
                let is_lenient = parts.number()? == 1;
                let operator = self.expr(parts.next()?)?;
                let arguments = Arc::new(schema(parts.next()?)?);
                ScalarParts::OrNull { operator, arguments, is_lenient }
            }
            NULLABLE => ScalarParts::Nullable,
            LIMITED => limited(&mut parts)?,
            CHECKED => {
                let operation = u8::try_from(parts.number()?).unwrap_or(u8::MAX);
                ScalarParts::Checked { operation, returns: data_type(parts.next()?)? }
            }
            FLOAT_KEY => ScalarParts::FloatKey,
            WITHIN_BOUNDS => ScalarParts::WithinBounds,
            other => return Err(of_another_release(other)),
        };
        made.into_function().map(Arc::new)
    }

    fn put_parts(&self, parts: ScalarParts, buffer: &mut Vec<u8>) -> Result<()> {
        match parts {
            ScalarParts::OrNull { operator, arguments, is_lenient } => {
                buffer.push(OR_NULL);
                put(buffer, &u64::from(is_lenient).to_le_bytes());
                put(buffer, &self.bytes_of_expr(&operator)?);
                let arguments = protobuf::Schema::try_from(&*arguments).map_err(unsent)?;
                put(buffer, &arguments.encode_to_vec());
            }
            ScalarParts::Nullable => buffer.push(NULLABLE),
            ScalarParts::Limited { view, measure, limit_bytes, keys } => {
                buffer.push(LIMITED);
                put(buffer, view.as_bytes());
                put(buffer, measure.as_bytes());
                put(buffer, &(limit_bytes as u64).to_le_bytes());
                keys.iter().for_each(|key| put(buffer, key.as_bytes()));
            }
            ScalarParts::Checked { operation, returns } => {
                buffer.push(CHECKED);
                put(buffer, &u64::from(operation).to_le_bytes());
                put(buffer, &protobuf::ArrowType::try_from(&returns).map_err(unsent)?.encode_to_vec());
            }
            ScalarParts::FloatKey => buffer.push(FLOAT_KEY),
            ScalarParts::WithinBounds => buffer.push(WITHIN_BOUNDS),
        }
        Ok(())
    }

    /// Appends an aggregate.
    pub(crate) fn put_aggregate(&self, function: &AggregateUDF, buffer: &mut Vec<u8>) -> Result<()> {
        if let Some(AggregateParts { combinator, call, input, name, identity }) = AggregateParts::of(function) {
            buffer.push(COMBINED);
            put(buffer, &u64::from(combinator).to_le_bytes());
            put(buffer, &self.bytes_of_expr(&call)?);
            put(buffer, &protobuf::DfSchema::try_from(&input).map_err(unsent)?.encode_to_vec());
            put(buffer, name.as_bytes());
            put(buffer, identity.as_bytes());
            return Ok(());
        }
        if is_lenient(function) {
            buffer.push(LENIENT);
            put(buffer, function.name().as_bytes());
            return Ok(());
        }
        let known = self.aggregate.get(function.name()).filter(|known| ***known == *function);
        put_name(function.name(), known.is_some(), buffer)
    }

    /// The aggregate that was put.
    pub(crate) fn aggregate(&self, bytes: &[u8]) -> Result<Arc<AggregateUDF>> {
        let (kind, mut parts) = opened(bytes)?;
        let no_such = |name: &str| plan_datafusion_err!("there is no aggregate {name}");
        match kind {
            NAMED => {
                let name = parts.text()?;
                self.aggregate.get(&name).cloned().ok_or_else(|| no_such(&name))
            }
            LENIENT => {
                let name = parts.text()?;
                lenient_function(&name).map(Arc::new).ok_or_else(|| no_such(&name))
            }
            COMBINED => {
                let combinator = u8::try_from(parts.number()?).unwrap_or(u8::MAX);
                let call = self.expr(parts.next()?)?;
                let input = protobuf::DfSchema::decode(parts.next()?).map_err(unread)?;
                let input = Arc::new(DFSchema::try_from(&input).map_err(unread)?);
                let (name, identity) = (parts.text()?, parts.text()?);
                AggregateParts { combinator, call, input, name, identity }.into_function().map(Arc::new)
            }
            other => Err(of_another_release(other)),
        }
    }

    fn bytes_of_expr(&self, expr: &Expr) -> Result<Vec<u8>> {
        Ok(serialize_expr(expr, self).map_err(unsent)?.encode_to_vec())
    }

    fn expr(&self, bytes: &[u8]) -> Result<Expr> {
        let expr = protobuf::LogicalExprNode::decode(bytes).map_err(unread)?;
        parse_expr(&expr, self.task.as_ref(), self).map_err(unread)
    }
}

/// A name alone, of a function that every process has under it.
fn put_name(name: &str, is_known: bool, buffer: &mut Vec<u8>) -> Result<()> {
    if !is_known {
        return Err(plan_datafusion_err!("function {name} cannot be sent to other machines"));
    }
    buffer.push(NAMED);
    put(buffer, name.as_bytes());
    Ok(())
}

fn limited(parts: &mut Parts<'_>) -> Result<ScalarParts> {
    let (view, measure) = (parts.text()?, parts.text()?);
    let limit_bytes = usize::try_from(parts.number()?).unwrap_or(usize::MAX);
    let mut keys = Vec::new();
    while !parts.is_empty() {
        keys.push(parts.text()?);
    }
    Ok(ScalarParts::Limited { view, measure, limit_bytes, keys })
}

fn opened(bytes: &[u8]) -> Result<(u8, Parts<'_>)> {
    let (kind, parts) = bytes.split_first().ok_or_else(|| exec_datafusion_err!("a function came without bytes"))?;
    Ok((*kind, Parts::of(parts)))
}

fn schema(bytes: &[u8]) -> Result<Schema> {
    let schema = protobuf::Schema::decode(bytes).map_err(unread)?;
    Schema::try_from(&schema).map_err(unread)
}

fn data_type(bytes: &[u8]) -> Result<DataType> {
    let data_type = protobuf::ArrowType::decode(bytes).map_err(unread)?;
    DataType::try_from(&data_type).map_err(unread)
}

fn unsent(error: impl fmt::Display) -> DataFusionError {
    plan_datafusion_err!("a part of a plan cannot be sent to other machines: {error}")
}

fn unread(error: impl fmt::Display) -> DataFusionError {
    plan_datafusion_err!("a part of a plan that was sent cannot be read: {error}")
}

fn of_another_release(kind: u8) -> DataFusionError {
    plan_datafusion_err!(
        "a function of kind {kind} is none that this process knows: workers, scheduler and executors must be of one \
         release of Twofold"
    )
}

/// Of expressions, functions alone are ours; plans and tables never cross as such.
impl LogicalExtensionCodec for Functions {
    fn try_decode(&self, _buf: &[u8], _inputs: &[LogicalPlan], _ctx: &TaskContext) -> Result<Extension> {
        not_impl_err!("logical plans are not sent")
    }

    fn try_encode(&self, _node: &Extension, _buf: &mut Vec<u8>) -> Result<()> {
        not_impl_err!("logical plans are not sent")
    }

    fn try_decode_table_provider(
        &self,
        _buf: &[u8],
        _table_ref: &TableReference,
        _schema: Arc<Schema>,
        _ctx: &TaskContext,
    ) -> Result<Arc<dyn TableProvider>> {
        not_impl_err!("tables are not sent")
    }

    fn try_encode_table_provider(
        &self,
        _table_ref: &TableReference,
        _node: Arc<dyn TableProvider>,
        _buf: &mut Vec<u8>,
    ) -> Result<()> {
        not_impl_err!("tables are not sent")
    }

    fn try_decode_udf(&self, _name: &str, buf: &[u8]) -> Result<Arc<ScalarUDF>> {
        self.scalar(buf)
    }

    fn try_encode_udf(&self, node: &ScalarUDF, buf: &mut Vec<u8>) -> Result<()> {
        self.put_scalar(node, buf)
    }

    fn try_decode_udaf(&self, _name: &str, buf: &[u8]) -> Result<Arc<AggregateUDF>> {
        self.aggregate(buf)
    }

    fn try_encode_udaf(&self, node: &AggregateUDF, buf: &mut Vec<u8>) -> Result<()> {
        self.put_aggregate(node, buf)
    }
}
