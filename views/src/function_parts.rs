//! Functions of ours as data, and made again of it: what crosses to another process instead of code.
//!
//! Guarantee: a function that is made of the parts of another one computes the same, row by row and state by state.
//! What is counted aside (failing rows) is no part of it.
//! Not here: bytes. Functions that a session has under their names (`session.rs`) need no parts.
//! Why the call of an aggregate, and not its accumulator: planned once more by the same code, it is the same.

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::{DFSchemaRef, Result, plan_datafusion_err};
use datafusion::logical_expr::{AggregateUDF, Expr, ScalarUDF};

use crate::aggregate::{
    CallRecipe, Combinator, Limit, StoredAggregate, combinator_parts, combined, limit_parts, limited_function,
    merge_facts, nullable_function,
};
use crate::float_key::{float_key_function, is_float_key};
use crate::unnest::{is_within_bounds, within_bounds_function};
use crate::{checked, or_null};

/// What a scalar function of a view's plan is made of.
#[derive(Clone, Debug)]
pub enum ScalarParts {
    /// NULL where the operator fails.
    OrNull {
        /// The operator over the arguments' names.
        operator: Expr,
        /// Names and types of the arguments.
        arguments: SchemaRef,
        /// Whether it makes NULL of a value without failing.
        is_lenient: bool,
    },
    /// A column as it is, declared nullable.
    Nullable,
    /// A state as it is, or an error where it is too large.
    Limited {
        /// The view, for the message.
        view: String,
        /// The measure, for the message.
        measure: String,
        /// The largest state.
        limit_bytes: usize,
        /// The names of the group keys.
        keys: Vec<String>,
    },
    /// Arithmetic that fails where the outcome does not fit.
    Checked {
        /// The place of the operation in their list.
        operation: u8,
        /// The type of the outcome.
        returns: DataType,
    },
    /// The one form of floating group keys.
    FloatKey,
    /// The bound on what the items of one event repeat.
    WithinBounds,
}

impl ScalarParts {
    /// The parts of a function; `None` where it is none of these.
    pub fn of(function: &ScalarUDF) -> Option<Self> {
        if let Some((operator, arguments, is_lenient)) = or_null::parts_of(function) {
            return Some(Self::OrNull {
                operator: operator.clone(),
                arguments: SchemaRef::clone(arguments),
                is_lenient,
            });
        }
        if let Some((operation, returns)) = checked::parts_of(function) {
            return Some(Self::Checked { operation, returns });
        }
        if is_float_key(function) {
            return Some(Self::FloatKey);
        }
        if is_within_bounds(function) {
            return Some(Self::WithinBounds);
        }
        Some(match limit_parts(function)? {
            None => Self::Nullable,
            Some(Limit { view, measure, limit_bytes, keys }) => Self::Limited { view, measure, limit_bytes, keys },
        })
    }

    /// The function.
    ///
    /// # Errors
    /// If the parts are those of another version of this crate.
    pub fn into_function(self) -> Result<ScalarUDF> {
        match self {
            Self::OrNull { operator, arguments, is_lenient } => or_null::of_parts(operator, arguments, is_lenient),
            Self::Nullable => Ok(nullable_function()),
            Self::Limited { view, measure, limit_bytes, keys } => {
                Ok(limited_function(Limit { view, measure, limit_bytes, keys }))
            }
            Self::Checked { operation, returns } => checked::of_parts(operation, returns)
                .ok_or_else(|| plan_datafusion_err!("there is no checked operation {operation}")),
            Self::FloatKey => Ok(float_key_function()),
            Self::WithinBounds => Ok(within_bounds_function()),
        }
    }
}

/// What an aggregate of a view's plan is made of: one of the functions around a call.
#[derive(Clone, Debug)]
pub struct AggregateParts {
    /// The place of the combinator in their list.
    pub combinator: u8,
    /// The call that is wrapped.
    pub call: Expr,
    /// The columns that it is over.
    pub input: DFSchemaRef,
    /// The function, as it is called in SQL.
    pub name: String,
    /// The canonical text: equal for calls whose states mean the same.
    pub identity: String,
}

impl AggregateParts {
    /// The parts of a function; `None` where it is no such function.
    pub fn of(function: &AggregateUDF) -> Option<Self> {
        let (kind, aggregate) = combinator_parts(function)?;
        let place = Combinator::ALL.iter().position(|one| *one == kind)?;
        let CallRecipe { call, input, name } = aggregate.recipe().clone();
        let identity = aggregate.identity().to_owned();
        Some(Self { combinator: u8::try_from(place).ok()?, call, input, name, identity })
    }

    /// The function.
    ///
    /// # Errors
    /// If the call cannot be planned, or the parts are those of another version of this crate.
    pub fn into_function(self) -> Result<AggregateUDF> {
        let Self { combinator: place, call, input, name, identity } = self;
        let kind = Combinator::ALL.get(usize::from(place));
        let kind = kind.ok_or_else(|| plan_datafusion_err!("there is no combinator {place}"))?;
        let recipe = CallRecipe { call, input, name };
        let inner = recipe.plan()?;
        let aggregate = StoredAggregate::new(recipe, inner, identity);
        let aggregate = aggregate.map_err(|reason| plan_datafusion_err!("an aggregate cannot be stored: {reason}"))?;
        Ok(combined(*kind, aggregate.into()))
    }
}

/// The aggregate of this name as views use it, where it differs from the one of a session.
pub fn lenient_function(name: &str) -> Option<AggregateUDF> {
    merge_facts(name).ok()?.lenient.map(|make| make())
}

/// Whether a function is such an aggregate.
pub fn is_lenient(function: &AggregateUDF) -> bool {
    lenient_function(function.name()).is_some_and(|lenient| lenient == *function)
}
