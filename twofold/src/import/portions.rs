//! A file to portions, on a thread of its own: read as `load` reads it, but for columns, which stay columns.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use arrow::array::{ArrayRef, StringArray};
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use batch_layer::import::Portion;
use indicatif::ProgressBar;
use tokio::sync::mpsc::Sender;

use super::fetch::Looks;
use crate::load::Input;
use crate::load::event::{Events, ReadError};
use crate::load::open::{Contents, open};

/// The largest event that is read: one of more than half of it is rejected, and kept with its reason.
const MAX_EVENT_BYTES: usize = 2 << 20;
/// Events of one portion, and their bytes.
const PORTION_EVENTS: usize = 10_000;
const PORTION_BYTES: usize = 4 << 20;
/// Rows of one portion of a file of columns.
const PORTION_ROWS: usize = 8_192;
/// Events that were left out and are told one by one.
const MAX_TOLD: usize = 5;

/// What is to be read.
pub struct Reader {
    /// The file.
    pub path: PathBuf,
    /// Columns that its folder gives.
    pub constants: Vec<(String, Option<String>)>,
    /// The type of each column of the source, as SQL names it.
    pub declared: BTreeMap<String, String>,
    /// Whether events that cannot even be kept as rejected ones end the reading.
    pub is_strict: bool,
    /// What the file looked like when it was found out what tells it from others; `None`: it never changes.
    pub looks: Option<Looks>,
    /// Follows what is read.
    pub bar: ProgressBar,
}

/// What was read of a file beside its portions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Events that could not be read: larger than any payload may be, or rows of CSV of another width.
    pub count: u64,
    /// The first of them, in words.
    pub told: Vec<String>,
}

impl Reader {
    /// Sends the portions of the file; an error is the last thing that is sent. Blocks.
    pub fn read(self, portions: &Sender<Result<Portion, String>>) -> LeftOut {
        let mut left_out = LeftOut::default();
        let (path, looks) = (self.path.clone(), self.looks);
        let sent = self.send(portions, &mut left_out).and_then(|()| check_looks(&path, looks));
        if let Err(error) = sent {
            // Nobody may be listening any more, who gave the file up.
            let _ = portions.blocking_send(Err(format!("{error:#}")));
        }
        left_out
    }

    fn send(self, portions: &Sender<Result<Portion, String>>, left_out: &mut LeftOut) -> Result<()> {
        let input = Input::File(self.path.clone());
        let opened = open(&input, &self.bar)?;
        let kind = opened.describe();
        let contents = opened.contents(&self.declared, MAX_EVENT_BYTES, PORTION_ROWS);
        match contents.with_context(|| format!("read as {kind}"))? {
            Contents::Events(events) => self.send_events(events, portions, left_out),
            Contents::Batches(batches) => {
                for batch in batches {
                    let rows = with_constants(&batch?, &self.constants)?;
                    if portions.blocking_send(Ok(Portion::Rows(rows))).is_err() {
                        break;
                    }
                }
                Ok(())
            }
        }
    }

    fn send_events(
        &self,
        events: Events,
        portions: &Sender<Result<Portion, String>>,
        left_out: &mut LeftOut,
    ) -> Result<()> {
        let (mut portion, mut bytes) = (Vec::new(), 0);
        for event in events {
            match event {
                Ok(event) => {
                    bytes += event.json.len();
                    portion.push(event.json);
                }
                Err(error @ ReadError::LeftOut { .. }) if !self.is_strict => {
                    left_out.count += 1;
                    if left_out.told.len() < MAX_TOLD {
                        left_out.told.push(error.to_string());
                    }
                }
                Err(error) => return Err(error.into()),
            }
            if portion.len() >= PORTION_EVENTS || bytes >= PORTION_BYTES {
                bytes = 0;
                if portions.blocking_send(Ok(Portion::Events(std::mem::take(&mut portion)))).is_err() {
                    return Ok(());
                }
            }
        }
        if !portion.is_empty() {
            let _ = portions.blocking_send(Ok(Portion::Events(portion)));
        }
        Ok(())
    }
}

/// What was read must be what the file is known by: of one that grew meanwhile, the rows behind would be in, and come
/// again with the whole file.
fn check_looks(path: &Path, looks: Option<Looks>) -> Result<()> {
    let Some(looks) = looks else { return Ok(()) };
    ensure!(
        Looks::of(path)? == looks,
        "it was written to while it was read; import it again once nothing writes to it"
    );
    Ok(())
}

/// The rows with columns that are the same in all of them.
fn with_constants(rows: &RecordBatch, constants: &[(String, Option<String>)]) -> Result<RecordBatch, ArrowError> {
    if constants.is_empty() {
        return Ok(rows.clone());
    }
    let mut fields: Vec<FieldRef> = rows.schema_ref().fields().iter().cloned().collect();
    let mut columns: Vec<ArrayRef> = rows.columns().to_vec();
    for (name, value) in constants {
        fields.push(Arc::new(Field::new(name, DataType::Utf8, true)));
        columns.push(Arc::new(StringArray::from(vec![value.as_deref(); rows.num_rows()])));
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}
