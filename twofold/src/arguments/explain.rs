//! Arguments of `explain`.

use clap::Args;

use super::TargetArguments;

/// Arguments of `explain`.
#[derive(Clone, Debug, Args)]
pub struct ExplainArguments {
    /// The view.
    #[arg(value_name = "VIEW")]
    pub view: String,
    /// Which group: a dimension and its value, or any other parameter of rows that says which groups (`from`, `to`,
    /// `by`, `bucket`, `tz`); several times for several.
    #[arg(long = "key", value_name = "NAME=VALUE", value_parser = parse_pair)]
    pub keys: Vec<(String, String)>,
    /// Events to show as they were sent, 20 at most; for who may operate the system.
    #[arg(long, value_name = "NUMBER", default_value_t = 3)]
    pub samples: usize,
    /// Print the receipt alone, on one line.
    #[arg(long, conflicts_with = "json")]
    pub receipt: bool,
    /// Print the whole account as JSON instead of text.
    #[arg(long)]
    pub json: bool,
    /// Which running system is meant.
    #[command(flatten)]
    pub target: TargetArguments,
}

/// Divides a text at its first `=`.
fn parse_pair(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(name, _)| !name.is_empty());
    let pair = pair.map(|(name, value)| (name.to_owned(), value.to_owned()));
    pair.ok_or_else(|| format!("must be a name and a value, such as `page=/a`, got `{text}`"))
}
