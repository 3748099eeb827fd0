//! The first other engine: DataFusion as it comes, over a plain table of the same events.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::sync::Arc;

use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use arrow::json::ReaderBuilder;
use datafusion::datasource::MemTable;
use datafusion::error::Result;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::optimizer::Optimizer;
use datafusion::physical_plan::collect;
use datafusion::prelude::{SessionConfig, SessionContext};
use query_gateway::{Integers, SqlAnswer, SqlEnvelope};
use serde_json::Value;
use views::SourceDefinition;

use super::answer::{Row, rows_of};

/// It gives a sum of decimals beside a distinct aggregate another type than was planned, and the query fails.
const BROKEN: &str = "single_distinct_aggregation_to_group_by";

pub struct Plain(SessionContext);

impl Plain {
    /// With these events in the table `events`.
    pub fn over(source: &SourceDefinition, events: &[Value]) -> Self {
        let schema =
            Arc::new(Schema::new(source.declared.fields().iter().map(|field| plain(field)).collect::<Vec<_>>()));
        let lines: String = events.iter().map(|event| format!("{event}\n")).collect();
        let reader = ReaderBuilder::new(schema.clone()).build(Cursor::new(lines)).unwrap();
        let batches = reader.collect::<Result<Vec<_>, _>>().unwrap();
        let mut rules = Optimizer::new().rules;
        rules.retain(|rule| rule.name() != BROKEN);
        let mut config = SessionConfig::new().with_target_partitions(1);
        // It fails over keys made by IS NOT TRUE, which the engine calls nullable in one place alone.
        config.options_mut().execution.skip_physical_aggregate_schema_check = true;
        let state = SessionStateBuilder::new().with_config(config).with_default_features().with_optimizer_rules(rules);
        let context = SessionContext::new_with_state(state.build());
        context.register_table("events", Arc::new(MemTable::try_new(schema, vec![batches]).unwrap())).unwrap();
        Self(context)
    }

    /// # Errors
    /// What the engine says.
    pub async fn ask(&self, sql: &str) -> Result<Vec<Row>> {
        let plan = self.0.sql(sql).await?.create_physical_plan().await?;
        let batches = collect(plan.clone(), self.0.task_ctx()).await?;
        let rows = concat_batches(&plan.schema(), &batches)?;
        // Written as the gateway writes.
        let envelope = SqlEnvelope { stale: false, views: BTreeMap::new(), rejected: Vec::new() };
        let answer = SqlAnswer { rows, envelope, integers: Integers::default(), max_bytes: usize::MAX };
        Ok(rows_of(&answer.to_json().unwrap()))
    }
}

/// A column of a table that knows no time zones.
fn plain(field: &Field) -> Field {
    match field.data_type() {
        DataType::Timestamp(..) => Field::new(field.name(), DataType::Timestamp(TimeUnit::Microsecond, None), true),
        other => Field::new(field.name(), other.clone(), true),
    }
}
