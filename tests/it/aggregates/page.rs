//! `docs/aggregates.md` is what the catalogue says.

use std::path::Path;

/// Set to anything, it makes the test write the page instead.
const PRINT: &str = "TWOFOLD_PRINT_DOCS";

#[test]
fn the_page_of_aggregates_is_printed_from_the_catalogue() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/aggregates.md");
    let page = views::print_aggregates();
    if std::env::var_os(PRINT).is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    let first = found.lines().zip(page.lines()).find(|(found, page)| found != page);
    assert!(
        found == page,
        "docs/aggregates.md is not what the catalogue says, first at {first:?}; \
         print it anew with `{PRINT}=1 make test FILTER=the_page_of_aggregates`"
    );
}
