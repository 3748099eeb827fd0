//! Aggregates of the engine with accumulators of ours: name, signature and types stay the engine's.
//!
//! Guarantee: for every argument type there is one kind of state, whether there are keys or not; where an argument type
//! is not ours, the engine's accumulators are used, all of them.
//! Not here: which aggregates these are (`catalogue.rs`); the accumulators (`sums.rs`, `moments.rs`, `extremes.rs`,
//! `distinct.rs`, `distinct_pairs.rs`).

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue};
use datafusion::functions_aggregate::average::avg_udaf;
use datafusion::functions_aggregate::bit_and_or_xor::bit_xor_udaf;
use datafusion::functions_aggregate::correlation::corr_udaf;
use datafusion::functions_aggregate::covariance::{covar_pop_udaf, covar_samp_udaf};
use datafusion::functions_aggregate::min_max::{max_udaf, min_udaf};
use datafusion::functions_aggregate::regr::{
    regr_avgx_udaf, regr_avgy_udaf, regr_count_udaf, regr_intercept_udaf, regr_r2_udaf, regr_slope_udaf, regr_sxx_udaf,
    regr_sxy_udaf, regr_syy_udaf,
};
use datafusion::functions_aggregate::stddev::{stddev_pop_udaf, stddev_udaf};
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::functions_aggregate::variance::{var_pop_udaf, var_samp_udaf};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, GroupsAccumulator, ReversedUDAF, SetMonotonicity,
    Signature,
};

use super::distinct::{self, Finish, finish_bits, finish_by, finish_floats};
use super::distinct_pairs::DistinctPairs;
use super::extremes::{self, Extreme};
use super::moments::{self, Moment};
use super::one_group::OneGroup;
use super::one_sum::one_sum;
use super::sums::{self, Purpose, Unfit};

/// `sum`: of integers and decimals exact, an error where the total does not fit its type.
pub fn sum_function() -> AggregateUDF {
    own(sum_udaf(), Kind::Total(Purpose::Sum, Unfit::IsAnError))
}

/// `sum` in a view: NULL where the total does not fit.
pub(super) fn lenient_sum() -> AggregateUDF {
    own(sum_udaf(), Kind::Total(Purpose::Sum, Unfit::IsNull))
}

/// `avg`: of decimals exact, an error where the mean does not fit its type.
pub(super) fn avg() -> AggregateUDF {
    own(avg_udaf(), Kind::Total(Purpose::Average, Unfit::IsAnError))
}

/// `avg` in a view: NULL where the mean does not fit.
pub(super) fn lenient_avg() -> AggregateUDF {
    own(avg_udaf(), Kind::Total(Purpose::Average, Unfit::IsNull))
}

macro_rules! own_functions {
    ($($name:ident = $engine:ident, $kind:expr;)*) => {
        $(pub(super) fn $name() -> AggregateUDF {
            own($engine(), $kind)
        })*
    };
}

own_functions! {
    min = min_udaf, Kind::Extreme(Extreme::Least);
    max = max_udaf, Kind::Extreme(Extreme::Greatest);
    bit_xor = bit_xor_udaf, Kind::Bits;
    var = var_samp_udaf, Kind::Moment(Moment::Variance);
    var_pop = var_pop_udaf, Kind::Moment(Moment::VariancePopulation);
    stddev = stddev_udaf, Kind::Moment(Moment::Deviation);
    stddev_pop = stddev_pop_udaf, Kind::Moment(Moment::DeviationPopulation);
    covar_samp = covar_samp_udaf, Kind::Moment(Moment::Covariance);
    covar_pop = covar_pop_udaf, Kind::Moment(Moment::CovariancePopulation);
    corr = corr_udaf, Kind::Moment(Moment::Correlation);
    regr_count = regr_count_udaf, Kind::Moment(Moment::Count);
    regr_slope = regr_slope_udaf, Kind::Moment(Moment::Slope);
    regr_intercept = regr_intercept_udaf, Kind::Moment(Moment::Intercept);
    regr_r2 = regr_r2_udaf, Kind::Moment(Moment::R2);
    regr_avgx = regr_avgx_udaf, Kind::Moment(Moment::MeanX);
    regr_avgy = regr_avgy_udaf, Kind::Moment(Moment::MeanY);
    regr_sxx = regr_sxx_udaf, Kind::Moment(Moment::SumXX);
    regr_syy = regr_syy_udaf, Kind::Moment(Moment::SumYY);
    regr_sxy = regr_sxy_udaf, Kind::Moment(Moment::SumXY);
}

fn own(engine: Arc<AggregateUDF>, kind: Kind) -> AggregateUDF {
    AggregateUDF::from(Own { engine, kind })
}

/// Which accumulators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Total(Purpose, Unfit),
    Extreme(Extreme),
    Moment(Moment),
    Bits,
}

impl Kind {
    /// The parts of a state without DISTINCT; `None` where the engine's accumulators are used.
    fn states(self, argument: &DataType) -> Option<Vec<(&'static str, DataType)>> {
        match self {
            Self::Total(purpose, _) => sums::states(purpose, argument),
            Self::Extreme(extreme) if argument.is_floating() => {
                let name = if extreme == Extreme::Least { "min" } else { "max" };
                Some(vec![(name, argument.clone())])
            }
            Self::Moment(moment) => {
                let part = |(index, name): (usize, &&'static str)| {
                    (*name, if index == 0 { DataType::UInt64 } else { DataType::Float64 })
                };
                Some(moment.states().iter().enumerate().map(part).collect())
            }
            Self::Extreme(_) | Self::Bits => None,
        }
    }

