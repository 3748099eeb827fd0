//! Principals for routers that are built in tests: what a process finds out before it asks them.

use std::collections::BTreeSet;

use axum::{Extension, Router};
use edge::{Grants, Names, Principal, RowRules};

/// A router whose every request is one of this principal.
pub fn as_principal(router: Router, principal: Principal) -> Router {
    router.layer(Extension(principal))
}

/// A router whose every request may do everything.
pub fn as_anyone(router: Router) -> Router {
    as_principal(router, Principal::anyone())
}

/// One that reads these views and no more of them than the rules let, and writes nothing.
pub fn reader(views: Names, rules: &[(&str, &[&str])]) -> Principal {
    Principal::new("reader", Grants { read: views, rows: rules_of(rules), ..Grants::default() })
}

/// One that sends events to these sources, and may do nothing else.
pub fn writer(sources: &[&str]) -> Principal {
    Principal::new("writer", Grants { write: these(sources), ..Grants::default() })
}

/// Names that are written out.
pub fn these(names: &[&str]) -> Names {
    Names::These(texts(names))
}

/// Rules by dimension.
pub fn rules_of(rules: &[(&str, &[&str])]) -> RowRules {
    rules.iter().map(|(dimension, values)| ((*dimension).to_owned(), texts(values))).collect()
}

fn texts(values: &[&str]) -> BTreeSet<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}
