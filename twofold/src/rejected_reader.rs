//! Rejected records for SQL: what the gateway asks of the master datasets, which it never reads itself.
//!
//! In: a source, a kind of reason, whether payloads are asked for. Out: the newest records, and what is to be said of
//! them. Guarantee: bounded as their route is (`rejected_route.rs`), but for the number of records; words and payloads
//! are told to the same callers.
//! Not here: the table (`query-gateway/src/rejected_table.rs`).

use async_trait::async_trait;
use lake::Lake;
use query_gateway::{
    RejectedAnswer, RejectedExtent, RejectedPayload, RejectedQuestion, RejectedReader, RejectedRow, RejectedUnread,
    RejectedWords,
};
use records::decode::{REASON_KINDS, Reason};
use records::master::{MasterFacts, RejectedRecord, RejectedRecords, RejectedSearch};

use crate::rejected_route::{
    MAX_FILES, MAX_PAYLOAD_BYTES, MAX_ROWS, WITHHELD, archived_of, note_on, read_rejected, text_of,
};

/// Records of a source that a query reads at most.
pub const MAX_RECORDS: usize = 50_000;
/// The same where it reads payloads, too.
pub const MAX_PAYLOADS: usize = 1_000;

/// Reads the rejected records of every source of a lake.
pub struct LakeRejected {
    /// Where the master datasets are.
    pub lake: Lake,
}

#[async_trait]
impl RejectedReader for LakeRejected {
    async fn read(&self, question: &RejectedQuestion) -> Result<RejectedAnswer, RejectedUnread> {
        let is_shown = question.is_operator;
        let search = search(question, is_shown);
        let read = read_rejected(&self.lake, &question.source, &search).await?;
        let extent = extent(question, &search, is_shown, read.as_ref());
        let records = read.map_or_else(Vec::new, |(_, found)| found.records);
        let row = |record| row(record, is_shown, search.payload_bytes > 0);
        Ok(RejectedAnswer { records: records.into_iter().map(row).collect(), extent })
    }
}

/// Payloads are read where they are asked for and will be shown.
fn search(question: &RejectedQuestion, is_shown: bool) -> RejectedSearch {
    let with_payloads = question.with_payloads && is_shown;
    RejectedSearch {
        limit: if with_payloads { MAX_PAYLOADS } else { MAX_RECORDS },
        kind: REASON_KINDS.into_iter().find(|kind| Some(*kind) == question.reason.as_deref()),
        payload_bytes: if with_payloads { MAX_PAYLOAD_BYTES } else { 0 },
        max_files: MAX_FILES,
        max_rows: MAX_ROWS,
    }
}

fn row(record: RejectedRecord, is_shown: bool, with_payload: bool) -> RejectedRow {
    let reason = Reason::of(&record.error);
    let kind = reason.kind;
    let column = reason.column.map(str::to_owned);
    let payload = with_payload.then(|| {
        let (text, encoding) = text_of(&record.payload);
        let is_truncated = record.payload.size_bytes() < record.payload_bytes;
        RejectedPayload { text, encoding, size_bytes: record.payload_bytes, is_truncated }
    });
    let words = is_shown.then_some(RejectedWords { column, error: record.error, payload });
    RejectedRow { partition: record.partition, offset: record.offset, timestamp: record.timestamp, reason: kind, words }
}

fn extent(
    question: &RejectedQuestion,
    search: &RejectedSearch,
    is_shown: bool,
    read: Option<&(MasterFacts, RejectedRecords)>,
) -> RejectedExtent {
    let archived = read.map(|(facts, _)| archived_of(facts)).unwrap_or_default();
    let left_out = read.and_then(|(_, found)| left_out(found, search));
    RejectedExtent {
        source: question.source.name.to_string(),
        reason: search.kind.map(str::to_owned),
        total: read.map_or(0, |(facts, _)| facts.rejected()),
        rows: read.map_or(0, |(_, found)| found.records.len()),
        complete: left_out.is_none(),
        withheld: (!is_shown).then_some(WITHHELD),
        notes: left_out.into_iter().chain([note_on(&archived).to_owned()]).collect(),
        archived,
    }
}

/// What to say where a bound left records out; `None` where none did.
fn left_out(found: &RejectedRecords, search: &RejectedSearch) -> Option<String> {
    if found.is_whole {
        return None;
    }
    let newest = format!("there are, or may be, more than the newest {} records that were read", found.records.len());
    if found.records.len() < search.limit {
        return Some(format!("{newest}: they are looked for in the newest files alone"));
    }
    let by_reason = search.kind.is_none().then_some("of one reason: WHERE reason = '...'");
    let no_payload = (search.payload_bytes > 0).then_some("without the columns of their payload");
    let ways: Vec<&str> = by_reason.into_iter().chain(no_payload).collect();
    if ways.is_empty() { Some(newest) } else { Some(format!("{newest}; ask for those {}", ways.join(", or "))) }
}
