//! Finding a table whose folder was renamed.
//!
//! Guarantee: a table is known by the id that its creation wrote, which says where it was made. Reads, never writes.
//! Why so: where a folder is missing, a new and empty table would be made in its place, and all that is in the other
//! one would look as if it had never been.

use crate::{LakeError, Table, Version};

impl Table {
    /// The folder beside this table's that holds the table itself, by its id; `None` where there is none, or this table
    /// lies at the top. Reads the log of each table beside it.
    ///
    /// # Errors
    /// [`LakeError::Unreachable`]: try again.
    pub async fn moved_to(&self) -> Result<Option<String>, LakeError> {
        let Some((parent, name)) = self.folder().rsplit_once('/') else { return Ok(None) };
        for sibling in self.lake().folders(parent).await?.into_iter().filter(|sibling| sibling.as_str() != name) {
            let folder = format!("{parent}/{sibling}");
            match self.lake().table(&folder).stored_id().await {
                Ok(Some(id)) if id == self.id() => return Ok(Some(folder)),
                // One that cannot be read is told by whoever opens it.
                Ok(_) | Err(LakeError::Corrupt { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// The id that the log names.
    async fn stored_id(&self) -> Result<Option<String>, LakeError> {
        let Some(newest) = self.log().list(Version(0)).await?.newest() else { return Ok(None) };
        let mut id = None;
        self.read_log(newest, |actions| {
            id = actions.into_iter().find_map(|action| action.meta_data).map(|metadata| metadata.id).or(id.take());
        })
        .await?;
        Ok(id)
    }
}
