//! Checkpoints: the sum of a log up to a version, in one Parquet object.
//!
//! Guarantee: a checkpoint says the same as the commits it sums up. It is written by `deltalake-core`, which replays
//! the log on its own, and read here by the same strict parser as commits.
//! Not here: when one is due (`commit.rs`), cutting the log behind one (`vacuum.rs`).

use std::sync::Arc;

use arrow::json::LineDelimitedWriter;
use deltalake_core::DeltaTableBuilder;
use deltalake_core::checkpoints::create_checkpoint;
use object_store::ObjectStore;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use url::Url;

use crate::action::{self, Action};
use crate::{LakeError, Table, Version, store};

/// The actions that make up a state; tombstones are for other tools.
const KINDS: [&str; 4] = ["protocol", "metaData", "txn", "add"];

/// Writes the checkpoint of a version.
pub(crate) async fn write(table: &Table, version: Version) -> Result<(), LakeError> {
    let object = table.log().checkpoint_path(version);
    let failed = |reason: &dyn ToString| LakeError::corrupt(&object, reason.to_string());
    // Requests go to our store; the scheme says that its listings may be unsorted, as those of a disk are. The folder
    // is not part of the URL, so that a name with unusual letters needs no escaping.
    let url = Url::parse("file:///").expect("a scheme is a URL");
    let folder = PrefixStore::new(Arc::clone(table.lake().store()), table.path().clone());
    let number = u64::try_from(version.0).map_err(|error| failed(&error))?;
    let loaded = DeltaTableBuilder::from_url(url.clone())
        .map_err(|error| failed(&error))?
        .with_storage_backend(Arc::new(folder), url)
        .with_version(number)
        .load()
        .await
        .map_err(|error| failed(&error))?;
    create_checkpoint(&loaded, None).await.map_err(|error| failed(&error))
}

/// Reads the actions of a checkpoint.
pub(crate) async fn read(store: &Arc<dyn ObjectStore>, path: &Path) -> Result<Vec<Action>, LakeError> {
    let corrupt = |reason: &dyn ToString| LakeError::corrupt(path, reason.to_string());
    let bytes = store::get(store, path).await?.ok_or_else(|| corrupt(&"the object is missing"))?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(|error| corrupt(&error))?;
    let columns = reader.schema().fields().iter().enumerate();
    let wanted = columns.filter(|(_, field)| KINDS.contains(&field.name().as_str())).map(|(index, _)| index);
    let mask = ProjectionMask::roots(reader.parquet_schema(), wanted.collect::<Vec<_>>());
    let batches = reader.with_projection(mask).build().map_err(|error| corrupt(&error))?;
    // As lines of JSON a checkpoint reads like a commit: one parser, one set of checks.
    let mut lines = LineDelimitedWriter::new(Vec::new());
    for batch in batches {
        lines.write(&batch.map_err(|error| corrupt(&error))?).map_err(|error| corrupt(&error))?;
    }
    lines.finish().map_err(|error| corrupt(&error))?;
    action::parse(&lines.into_inner()).map_err(|error| corrupt(&error))
}
