//! Receipts: what an answer was, so that anybody who has the lake can see later whether that was right.
//!
//! ```text
//!  explain --> receipt: definition, question, cut, head, holes, a digest of the finished values     (with the user)
//!  verify  <-- receipt, and the master dataset --the law at cut and head--> finished values --> verdict
//! ```
//!
//! Guarantee: pure. A receipt names nothing that a compaction, a wiped realtime store or an expired version takes away:
//! files and version are in it as evidence, and no verdict looks at them. Exact measures are compared bit for bit, the
//! others by what their class guarantees.
//! The system keeps no receipt, and nothing of one: it lies with whoever asked for it, so `erase` has nothing to reach.
//! Not here: computing the values again (`receipt/check.rs`), waiting for the archive (`receipt/run.rs`).

pub mod check;
pub mod run;

use std::collections::BTreeMap;

use batch_layer::recompute::AnswerPlace;
use lake::Version;
use positions::{Cut, DefinitionHash, Hole, Offset, PartitionId, SourceName, ViewName};
use query_gateway::{ApproximateRow, FinishedRows};
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use views::{ViewDefinition, is_within_class};

/// The form of receipts that this release writes, and the newest that it reads.
pub const FORM: u32 = 1;

/// See the module.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    /// Its form, [`FORM`].
    pub receipt: u32,
    /// The view.
    pub view: ViewName,
    /// The definition that answered.
    pub definition: DefinitionHash,
    /// The source of the view.
    pub source: SourceName,
    /// Which groups: parameters as those of rows, by name and value.
    pub question: Vec<(String, String)>,
    /// Below it batch answered.
    pub cut: Cut,
    /// Below it the whole answered.
    pub head: Cut,
    /// Where partitions begin in the life of the topic that was answered from; absent: at 0.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub begins: BTreeMap<PartitionId, Offset>,
    /// Whether the source was reset before the gateway knew: where the life began that was answered from is not known
    /// then, and so not which copies it had seen.
    #[serde(default, skip_serializing_if = "is_false")]
    pub reset_meanwhile: bool,
    /// Offsets below the cut that had been lost before they were archived.
    pub holes: Vec<Hole>,
    /// How many entries of the list of what was erased the answer was without.
    pub erased: u64,
    /// How many rows there were; 0: the group did not exist.
    pub rows: usize,
    /// `sha256:` and the digest of the rows' exact values, in hexadecimal digits ([`digest_of`]).
    pub digest: String,
    /// The values that are not exact.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approximate: Vec<ApproximateRow>,
    /// Evidence alone: the batch version; `None` before the first.
    pub version: Option<Version>,
    /// Evidence alone: the files of that version which held states of the groups.
    pub files: Vec<ReceiptFile>,
}

fn is_false(value: &bool) -> bool {
    !value
}

/// A file of a batch version. A name is given once, so it says which bytes were meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptFile {
    /// Below the folder of the view.
    pub path: String,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Rows in it.
    pub rows: u64,
}

/// Why a text is no receipt.
#[derive(Debug, thiserror::Error)]
pub enum NoReceipt {
    /// It is something else.
    #[error("it is no receipt: {0}; `twofold explain VIEW --receipt` prints one")]
    Unreadable(String),
    /// A later release wrote it.
    #[error("it is a receipt of form {form}, and this release reads forms up to {FORM}; verify it with a newer one")]
    Later {
        /// Its form.
        form: u32,
    },
}

impl Receipt {
    /// Reads a receipt, or an account that holds one as its member `receipt`.
    ///
    /// # Errors
    /// [`NoReceipt`].
    pub fn read(text: &str) -> Result<Self, NoReceipt> {
        let unreadable = |error: serde_json::Error| NoReceipt::Unreadable(error.to_string());
        let value: Value = serde_json::from_str(text).map_err(unreadable)?;
        let value = match value.get("receipt") {
            Some(within) if within.is_object() => within.clone(),
            _ => value,
        };
        let form = value.get("receipt").and_then(Value::as_u64).and_then(|form| u32::try_from(form).ok());
        if let Some(form) = form.filter(|form| *form > FORM) {
            return Err(NoReceipt::Later { form });
        }
        serde_json::from_value(value).map_err(unreadable)
    }

    /// How far the answer reached.
    pub fn place(&self) -> AnswerPlace {
        AnswerPlace { cut: self.cut.clone(), head: self.head.clone(), begins: self.begins.clone() }
    }

    /// The receipt on one line.
    pub fn to_text(&self) -> String {
        serde_json::to_string(self).expect("a receipt is plain data with text keys")
    }
}

