//! Which files of a batch version, and which row groups in them, hold states of groups.
//!
//! Guarantee: a file whose bounds leave the groups out is not read; of the others the dimensions alone are.

use anyhow::Result;
use futures::TryStreamExt;
use lake::{DataFile, Snapshot};
use query_gateway::Account;

/// A file with states of the groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupFile {
    /// Below the folder of the view.
    pub path: String,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Rows in it, of all groups.
    pub rows: u64,
    /// Rows of the groups: one for each group and bucket.
    pub states: u64,
    /// The row groups that hold them, from 0.
    pub row_groups: Vec<usize>,
}

/// The files of the version of an account; `None` where those that may hold the groups have more than `most_rows` rows.
///
/// # Errors
/// The object store failed.
pub async fn files_of(account: &Account, most_rows: u64) -> Result<Option<Vec<GroupFile>>> {
    let Some(version) = &account.version else { return Ok(Some(Vec::new())) };
    let may_hold = |file: &&DataFile| {
        let bounds = |name: &str| file.bounds.get(name).map(|(least, largest, _)| (least.clone(), largest.clone()));
        account.asked.may_be_in(&account.view, bounds)
    };
    let candidates: Vec<&DataFile> = version.snapshot.files().iter().filter(may_hold).collect();
    if candidates.iter().map(|file| file.rows).sum::<u64>() > most_rows {
        return Ok(None);
    }
    let mut files = Vec::new();
    for file in candidates {
        let mut found = Places::new(version.snapshot.row_groups(file).await?);
        look_through(account, &version.snapshot, file, &mut found).await?;
        if found.states > 0 {
            files.push(GroupFile {
                path: file.path.clone(),
                size_bytes: file.size_bytes,
                rows: file.rows,
                states: found.states,
                row_groups: found.groups,
            });
        }
    }
    Ok(Some(files))
}

/// Finds the rows of a file that are of the groups.
async fn look_through(account: &Account, snapshot: &Snapshot, file: &DataFile, found: &mut Places) -> Result<()> {
    let names: Vec<&str> = account.view.dimensions.iter().map(|dimension| dimension.name.as_str()).collect();
    if names.is_empty() {
        (0..file.rows).for_each(|place| found.note(place));
        return Ok(());
    }
    let mut rows = snapshot.stream(std::slice::from_ref(file), Some(names.as_slice()))?;
    let mut before = 0_u64;
    while let Some(batch) = rows.try_next().await? {
        let passes = account.asked.passes(&batch)?;
        let places = (before..).zip(passes.iter()).filter(|(_, passes)| *passes == Some(true));
        places.for_each(|(place, _)| found.note(place));
        before += batch.num_rows() as u64;
    }
    Ok(())
}

/// Where in a file rows were found.
struct Places {
    /// Where each row group ends.
    ends: Vec<u64>,
    states: u64,
    groups: Vec<usize>,
}

impl Places {
    /// In a file whose row groups have so many rows.
    fn new(sizes: Vec<u64>) -> Self {
        let ends = sizes.iter().scan(0_u64, |end, size| {
            *end += size;
            Some(*end)
        });
        Self { ends: ends.collect(), states: 0, groups: Vec::new() }
    }

    /// Notes a row, from 0, behind those before it.
    fn note(&mut self, place: u64) {
        let group = self.ends.partition_point(|end| *end <= place);
        self.states += 1;
        if self.groups.last() != Some(&group) {
            self.groups.push(group);
        }
    }
}
