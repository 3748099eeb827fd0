//! Variance, covariance, correlation and regression: means and deviations that merge without losing digits.
//!
//! State: `count`, and per variable `mean` and `mean_low` (together one mean of twice the digits) and `m2`, the sum of
//! squared deviations from it; of two variables also `codeviation`, the sum of the products of both.
//! Guarantee: a state without values adds nothing; merged equals direct up to rounding that is relative to the
//! deviations, not to the values, so that values such as 1e15 + 1 and 1e15 + 2 keep theirs. NaN, and an infinity where
//! deviations are asked for, make the value NaN.
//! Why so: the engine's correlation has two kinds of states under the same names, one of means and one of sums of
//! squares, which must never meet; and a mean of 53 bits forgets what is small beside it.
//!
//! # Source
//! Chan, Golub, LeVeque: "Updating formulae and a pairwise algorithm for computing sample variances" (1979); Pébay:
//! "Formulas for robust, one-pass parallel computation of covariances" (2008). The two-part mean: Knuth's two-sum.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, UInt64Array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{Float64Type, UInt64Type};
use datafusion::common::{Result, exec_datafusion_err};
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};

/// What is asked of deviations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Moment {
    Variance,
    VariancePopulation,
    Deviation,
    DeviationPopulation,
    Covariance,
    CovariancePopulation,
    Correlation,
    Count,
    Slope,
    Intercept,
    R2,
    MeanX,
    MeanY,
    SumXX,
    SumYY,
    SumXY,
}

const ONE: &[&str] = &["count", "mean", "mean_low", "m2"];
const TWO: &[&str] = &["count", "mean1", "mean1_low", "m2_1", "mean2", "mean2_low", "m2_2", "codeviation"];

impl Moment {
    /// The parts of its state; the first is a count, the others are floating-point numbers.
    pub(super) const fn states(self) -> &'static [&'static str] {
        if self.has_one_variable() { ONE } else { TWO }
    }

    /// Whether it is asked of one variable, not of two.
    pub(super) const fn has_one_variable(self) -> bool {
        matches!(self, Self::Variance | Self::VariancePopulation | Self::Deviation | Self::DeviationPopulation)
    }
}

/// The accumulator for a question.
pub(super) fn groups(moment: Moment) -> Box<dyn GroupsAccumulator> {
    if moment.has_one_variable() {
        Box::new(Deviations::<Spread> { moment, groups: Vec::new() })
    } else {
        Box::new(Deviations::<Joint> { moment, groups: Vec::new() })
    }
}

/// A mean of twice the digits: the sum of both parts, the second less than half a unit in the last place of the first.
#[derive(Clone, Copy, Debug, Default)]
struct Mean {
    high: f64,
    low: f64,
}

impl Mean {
    /// How far a value is from it.
    fn to(self, value: f64) -> f64 {
        (value - self.high) - self.low
    }

    fn to_mean(self, other: Self) -> f64 {
        (other.high - self.high) + (other.low - self.low)
    }

    /// Moves it by its `share` of the distance to `towards`, which is `apart`. A mean with an infinity stays there.
    fn move_to(&mut self, towards: f64, apart: f64, share: f64) {
        if !self.high.is_finite() || !towards.is_finite() {
            *self = Self { high: self.high + towards, low: 0.0 };
            return;
        }
        // Two numbers at either end of the range are further apart than a number can say.
        let step = if apart.is_finite() { apart * share } else { towards * share - self.high * share };
        let sum = self.high + step;
        let step_in = sum - self.high;
        let rest = (self.high - (sum - step_in)) + (step - step_in) + self.low;
        self.high = sum + rest;
        self.low = rest - (self.high - sum);
    }

    fn value(self) -> f64 {
        self.high + self.low
    }
}

/// Deviations of one group, up to date with every value.
trait Moments: Copy + Default + Send + 'static {
    /// Takes in a row; `second` is the first variable again where there is only one.
    fn add(&mut self, first: f64, second: f64);
    /// Takes in what another group has, where neither is empty: `share` of all values are its, and the distance of the
    /// means counts with `weight`.
    fn join(&mut self, other: &Self, share: f64, weight: f64);
    /// Takes in what another group has.
    fn merge(&mut self, other: &Self) {
        if other.count() == 0 || self.count() == 0 {
            if self.count() == 0 {
                *self = *other;
            }
            return;
        }
        let (one, two) = (self.count() as f64, other.count() as f64);
        let share = two / (one + two);
        self.join(other, share, one * share);
    }
    fn count(&self) -> u64;
    /// The floating-point parts of the state, in order.
    fn part(&self, index: usize) -> f64;
    fn from_parts(count: u64, part: impl Fn(usize) -> f64) -> Self;
    fn answer(&self, moment: Moment) -> Option<f64>;
}