/// The digest of rows: SHA-256 over [`FinishedRows::lines`], each ended by a line feed. No row: that of the empty text.
pub fn digest_of(rows: &FinishedRows) -> String {
    let text: String = rows.lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
    let digits: Vec<String> =
        digest(&SHA256, text.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{}", digits.concat())
}

/// What became of a receipt.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum Verdict {
    /// The values are what the master dataset gives: exact ones bit for bit, the others within their bound.
    Equal {
        /// Measures that are not exact and were not the same to the last bit.
        within_bound: Vec<String>,
    },
    /// They are not.
    Different {
        /// What differs, in words.
        differences: Vec<String>,
    },
    /// The archive has not come to the head.
    NotArchived {
        /// By partition: how far it is archived, and how far it would have to be.
        behind: BTreeMap<PartitionId, Behind>,
    },
    /// The values cannot be computed again.
    NotVerifiable {
        /// Why not.
        reasons: Vec<String>,
    },
}

/// A partition that is not archived far enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Behind {
    /// The next offset that is not archived.
    pub archived: Offset,
    /// The head of the answer.
    pub head: Offset,
}

impl Verdict {
    /// The exit code of `twofold verify` that says so.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Equal { .. } => 0,
            Self::Different { .. } => 1,
            Self::NotArchived { .. } => 3,
            Self::NotVerifiable { .. } => 4,
        }
    }
}

/// The partitions of a receipt that are not archived up to its head; `archived` names the next offset of each.
pub fn behind(receipt: &Receipt, archived: &BTreeMap<PartitionId, Offset>) -> BTreeMap<PartitionId, Behind> {
    let place = |partition: &PartitionId| archived.get(partition).copied().unwrap_or_default();
    let all = receipt
        .head
        .0
        .iter()
        .map(|(partition, head)| (*partition, Behind { archived: place(partition), head: head.offset }));
    all.filter(|(_, behind)| behind.archived < behind.head).collect()
}

/// What has happened to the records below a head since a receipt was given, so that other values prove nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Since {
    /// How many entries the list of what was erased has by now.
    pub erased: u64,
    /// All holes that are known by now.
    pub holes: Vec<Hole>,
}

impl Since {
    /// Why other values prove nothing; empty where they prove a difference.
    fn reasons(&self, receipt: &Receipt) -> Vec<String> {
        let mut reasons = Vec::new();
        if self.erased > receipt.erased {
            let (from, to) = (receipt.erased + 1, self.erased);
            reasons.push(format!(
                "events of source {} were erased since (by a condition or by age; entries {from} to {to} of the list of \
                 what was erased)",
                receipt.source
            ));
        }
        if receipt.reset_meanwhile {
            reasons.push(format!(
                "source {} was reset when it was answered, and where the life of its topic began that was answered from is \
                 not known any more",
                receipt.source
            ));
        }
        let lost = self.holes.iter().filter_map(|hole| hole.within(hole.from, receipt.head.offset(hole.partition)));
        for hole in lost.filter(|hole| !receipt.holes.contains(hole)) {
            let Hole { partition, from, to } = hole;
            reasons.push(format!(
                "offsets [{from}, {to}) of partition {partition} were lost before they were archived: retention of the \
                 log, or a reset of the source"
            ));
        }
        reasons
    }
}

/// Compares a receipt with what the master dataset gives.
pub fn judge(receipt: &Receipt, view: &ViewDefinition, computed: &FinishedRows, since: &Since) -> Verdict {
    let mut differences = Vec::new();
    if digest_of(computed) != receipt.digest {
        differences.push("exact values are not those of the receipt".to_owned());
    }
    let (told, found) = (receipt.rows, computed.lines.len());
    if told != found {
        differences.push(format!("the receipt is of {told} rows, the master dataset gives {found}"));
    }
    let (within_bound, others) = compare_approximate(receipt, view, computed);
    differences.extend(others);
    if differences.is_empty() {
        return Verdict::Equal { within_bound };
    }
    match since.reasons(receipt) {
        reasons if reasons.is_empty() => Verdict::Different { differences },
        reasons => Verdict::NotVerifiable { reasons },
    }
}

/// The measures that differ within their bound, and what differs by more.
fn compare_approximate(
    receipt: &Receipt,
    view: &ViewDefinition,
    computed: &FinishedRows,
) -> (Vec<String>, Vec<String>) {
    let (mut within, mut beyond) = (Vec::new(), Vec::new());
    for told in &receipt.approximate {
        let found = computed.approximate.iter().find(|row| row.group == told.group);
        for (name, value) in &told.values {
            let found = found.and_then(|row| row.values.get(name));
            if found == Some(value) {
                continue;
            }
            let class = view.measures.iter().find(|measure| measure.name == *name).map(|measure| measure.class);
            let numbers = value.as_f64().zip(found.and_then(Value::as_f64));
            let is_within = class.zip(numbers).is_some_and(|(class, (one, other))| is_within_class(class, one, other));
            if is_within {
                within.push(name.clone());
            } else {
                let found = found.map_or_else(|| "nothing".to_owned(), Value::to_string);
                let group = Value::Object(told.group.clone());
                beyond.push(format!("{name} of {group}: the receipt says {value}, the master dataset gives {found}"));
            }
        }
    }
    let extra = computed.approximate.len().saturating_sub(receipt.approximate.len());
    if extra > 0 {
        beyond.push(format!("{extra} rows with values that are not exact are not in the receipt"));
    }
    within.sort_unstable();
    within.dedup();
    (within, beyond)
}
