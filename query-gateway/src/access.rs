//! What a principal sees: which views, and which rows of them.
//!
//! Guarantee: to who may not read a view it does not exist, and neither does a view without a dimension that rows are
//! ruled by. A value of a rule is compared in the type of the dimension; one that is none of this type matches nothing,
//! and neither does null: no rule lists it. Pure.
//! Not here: who a principal is (`edge`), the states that pass (`visible.rs`), what answers tell of themselves
//! (`told.rs`).

use std::collections::BTreeSet;

use edge::Principal;
use views::ViewDefinition;

use crate::filter::{Filter, Test};
use crate::literal::parse_value;
use crate::local_time::Zone;

/// Whether a view exists to a principal.
pub(crate) fn sees(principal: &Principal, view: &ViewDefinition) -> bool {
    principal.may_read(view.name.as_str())
        && principal.row_rules().keys().all(|ruled| dimension_of(view, ruled).is_some())
}

/// The tests that all states of one view pass which a principal sees; without rules none.
#[derive(Clone, Debug)]
pub(crate) struct RowFilters(Vec<Filter>);

impl RowFilters {
    /// Of a view; `None` where the view does not exist to the principal.
    pub(crate) fn of(principal: &Principal, view: &ViewDefinition) -> Option<Self> {
        if !principal.may_read(view.name.as_str()) {
            return None;
        }
        let filter = |(ruled, allowed): (&String, &BTreeSet<String>)| {
            let dimension = dimension_of(view, ruled)?;
            let (data_type, utc) = (&view.dimensions[dimension].data_type, Zone::utc());
            let values = allowed.iter().filter_map(|text| parse_value(ruled, text, data_type, &utc).ok());
            Some(Filter { dimension, test: Test::AnyOf, values: values.collect() })
        };
        principal.row_rules().iter().map(filter).collect::<Option<Vec<_>>>().map(Self)
    }

    /// Those of who sees all rows.
    pub(crate) fn none() -> Self {
        Self(Vec::new())
    }

    /// The tests.
    pub(crate) fn as_slice(&self) -> &[Filter] {
        &self.0
    }
}

fn dimension_of(view: &ViewDefinition, name: &str) -> Option<usize> {
    view.dimensions.iter().position(|dimension| dimension.name == name)
}