/// The mean of one variable, and the sum of squared deviations from it.
#[derive(Clone, Copy, Debug, Default)]
struct Variable {
    mean: Mean,
    m2: f64,
}

impl Variable {
    /// Takes in a value, the `count`-th one; how far it was from the mean before, and is from the mean since.
    fn add(&mut self, value: f64, count: f64) -> (f64, f64) {
        let before = self.mean.to(value);
        self.mean.move_to(value, before, 1.0 / count);
        let after = self.mean.to(value);
        // Whatever comes first: with an infinity nothing can be said of deviations.
        self.m2 += if value.is_finite() { before * after } else { f64::NAN };
        (before, after)
    }

    /// Takes in the deviations of other values, `share` of them all; how far the means were apart.
    fn merge(&mut self, other: &Self, share: f64, weight: f64) -> f64 {
        let apart = self.mean.to_mean(other.mean);
        self.mean.move_to(other.mean.high, apart, share);
        self.m2 += other.m2 + apart * apart * weight;
        apart
    }
}

/// One variable.
#[derive(Clone, Copy, Debug, Default)]
struct Spread {
    count: u64,
    variable: Variable,
}

impl Moments for Spread {
    fn add(&mut self, first: f64, _second: f64) {
        self.count += 1;
        self.variable.add(first, self.count as f64);
    }

    fn join(&mut self, other: &Self, share: f64, weight: f64) {
        self.variable.merge(&other.variable, share, weight);
        self.count += other.count;
    }

    fn count(&self) -> u64 {
        self.count
    }

    fn part(&self, index: usize) -> f64 {
        match index {
            0 => self.variable.mean.high,
            1 => self.variable.mean.low,
            _ => self.variable.m2,
        }
    }

    fn from_parts(count: u64, part: impl Fn(usize) -> f64) -> Self {
        Self { count, variable: Variable { mean: Mean { high: part(0), low: part(1) }, m2: part(2) } }
    }

    fn answer(&self, moment: Moment) -> Option<f64> {
        let m2 = self.variable.m2;
        match moment {
            Moment::VariancePopulation => by_population(m2, self.count),
            Moment::Deviation => by_sample(m2, self.count).map(f64::sqrt),
            Moment::DeviationPopulation => by_population(m2, self.count).map(f64::sqrt),
            _ => by_sample(m2, self.count),
        }
    }
}

/// Two variables: of `regr_*` the first is y, the second x.
#[derive(Clone, Copy, Debug, Default)]
struct Joint {
    count: u64,
    first: Variable,
    second: Variable,
    codeviation: f64,
}

impl Moments for Joint {
    fn add(&mut self, first: f64, second: f64) {
        self.count += 1;
        let count = self.count as f64;
        let (before, _) = self.first.add(first, count);
        let (_, after) = self.second.add(second, count);
        self.codeviation += if first.is_finite() && second.is_finite() { before * after } else { f64::NAN };
    }

    fn join(&mut self, other: &Self, share: f64, weight: f64) {
        let first = self.first.merge(&other.first, share, weight);
        let second = self.second.merge(&other.second, share, weight);
        self.codeviation += other.codeviation + first * second * weight;
        self.count += other.count;
    }

    fn count(&self) -> u64 {
        self.count
    }

    fn part(&self, index: usize) -> f64 {
        match index {
            0 => self.first.mean.high,
            1 => self.first.mean.low,
            2 => self.first.m2,
            3 => self.second.mean.high,
            4 => self.second.mean.low,
            5 => self.second.m2,
            _ => self.codeviation,
        }
    }

    fn from_parts(count: u64, part: impl Fn(usize) -> f64) -> Self {
        let variable =
            |first: usize| Variable { mean: Mean { high: part(first), low: part(first + 1) }, m2: part(first + 2) };
        Self { count, first: variable(0), second: variable(3), codeviation: part(6) }
    }

