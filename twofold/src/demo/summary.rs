//! What the demo has seen, and whether it may end with exit code 0.

use anyhow::{Result, bail};

use super::check::Comparison;
use crate::generator::Truth;

/// Everything that was sent, answered and found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// Lines that the collector or the layers rejected.
    pub rejected: u64,
    /// Times that the collector asked to send again later.
    pub retries: u64,
    /// Batch versions seen.
    pub publications: u64,
    /// Answers compared with the truth.
    pub comparisons: u64,
    /// What came of it.
    pub outcome: Comparison,
}

impl Summary {
    /// The summary in words.
    pub fn describe(&self, truth: &Truth, page_url: &str) -> String {
        let mut text = format!(
            "\n  events sent           {}, of them {} late\n  copies sent           {}\n  malformed sent        {}, rejected {}\n\
             \x20 batch publications    {}\n  comparisons           {} answers, {} numbers\n\
             \x20 largest difference    {}\n  uniques               off by at most {:.2} of their published bound\n\
             \x20 page                  {page_url}\n",
            truth.visits,
            truth.late,
            truth.copies,
            truth.malformed,
            self.rejected,
            self.publications,
            self.comparisons,
            self.outcome.numbers,
            self.outcome.largest_difference,
            self.outcome.largest_sketch_error,
        );
        for finding in &self.outcome.findings {
            text.push_str(&format!("  DIFFERENCE            {finding}\n"));
        }
        text
    }

    /// # Errors
    /// Unless something was compared, everything was equal (estimates: within their published bound), and a batch view
    /// was published.
    pub fn verdict(&self) -> Result<()> {
        if !self.outcome.is_clean() {
            bail!("answers differ from the truth");
        }
        if self.comparisons == 0 {
            bail!("nothing was compared");
        }
        if self.publications == 0 {
            bail!("no batch view was published; let the demo run longer than its batch interval");
        }
        Ok(())
    }
}
