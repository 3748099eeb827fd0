//! How far a task is: counted by whoever works at it, read by whoever tells of it.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

/// The longest phase, in characters.
const LONGEST_PHASE: usize = 200;

/// Counted by the executor of a task, from any of its threads; costs an atomic addition.
#[derive(Debug, Default)]
pub struct Progress {
    // Added to by the executor, read once in a beat; nothing else depends on them, so no order is needed.
    rows: AtomicU64,
    bytes: AtomicU64,
    total_bytes: AtomicU64,
    steps: AtomicU64,
    // Set by the executor, read once in a beat; held for a copy only.
    phase: Mutex<Cow<'static, str>>,
}

/// What a [`Progress`] said at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reached {
    /// Rows read.
    pub rows: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Bytes to be read in all, where that is known.
    pub total_bytes: Option<u64>,
    /// Signs of progress where nothing is counted.
    pub steps: u64,
    /// What it does, in words.
    pub phase: String,
}

impl Progress {
    /// Rows and bytes were read.
    pub fn add(&self, rows: u64, bytes: u64) {
        self.rows.fetch_add(rows, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So many bytes are to be read in all; 0: not known.
    pub fn set_total_bytes(&self, total_bytes: u64) {
        self.total_bytes.store(total_bytes, Ordering::Relaxed);
    }

    /// Something went on that is not counted: a task that does this does not stand still.
    pub fn step(&self) {
        self.steps.fetch_add(1, Ordering::Relaxed);
    }

    /// What it does now, in words.
    pub fn set_phase(&self, phase: impl Into<Cow<'static, str>>) {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner) = phase.into();
    }

    /// How far it is.
    pub fn reached(&self) -> Reached {
        let total_bytes = self.total_bytes.load(Ordering::Relaxed);
        let phase = self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        Reached {
            rows: self.rows.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            total_bytes: (total_bytes > 0).then_some(total_bytes),
            steps: self.steps.load(Ordering::Relaxed),
            phase: phase.chars().take(LONGEST_PHASE).collect(),
        }
    }
}