    fn answer(&self, moment: Moment) -> Option<f64> {
        let (yy, xx, xy) = (self.first.m2, self.second.m2, self.codeviation);
        let (mean_y, mean_x) = (self.first.mean, self.second.mean);
        let has_values = self.count > 0;
        // Where all values of a variable are the same, nothing can be divided by their deviations.
        let over_x = |value: f64| (self.count > 1 && xx != 0.0).then_some(value);
        let over_both = |value: f64| (self.count > 1 && xx != 0.0 && yy != 0.0).then_some(value);
        match moment {
            Moment::Covariance => by_sample(xy, self.count),
            Moment::CovariancePopulation => by_population(xy, self.count),
            Moment::Correlation => over_both((xy / yy.sqrt() / xx.sqrt()).clamp(-1.0, 1.0)),
            Moment::Slope => over_x(xy / xx),
            Moment::Intercept => over_x(mean_y.value() - xy / xx * mean_x.value()),
            Moment::R2 => over_both((xy / xx * (xy / yy)).clamp(0.0, 1.0)),
            Moment::MeanX => has_values.then(|| mean_x.value()),
            Moment::MeanY => has_values.then(|| mean_y.value()),
            Moment::SumXX => has_values.then_some(xx),
            Moment::SumYY => has_values.then_some(yy),
            _ => has_values.then_some(xy),
        }
    }
}

fn by_sample(deviations: f64, count: u64) -> Option<f64> {
    (count > 1).then(|| deviations / (count - 1) as f64)
}

fn by_population(deviations: f64, count: u64) -> Option<f64> {
    (count > 0).then(|| deviations / count as f64)
}

struct Deviations<M> {
    moment: Moment,
    groups: Vec<M>,
}

impl<M: Moments> GroupsAccumulator for Deviations<M> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.groups.resize(total_num_groups, M::default());
        let first = floats(&values[0])?;
        let second = floats(&values[values.len() - 1])?;
        let nulls = NullBuffer::union(first.nulls(), second.nulls()).filter(|nulls| nulls.null_count() > 0);
        let groups = &mut self.groups;
        let rows = group_indices.iter().zip(first.values().iter().zip(second.values()));
        if nulls.is_none() && opt_filter.is_none() {
            for (&group, (&first, &second)) in rows {
                groups[group].add(first, second);
            }
        } else {
            let is_wanted = |row: usize| {
                nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row))
                    && opt_filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row))
            };
            for (row, (&group, (&first, &second))) in rows.enumerate() {
                if is_wanted(row) {
                    groups[group].add(first, second);
                }
            }
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        self.groups.resize(total_num_groups, M::default());
        let counts = states[0]
            .as_primitive_opt::<UInt64Type>()
            .ok_or_else(|| exec_datafusion_err!("a count of deviations is {}", states[0].data_type()))?;
        let parts = states[1..].iter().map(floats).collect::<Result<Vec<_>>>()?;
        for (row, &group) in group_indices.iter().enumerate() {
            if counts.is_valid(row) {
                self.groups[group].merge(&M::from_parts(counts.value(row), |part| parts[part].value(row)));
            }
        }
        Ok(())
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let groups = emit_to.take_needed(&mut self.groups);
        let mut states: Vec<ArrayRef> = vec![Arc::new(UInt64Array::from_iter_values(groups.iter().map(M::count)))];
        for part in 0..self.moment.states().len() - 1 {
            let values = groups.iter().map(|group| group.part(part));
            states.push(Arc::new(Float64Array::from_iter_values(values)));
        }
        Ok(states)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let groups = emit_to.take_needed(&mut self.groups);
        if self.moment == Moment::Count {
            return Ok(Arc::new(UInt64Array::from_iter_values(groups.iter().map(M::count))));
        }
        let answers = groups.iter().map(|group| group.answer(self.moment));
        Ok(Arc::new(answers.collect::<Float64Array>()))
    }

    fn convert_to_state(&self, values: &[ArrayRef], opt_filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let mut one_each = Self { moment: self.moment, groups: Vec::new() };
        let rows: Vec<usize> = (0..values[0].len()).collect();
        one_each.update_batch(values, &rows, opt_filter, rows.len())?;
        one_each.state(EmitTo::All)
    }

    fn size(&self) -> usize {
        self.groups.capacity() * size_of::<M>()
    }
}

fn floats(array: &ArrayRef) -> Result<&Float64Array> {
    let found = array.as_primitive_opt::<Float64Type>();
    found.ok_or_else(|| exec_datafusion_err!("deviations of DOUBLE got {}", array.data_type()))
}