    /// The accumulator without DISTINCT; `None` where the engine's are used.
    fn groups(self, argument: &DataType, returns: &DataType) -> Option<Box<dyn GroupsAccumulator>> {
        match self {
            Self::Total(purpose, unfit) => sums::groups(purpose, unfit, argument, returns),
            Self::Extreme(extreme) => extremes::groups(extreme, argument),
            Self::Moment(moment) => Some(moments::groups(moment)),
            Self::Bits => None,
        }
    }

    /// Whether a set of distinct values is ours to keep.
    fn keeps_set(self, argument: &DataType) -> bool {
        match self {
            Self::Total(purpose, _) => *argument == DataType::Float64 || sums::states(purpose, argument).is_some(),
            Self::Moment(_) => true,
            Self::Bits => argument.is_integer(),
            Self::Extreme(_) => false,
        }
    }

    /// What makes the value of a set of distinct values.
    fn finish(self, argument: &DataType, returns: &DataType) -> Finish {
        let (argument, returns) = (argument.clone(), returns.clone());
        Box::new(move |values| match (self, self.groups(&argument, &returns)) {
            (Self::Bits, _) => finish_bits(values),
            (Self::Total(purpose, _), None) => finish_floats(values, purpose == Purpose::Average),
            (_, Some(groups)) => finish_by(groups, values),
            (_, None) => ScalarValue::try_from(&returns),
        })
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Own {
    engine: Arc<AggregateUDF>,
    kind: Kind,
}

/// The type of the first argument.
fn argument<'a>(arguments: &'a AccumulatorArgs) -> &'a DataType {
    arguments.expr_fields.first().map_or(&DataType::Null, |field| field.data_type())
}

impl AggregateUDFImpl for Own {
    fn name(&self) -> &str {
        self.engine.name()
    }

    fn aliases(&self) -> &[String] {
        self.engine.aliases()
    }

    fn signature(&self) -> &Signature {
        self.engine.signature()
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.engine.return_type(arguments)
    }

    fn is_nullable(&self) -> bool {
        self.engine.is_nullable()
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        self.engine.coerce_types(arguments)
    }

    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        self.engine.default_value(data_type)
    }

    fn state_fields(&self, arguments: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let argument = arguments.input_fields.first().map_or(&DataType::Null, |field| field.data_type());
        let field = |part: &str, data_type: DataType| -> FieldRef {
            Arc::new(Field::new(format_state_name(arguments.name, part), data_type, true))
        };
        if arguments.is_distinct && self.kind.keeps_set(argument) {
            return Ok(vec![field(&format!("{} distinct", self.name()), distinct::state(argument))]);
        }
        match self.kind.states(argument) {
            Some(parts) => Ok(parts.into_iter().map(|(name, data_type)| field(name, data_type)).collect()),
            None => self.engine.state_fields(arguments),
        }
    }

    fn accumulator(&self, arguments: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let (taken, returns) = (argument(&arguments), arguments.return_type());
        if let Kind::Moment(moment) = self.kind
            && arguments.is_distinct
            && !moment.has_one_variable()
        {
            return Ok(Box::new(DistinctPairs::new(moment)));
        }
        if arguments.is_distinct && self.kind.keeps_set(taken) {
            let set = distinct::accumulator(taken, self.kind.finish(taken, returns));
            return set.map_or_else(|| self.engine.accumulator(arguments.clone()), Ok);
        }
        if let Kind::Total(Purpose::Sum, unfit) = self.kind
            && !arguments.is_distinct
            && let Some(sum) = one_sum(unfit, taken, returns)
        {
            return Ok(sum);
        }
        match (self.kind.groups(taken, returns), self.kind.states(taken)) {
            (Some(groups), Some(states)) => {
                let neutral = states.iter().map(|(_, data_type)| ScalarValue::try_from(data_type));
                Ok(Box::new(OneGroup::new(groups, neutral.collect::<Result<_>>()?)))
            }
            _ => self.engine.accumulator(arguments),
        }
    }

    fn groups_accumulator_supported(&self, arguments: AccumulatorArgs) -> bool {
        let taken = argument(&arguments);
        if arguments.is_distinct && self.kind.keeps_set(taken) {
            return false;
        }
        self.kind.states(taken).is_some() || self.engine.groups_accumulator_supported(arguments)
    }

    fn create_groups_accumulator(&self, arguments: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        match self.kind.groups(argument(&arguments), arguments.return_type()) {
            Some(groups) => Ok(groups),
            None => self.engine.create_groups_accumulator(arguments),
        }
    }

    fn create_sliding_accumulator(&self, arguments: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let moving = match self.kind {
            Kind::Total(Purpose::Sum, unfit) if !arguments.is_distinct => {
                one_sum(unfit, argument(&arguments), arguments.return_type())
            }
            _ => None,
        };
        match moving {
            Some(moving) => Ok(moving),
            None => self.engine.create_sliding_accumulator(arguments),
        }
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn is_descending(&self) -> Option<bool> {
        self.engine.is_descending()
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.engine.documentation()
    }

    fn set_monotonicity(&self, data_type: &DataType) -> SetMonotonicity {
        self.engine.inner().set_monotonicity(data_type)
    }
}
