//! Events over HTTP, as a client without a library sends them.

use serde_json::Value;

/// Sends JSON lines to a source; the status and what the collector says, or why nothing was heard of it.
pub async fn post_lines(
    client: &reqwest::Client,
    address: &str,
    source: &str,
    lines: &str,
) -> Result<(u16, Value), String> {
    let request = client.post(format!("{address}/v1/sources/{source}/events"));
    let request = request.header("content-type", "application/x-ndjson").body(lines.to_owned());
    let answer = request.send().await.map_err(|error| error.to_string())?;
    let status = answer.status().as_u16();
    Ok((status, answer.json().await.map_err(|error| error.to_string())?))
}
