//! The exactness table: of each publication of a view, how the new version differs from what was answered before.
//!
//! In: one report for each version, whoever made it first. Out: the rows of the newest ones.
//! The table `exactness/<name>-<hash>` stands beside that of the view. One row for each measure of a version that was
//! compared, one without a measure for a version that was not; its facts say up to which version it goes, so that of
//! several gateways one writes.
//! Guarantee: a report is there once and as a whole; a crash or a lost race leaves files that nobody sees. The table
//! stays small: each commit rewrites its one file without what is older than the newest reports. Groups that it names
//! are none that were erased before the report was made, and [`ExactnessStore::forget_groups`] takes out all others.
//! Not here: comparing (`views::compare_groups`), who compares and tells the cause (`query-gateway`).
//! Why not in the facts of a version: whoever publishes does not know what realtime had answered.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type, Schema, SchemaRef, TimestampMicrosecondType};
use lake::{Change, LakeError, Snapshot, Table, Vacuumed, Version};
use positions::{IdSource, TimestampMicros};
use serde::{Deserialize, Serialize};
use views::{ViewDefinition, utc_micros};

use crate::ServingError;

/// The folder of all these tables.
pub const EXACTNESS_FOLDER: &str = "exactness";

/// How often a commit that lost a race is decided again.
const TRIES: usize = 16;

/// One row of the table.
#[derive(Clone, Debug, PartialEq)]
pub struct ExactnessRow {
    /// The view.
    pub view: String,
    /// Its definition.
    pub definition: String,
    /// The version that was published.
    pub version: Version,
    /// The one that it replaced.
    pub replaced_version: Version,
    /// When it was published, by the publisher's clock.
    pub published_at: TimestampMicros,
    /// When it was compared, by the gateway's clock.
    pub compared_at: TimestampMicros,
    /// Why it was not compared; `None` where it was.
    pub reason: Option<String>,
    /// The measure; `None` where nothing was compared.
    pub measure: Option<String>,
    /// Its class: `exact`, `float`, `sketch` or `unbounded`.
    pub class: Option<String>,
    /// Groups that were compared.
    pub groups: i64,
    /// Of these, groups whose values differ by more than the class allows.
    pub different: i64,
    /// The largest distance of two values, also within what the class allows; `None` for values that are no numbers.
    pub largest_difference: Option<f64>,
    /// The mean distance over all groups compared.
    pub mean_difference: Option<f64>,
    /// Why they differ, in one word; `None` where none does.
    pub cause: Option<String>,
    /// The groups that differ most, as a JSON list; `None` where none does, or they must not be named.
    pub worst: Option<String>,
}

/// What is told of one version: rows of it alone.
#[derive(Clone, Debug, PartialEq)]
pub struct ExactnessReport {
    /// The version.
    pub version: Version,
    /// How many entries of the list of what was erased the version is without.
    pub erased: u64,
    /// One for each measure, or one without.
    pub rows: Vec<ExactnessRow>,
}

/// The facts of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Facts {
    /// Up to here versions are compared; 0: none.
    version: Version,
    /// The groups that are named are none of those erased up to this entry of the list.
    #[serde(default)]
    erased: u64,
}

impl Facts {
    /// Those of an empty table.
    const NONE: Self = Self { version: Version(0), erased: 0 };
}

/// The exactness table of one view definition. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ExactnessStore {
    table: Table,
}

impl ExactnessStore {
    /// The table of a view definition. Does no IO.
    pub fn new(lake: &lake::Lake, view: &ViewDefinition) -> Self {
        Self::in_folder(lake, &format!("{}-{}", view.name, view.hash))
    }

    /// The table in one of the folders below [`EXACTNESS_FOLDER`]. Does no IO.
    pub fn in_folder(lake: &lake::Lake, folder: &str) -> Self {
        Self { table: lake.table(&format!("{EXACTNESS_FOLDER}/{folder}")) }
    }

    /// Up to which version publications are compared; `None` before the first.
    ///
    /// # Errors
    /// [`ServingError::Lake`]: the object store failed.
    pub async fn compared(&self) -> Result<Option<Version>, ServingError> {
        let Some(snapshot) = self.table.open().await? else { return Ok(None) };
        Ok(snapshot.facts::<Facts>()?.map(|facts| facts.version).filter(|version| *version > Version(0)))
    }

