//! Sightings scattered by key, in memory as long as the limit allows, then in spill files.
//!
//! In: a stream of (key, partition, offset, number in the record), or the sightings of a larger shard. Out: shards,
//! each with all sightings of its keys from there.
//! Guarantee: memory stays within what the pool grants, save one batch; spill files vanish with the shards.

use std::sync::Arc;

use arrow::array::{Array, AsArray, BinaryArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int32Type, Int64Type};
use arrow::record_batch::RecordBatch;
use datafusion::error::DataFusionError;
use datafusion::execution::disk_manager::DiskManager;
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::execution::{SendableRecordBatchStream, SpillFile};
use futures::TryStreamExt;

use super::place::Place;
use super::resources::Resources;
use super::search::Sighting;
use crate::BatchError;

/// Bits of a key that choose its shard.
pub(crate) const SHARD_BITS: u32 = 6;
/// How many shards there are: each may need an open file, so not too many.
pub(crate) const SHARDS: usize = 1 << SHARD_BITS;
// A vector that doubles has up to twice the capacity of its content.
const RESERVED_BYTES: usize = 2 * size_of::<Sighting>();

/// One shard of one stream.
#[derive(Default)]
pub(crate) struct Shard {
    sightings: Vec<Sighting>,
    spilled: Option<Arc<dyn SpillFile>>,
    rows: usize,
}

impl Shard {
    /// How many sightings there are, in memory and in the file.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// The sightings in memory.
    pub(crate) fn into_held(self) -> Vec<Sighting> {
        self.sightings
    }

    /// Gives all sightings to `take`, those of the file some thousands at a time, and deletes the file.
    pub(crate) async fn read(
        self,
        mut take: impl FnMut(Vec<Sighting>) -> Result<(), BatchError>,
    ) -> Result<(), BatchError> {
        take(self.sightings)?;
        let Some(file) = self.spilled else { return Ok(()) };
        let mut stream = file.read_stream()?;
        // The bytes of a sighting may come in two chunks.
        let mut rest: Vec<u8> = Vec::new();
        while let Some(chunk) = stream.try_next().await? {
            rest.extend_from_slice(&chunk);
            let whole = rest.chunks_exact(Sighting::BYTES);
            let left = whole.remainder().to_vec();
            take(whole.map(Sighting::from_bytes).collect())?;
            rest = left;
        }
        Ok(())
    }
}

/// All shards of one stream.
pub(crate) struct Shards {
    level: u32,
    shards: Vec<Shard>,
    held: usize,
    has_spilled: bool,
    reservation: MemoryReservation,
    disk: Arc<DiskManager>,
}

impl Shards {
    /// Empty shards of this level: each level divides by other bits of the keys.
    pub(crate) fn new(resources: &Resources, level: u32) -> Self {
        let shards = (0..SHARDS).map(|_| Shard::default()).collect();
        let disk = Arc::clone(&resources.runtime.disk_manager);
        Self { level, shards, held: 0, has_spilled: false, reservation: resources.reservation(), disk }
    }

    /// Reads a stream of (key, partition, offset, number in the record) to its end.
    pub(crate) async fn fill(mut self, mut stream: SendableRecordBatchStream) -> Result<Self, BatchError> {
        while let Some(batch) = stream.try_next().await? {
            self.push(sightings_in(&batch)?)?;
        }
        Ok(self)
    }

    /// Whether some sightings are in files.
    pub(crate) fn has_spilled(&self) -> bool {
        self.has_spilled
    }

    /// Moves all sightings from memory to files.
    pub(crate) fn spill(&mut self) -> Result<(), BatchError> {
        self.has_spilled = true;
        let mut bytes = Vec::new();
        for shard in &mut self.shards {
            bytes.clear();
            bytes.extend(std::mem::take(&mut shard.sightings).into_iter().flat_map(Sighting::to_bytes));
            if bytes.is_empty() {
                continue;
            }
            let file = match shard.spilled.take() {
                Some(file) => file,
                None => self.disk.create_tmp_file("removal of copies")?,
            };
            // Each writer goes on where the one before it ended.
            let mut writer = file.open_writer()?;
            writer.write_all(&bytes).map_err(DataFusionError::from)?;
            writer.finish()?;
            shard.spilled = Some(file);
        }
        self.held = 0;
        self.reservation.free();
        Ok(())
    }

    /// The shards in the order of their numbers.
    pub(crate) fn take(&mut self) -> Vec<Shard> {
        std::mem::take(&mut self.shards)
    }

    fn reserve(&mut self, rows: usize) -> Result<(), BatchError> {
        let needed = rows * RESERVED_BYTES;
        if self.reservation.try_grow(needed).is_err() {
            if self.held > 0 {
                self.spill()?;
            }
            // One batch is the least to work with, whatever the limit.
            self.reservation.try_grow(needed).unwrap_or_else(|_| self.reservation.grow(needed));
        }
        self.held += rows;
        Ok(())
    }

    /// Takes sightings in.
    pub(crate) fn push(&mut self, sightings: Vec<Sighting>) -> Result<(), BatchError> {
        self.reserve(sightings.len())?;
        for sighting in sightings {
            let shard = &mut self.shards[sighting.shard(SHARD_BITS, self.level)];
            shard.sightings.push(sighting);
            shard.rows += 1;
        }
        Ok(())
    }
}

fn sightings_in(batch: &RecordBatch) -> Result<Vec<Sighting>, BatchError> {
    let keys = binary(batch.column(0))?;
    let partitions = batch.column(1).as_primitive::<Int32Type>();
    let offsets = batch.column(2).as_primitive::<Int64Type>();
    let items = batch.column(3).as_primitive::<Int32Type>();
    let places = partitions.values().iter().zip(offsets.values()).zip(items.values()).enumerate();
    let sightings = places.map(|(row, ((partition, offset), item))| {
        let key = keys.value(row).try_into().map_err(|_| {
            DataFusionError::Execution(format!("event key at {partition}/{offset} is not 16 bytes long"))
        })?;
        Ok(Sighting::new(key, Place::new(*partition, *offset, *item)?))
    });
    sightings.collect()
}

fn binary(column: &Arc<dyn Array>) -> Result<BinaryArray, BatchError> {
    let column = cast(column, &DataType::Binary).map_err(DataFusionError::from)?;
    Ok(column.as_binary::<i32>().clone())
}
