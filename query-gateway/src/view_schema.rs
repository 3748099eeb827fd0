//! The views by their names in SQL: `hits` as it is answered, and `hits@12`, one batch version of it.
//!
//! Guarantee: a version has the columns of its view, and is in no list of names: which there are changes from minute to
//! minute, and is asked where the query is pinned (`sql_pins.rs`).
//! Not here: names of other tables (`names.rs`).

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{SchemaProvider, TableProvider};
use datafusion::common::plan_datafusion_err;
use datafusion::error::Result;
use datafusion::execution::SessionState;
use views::Pipeline;

use crate::names::{CATALOGUE, SCHEMA, split_version};
use crate::tables::ViewTable;

/// See the module.
#[derive(Debug)]
struct ViewSchema(BTreeMap<String, Arc<ViewTable>>);

impl ViewSchema {
    fn find(&self, table: &str) -> Option<Arc<ViewTable>> {
        let (view, version) = split_version(table);
        let found = self.0.get(view)?;
        Some(match version {
            None => Arc::clone(found),
            Some(_) => Arc::new(ViewTable::named(table, found.view.clone())),
        })
    }
}

#[async_trait]
impl SchemaProvider for ViewSchema {
    fn table_names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        Ok(self.find(name).map(|table| table as Arc<dyn TableProvider>))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.find(name).is_some()
    }
}

/// Makes all views known to the planner.
pub(crate) fn register(state: &SessionState, pipeline: &Pipeline) -> Result<()> {
    let named = pipeline.views.iter().map(|view| {
        let name = view.name.to_string();
        (name.clone(), Arc::new(ViewTable::named(name, view.clone())))
    });
    let schema = Arc::new(ViewSchema(named.collect()));
    let catalogue = state.catalog_list().catalog(CATALOGUE);
    let catalogue = catalogue.ok_or_else(|| plan_datafusion_err!("there is no catalogue {CATALOGUE}"))?;
    catalogue.register_schema(SCHEMA, schema)?;
    Ok(())
}
