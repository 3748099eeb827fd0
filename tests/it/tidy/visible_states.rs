//! States leave memory in one place, where the rules of who asks are applied: no end point comes past them.

use super::{check, sources_of};

/// How states are taken out of what is served.
const TAKES: [&str; 2] = [".realtime.chunks()", "served.batch"];
/// Where they are.
const PLACE: &str = "query-gateway/src/visible.rs";

#[test]
fn states_leave_memory_only_where_rules_of_rows_are_applied() {
    let takes = |text: &str| TAKES.iter().any(|words| text.contains(*words));
    let sources = sources_of("query-gateway");
    assert!(takes(&sources[PLACE]), "{PLACE} takes states otherwise now: this test looks for the wrong words");
    let others = sources.iter().filter(|(path, text)| path.as_str() != PLACE && takes(text));
    check("files that take states past the rules of who asks", others.map(|(path, _)| path.clone()).collect());
}
