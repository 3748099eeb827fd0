//! What pipeline and configuration say together that works, but not as its author hopes: told by `validate` and at the
//! start, never refused.

use positions::format_span;
use views::Pipeline;

use crate::config::Config;

/// One line for each.
pub fn warnings(config: &Config, pipeline: &Pipeline) -> Vec<String> {
    let interval = config.archive.commit_interval;
    let hasty = pipeline.sources.iter().filter(|source| source.border.gap < interval);
    let warning = |source: &std::sync::Arc<views::SourceDefinition>| {
        let (gap, interval) = (format_span(source.border.gap), format_span(interval));
        format!(
            "source {}: its gap ({gap}) is shorter than archive.commit_interval ({interval}): after each pause answers may \
             be stale until a later cut, never wrong; give the source a gap of {interval} or more, or lower the interval",
            source.name
        )
    };
    let doubts = pipeline.doubts.iter().map(|doubt| {
        format!("pipeline file, line {}: {}: `{}`; {}", doubt.line, doubt.message, doubt.text, doubt.hint)
    });
    hasty.map(warning).chain(doubts).collect()
}
