//! What pipeline and configuration say together that works, but not as its author hopes: told by `validate` and at the
//! start, never refused.

use views::Pipeline;

use crate::config::Config;
use crate::config::quantity::format_duration;

/// One line for each.
pub fn warnings(config: &Config, pipeline: &Pipeline) -> Vec<String> {
    let interval = config.archive.commit_interval;
    let hasty = pipeline.sources.iter().filter(|source| source.border.gap < interval);
    let warning = |source: &std::sync::Arc<views::SourceDefinition>| {
        let (gap, interval) = (format_duration(source.border.gap), format_duration(interval));
        format!(
            "source {}: its gap ({gap}) is shorter than archive.commit_interval ({interval}): after each pause answers may \
             be stale until a later cut, never wrong; give the source a gap of {interval} or more, or lower the interval",
            source.name
        )
    };
    hasty.map(warning).collect()
}