    /// All rows, newest version first, measures in the order of the view.
    ///
    /// # Errors
    /// [`ServingError::Lake`]: the object store failed.
    pub async fn read(&self) -> Result<Vec<ExactnessRow>, ServingError> {
        match self.table.open().await? {
            Some(snapshot) => rows_in(&snapshot).await,
            None => Ok(Vec::new()),
        }
    }

    /// Adds the report of a version, and drops what is older than the newest `keep` reports. `false`: another gateway
    /// has told of that version, or of a newer one, and nothing was written.
    ///
    /// # Errors
    /// [`ServingError::Lake`]: the object store failed; call again.
    pub async fn append(
        &self,
        report: &ExactnessReport,
        keep: usize,
        ids: &dyn IdSource,
    ) -> Result<bool, ServingError> {
        for _ in 0..TRIES {
            let on = self.table.create(schema()).await?;
            let facts = on.facts::<Facts>()?.unwrap_or(Facts::NONE);
            if facts.version >= report.version {
                return Ok(false);
            }
            let mut rows = report.rows.clone();
            // Computed before an erasing, and told behind it: who is named may be who was erased.
            if report.erased < facts.erased {
                rows.iter_mut().for_each(|row| row.worst = None);
            }
            rows.extend(rows_in(&on).await?);
            keep_newest(&mut rows, keep);
            let facts = Facts { version: report.version, ..facts };
            match self.replace(&on, &rows, &facts, ids).await {
                Err(ServingError::Lake(LakeError::Conflict { .. })) => {}
                Err(error) => return Err(error),
                Ok(_) => return Ok(true),
            }
        }
        Err(self.lost())
    }

    /// Takes the names of groups out of all rows, and deletes every file and commit that held them: of what was erased
    /// up to entry `erased` of the list nothing is left, and no report that was made before will bring it back.
    ///
    /// # Errors
    /// [`ServingError::Lake`]: the object store failed; call again.
    pub async fn forget_groups(&self, erased: u64, ids: &dyn IdSource) -> Result<Vacuumed, ServingError> {
        for _ in 0..TRIES {
            let on = self.table.create(schema()).await?;
            let facts = on.facts::<Facts>()?.unwrap_or(Facts::NONE);
            if facts.erased >= erased {
                return Ok(self.table.purge(&on).await?);
            }
            let mut rows = rows_in(&on).await?;
            rows.iter_mut().for_each(|row| row.worst = None);
            match self.replace(&on, &rows, &Facts { erased, ..facts }, ids).await {
                Err(ServingError::Lake(LakeError::Conflict { .. })) => {}
                Err(error) => return Err(error),
                Ok(next) => return Ok(self.table.purge(&next).await?),
            }
        }
        Err(self.lost())
    }

    /// Deletes what only versions of the table older than the newest need, and files of lost races; nothing that is
    /// younger than `grace`.
    ///
    /// # Errors
    /// [`ServingError::Lake`]: the object store failed; call again.
    pub async fn expire(&self, grace: Duration, now: TimestampMicros) -> Result<Vacuumed, ServingError> {
        let Some(newest) = self.table.open().await? else { return Ok(Vacuumed::default()) };
        Ok(self.table.vacuum(newest.version(), grace, now.system_time()).await?)
    }

    /// Puts one file with these rows into the place of all that there are.
    async fn replace(
        &self,
        on: &Snapshot,
        rows: &[ExactnessRow],
        facts: &Facts,
        ids: &dyn IdSource,
    ) -> Result<Snapshot, ServingError> {
        let remove = on.files().iter().map(|file| file.path.clone()).collect();
        let add = match rows {
            [] => Vec::new(),
            rows => vec![on.write_file(&format!("{:032x}", ids.next_id()), &[batch_of(rows)?]).await?],
        };
        let change = Change { add, remove, changes_data: true };
        Ok(self.table.commit(on, change, facts, ids.next_id()).await?)
    }

    fn lost(&self) -> ServingError {
        let object = self.table.folder().to_owned();
        LakeError::Unreachable { object, reason: format!("others committed first, {TRIES} times in a row") }.into()
    }
}

async fn rows_in(snapshot: &Snapshot) -> Result<Vec<ExactnessRow>, ServingError> {
    let batches = snapshot.read(snapshot.files(), None).await?;
    Ok(batches.iter().flat_map(rows_of).collect())
}

