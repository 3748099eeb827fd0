//! What happened to tables beside the layers: files that are gone, and commits of other tools.
//!
//! In: the newest version of each table, and one listing of its folder. Out: what is missing of which table, in words,
//! for the status; other tools see our files again.
//! Guarantee: files that are gone are noticed by the next check, whether or not a recompute needs them. What cannot be
//! asked now is passed over: the look for what is new tells of a store that fails.
//! Why put back at once: after a compaction by another tool its clean-up may delete our files, since to that tool
//! nobody needs them any more.
//! Not here: when to look (`twofold/src/workflow/tables`), what a commit of another tool is (`lake`), bringing rows
//! back (`lost_rows.rs`).

use std::collections::BTreeMap;

use lake::{DataFile, LakeError, Snapshot};
use positions::{IdSource, SourceName};
use records::master::MasterDataset;
use serving_layer::BatchViewStore;

use crate::BatchContext;
use crate::metrics::{self, MASTER_FILES};

/// How many paths of files are written out.
const NAMED_FILES: usize = 3;

/// What was found of the tables of all sources and views.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundTables {
    /// Live files of each master dataset that there is.
    pub master_files: BTreeMap<SourceName, usize>,
    /// Tables of which files are gone from the store, by their folder; which ones, in words.
    pub missing: BTreeMap<String, String>,
}

/// Looks after the tables of all sources and views: lets other tools see our files again, and finds what is missing.
/// What is missing is logged; what cannot be asked now is passed over.
pub async fn look_after(context: &BatchContext) -> FoundTables {
    let FoundTables { mut master_files, mut missing } = FoundTables::default();
    for source in &context.pipeline.sources {
        if let Ok(Some(newest)) = MasterDataset::new(&context.lake, source.clone()).open().await {
            let files = newest.snapshot.files().len();
            metrics::set_source(MASTER_FILES, source.name.as_str(), files as f64);
            master_files.insert(source.name.clone(), files);
            look_at(&newest.snapshot, context.ids.as_ref(), &mut missing).await;
        }
    }
    for view in &context.pipeline.views {
        if let Ok(Some(newest)) = BatchViewStore::new(&context.lake, view.clone()).newest().await {
            look_at(&newest.snapshot, context.ids.as_ref(), &mut missing).await;
        }
    }
    FoundTables { master_files, missing }
}

async fn look_at(snapshot: &Snapshot, ids: &dyn IdSource, missing: &mut BTreeMap<String, String>) {
    let table = snapshot.table().folder();
    put_back(snapshot, ids).await;
    match snapshot.missing_files().await {
        Ok(files) if files.is_empty() => {}
        Ok(files) => {
            // Files of a version that is not the newest any more may have been deleted by an erasing.
            let newest = snapshot.table().refresh(snapshot).await;
            if newest.is_ok_and(|newest| newest.version() == snapshot.version()) {
                let words = describe(table, &files);
                tracing::error!("{words}; `twofold lake repair` brings back what it can");
                missing.insert(table.to_owned(), words);
            }
        }
        Err(error) => tracing::debug!(table, %error, "its files could not be looked for"),
    }
}

/// Lets other tools see our files again, where one of them compacted the table.
async fn put_back(snapshot: &Snapshot, ids: &dyn IdSource) {
    if !snapshot.is_beside_others() {
        return;
    }
    let table = snapshot.table();
    match table.put_back(snapshot, ids.next_id()).await {
        Ok(next) => {
            let (table, version) = (table.folder(), next.version().0);
            tracing::warn!(
                table,
                version,
                "another tool had rewritten files of the table; ours are in their place again"
            );
        }
        // Whoever was first has done it.
        Err(LakeError::Conflict { .. }) => {}
        Err(error) => tracing::warn!(table = table.folder(), %error, "another tool's rewriting stays for now"),
    }
}

/// Which files are gone, in words.
pub fn describe(table: &str, files: &[DataFile]) -> String {
    let rows: u64 = files.iter().map(|file| file.rows).sum();
    let shown: Vec<&str> = files.iter().take(NAMED_FILES).map(|file| file.path.as_str()).collect();
    let more = match files.len().saturating_sub(NAMED_FILES) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("table {table} lacks {} of its files, with {rows} rows: {}{more}", files.len(), shown.join(", "))
}
