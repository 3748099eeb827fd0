//! What pipeline and configuration say together that works, but not as its author hopes: told by `validate` and at the
//! start, never refused.

use positions::format_span;
use views::{Pipeline, did_you_mean};

use crate::config::{Config, RealtimeSettings};

/// One line for each.
pub fn all_warnings(config: &Config, pipeline: &Pipeline) -> Vec<String> {
    [warnings(config, pipeline), origin_warnings(config, pipeline)].concat()
}

/// Those of what is collected: one line for each source that origins are allowed for and that there is not.
pub fn origin_warnings(config: &Config, pipeline: &Pipeline) -> Vec<String> {
    let known: Vec<&str> = pipeline.sources.iter().map(|source| source.name.as_str()).collect();
    let strays = config.collector.allowed_origins.names().filter(|name| !known.contains(name));
    let warning = |name: &str| {
        let hint = did_you_mean(name, &known).unwrap_or_else(|| format!("there are: {}", known.join(", ")));
        format!(
            "`collector.allowed_origins` is also for a source `{name}`, which the pipeline file does not have; {hint}"
        )
    };
    strays.map(warning).collect()
}

/// Those of what is archived.
pub fn warnings(config: &Config, pipeline: &Pipeline) -> Vec<String> {
    let interval = config.archive.commit_interval;
    let hasty = pipeline.sources.iter().filter(|source| source.border.gap < interval);
    let warning = |source: &std::sync::Arc<views::SourceDefinition>| {
        let (gap, interval) = (format_span(source.border.gap), format_span(interval));
        format!(
            "source {}: its gap ({gap}) is shorter than archive.commit_interval ({interval}): answers are stale from \
             one cut to the next, also under steady traffic, and never wrong; give the source a gap of {interval} or \
             more, or lower the interval",
            source.name
        )
    };
    let is_in_memory = matches!(config.realtime, RealtimeSettings::Memory { .. });
    let replayed = pipeline.sources.iter().filter(|source| is_in_memory && !source.is_recomputed());
    let replay = |source: &std::sync::Arc<views::SourceDefinition>| {
        format!(
            "source {}: it is mode 'kappa', and its realtime views are in the memory of the process: each start replays \
             the log from its first record; keep them in Redis (`realtime.store`), or leave mode out",
            source.name
        )
    };
    let doubts = pipeline.doubts.iter().map(|doubt| {
        format!("pipeline file, line {}: {}: `{}`; {}", doubt.line, doubt.message, doubt.text, doubt.hint)
    });
    hasty.map(warning).chain(replayed.map(replay)).chain(doubts).collect()
}