/// Leaves the rows of the newest `keep` versions.
fn keep_newest(rows: &mut Vec<ExactnessRow>, keep: usize) {
    let versions: BTreeSet<Version> = rows.iter().map(|row| row.version).collect();
    if let Some(oldest) = versions.into_iter().rev().take(keep.max(1)).min() {
        rows.retain(|row| row.version >= oldest);
    }
}

/// The columns of the table.
pub fn schema() -> SchemaRef {
    let column = |(name, data_type, is_nullable): (&str, DataType, bool)| Field::new(name, data_type, is_nullable);
    let columns = [
        ("view", DataType::Utf8, false),
        ("definition", DataType::Utf8, false),
        ("version", DataType::Int64, false),
        ("replaced_version", DataType::Int64, false),
        ("published_at", utc_micros(), false),
        ("compared_at", utc_micros(), false),
        ("reason", DataType::Utf8, true),
        ("measure", DataType::Utf8, true),
        ("class", DataType::Utf8, true),
        ("groups", DataType::Int64, false),
        ("different", DataType::Int64, false),
        ("largest_difference", DataType::Float64, true),
        ("mean_difference", DataType::Float64, true),
        ("cause", DataType::Utf8, true),
        ("worst", DataType::Utf8, true),
    ];
    Arc::new(Schema::new(columns.map(column).to_vec()))
}

/// Rows as a batch of [`schema`].
///
/// # Errors
/// Only for a defect.
pub fn batch_of(rows: &[ExactnessRow]) -> Result<RecordBatch, ServingError> {
    let text =
        |of: fn(&ExactnessRow) -> &str| -> ArrayRef { Arc::new(StringArray::from_iter_values(rows.iter().map(of))) };
    let words =
        |of: fn(&ExactnessRow) -> Option<&str>| -> ArrayRef { Arc::new(StringArray::from_iter(rows.iter().map(of))) };
    let number =
        |of: fn(&ExactnessRow) -> i64| -> ArrayRef { Arc::new(Int64Array::from_iter_values(rows.iter().map(of))) };
    let real =
        |of: fn(&ExactnessRow) -> Option<f64>| -> ArrayRef { Arc::new(Float64Array::from_iter(rows.iter().map(of))) };
    let instant = |of: fn(&ExactnessRow) -> TimestampMicros| -> ArrayRef {
        let instants = TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| of(row).0));
        Arc::new(instants.with_data_type(utc_micros()))
    };
    let columns = vec![
        text(|row| &row.view),
        text(|row| &row.definition),
        number(|row| row.version.0),
        number(|row| row.replaced_version.0),
        instant(|row| row.published_at),
        instant(|row| row.compared_at),
        words(|row| row.reason.as_deref()),
        words(|row| row.measure.as_deref()),
        words(|row| row.class.as_deref()),
        number(|row| row.groups),
        number(|row| row.different),
        real(|row| row.largest_difference),
        real(|row| row.mean_difference),
        words(|row| row.cause.as_deref()),
        words(|row| row.worst.as_deref()),
    ];
    Ok(RecordBatch::try_new(schema(), columns)?)
}

/// The rows of a batch of [`schema`].
fn rows_of(batch: &RecordBatch) -> Vec<ExactnessRow> {
    let text = |column: usize, row: usize| {
        let values = batch.column(column).as_string::<i32>();
        values.is_valid(row).then(|| values.value(row).to_owned())
    };
    let number = |column: usize, row: usize| batch.column(column).as_primitive::<Int64Type>().value(row);
    let real = |column: usize, row: usize| {
        let values = batch.column(column).as_primitive::<Float64Type>();
        values.is_valid(row).then(|| values.value(row))
    };
    let instant = |column: usize, row: usize| {
        TimestampMicros(batch.column(column).as_primitive::<TimestampMicrosecondType>().value(row))
    };
    let row = |row: usize| ExactnessRow {
        view: text(0, row).unwrap_or_default(),
        definition: text(1, row).unwrap_or_default(),
        version: Version(number(2, row)),
        replaced_version: Version(number(3, row)),
        published_at: instant(4, row),
        compared_at: instant(5, row),
        reason: text(6, row),
        measure: text(7, row),
        class: text(8, row),
        groups: number(9, row),
        different: number(10, row),
        largest_difference: real(11, row),
        mean_difference: real(12, row),
        cause: text(13, row),
        worst: text(14, row),
    };
    (0..batch.num_rows()).map(row).collect()
}
