//! What views take in the memory of a gateway, as a running one tells.
//!
//! Not here: measuring it (`query-gateway/src/status.rs`).

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::Value;

use crate::client::Client;

/// Bytes of states by view, then by the hash of the definition.
pub type MemoryByView = BTreeMap<String, BTreeMap<String, u64>>;

/// Asks a system. Empty where it has no gateway, or does not tell whoever asks.
///
/// # Errors
/// Where nothing answers.
pub async fn ask_memory(client: &Client) -> Result<MemoryByView> {
    let status = client.get("/v1/status", &[]).await?;
    let views = status.get("views").and_then(Value::as_array).into_iter().flatten();
    let of_view = |view: &Value| {
        let name = view.get("view")?.as_str()?.to_owned();
        let held = view.get("memory_bytes")?.as_object()?.iter();
        let held: BTreeMap<String, u64> =
            held.filter_map(|(hash, bytes)| Some((hash.clone(), bytes.as_u64()?))).collect();
        Some((name, held))
    };
    Ok(views.filter_map(of_view).collect())
}
