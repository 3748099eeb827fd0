//! Two definitions of one view: what their answers are compared by, what is left out, and what counts as different.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use views::Comparable;

use super::edits_view;

const FORMER: &str = "CREATE MATERIALIZED VIEW v AS SELECT page, channel, count(*) AS n, sum(added) AS added, \
                      approx_distinct(\"user\") AS users FROM edits GROUP BY page, channel;";
const NEWER: &str = "CREATE MATERIALIZED VIEW v AS SELECT page, avg(added) AS added, count(*) AS n, \
                     count(DISTINCT \"user\") AS users, max(added) AS most FROM edits GROUP BY page;";

fn comparable() -> Comparable {
    let (former, newer) = (edits_view(FORMER), edits_view(NEWER));
    Comparable::between(former.view("v").unwrap(), newer.view("v").unwrap())
}

fn whole(values: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

fn texts(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

#[test]
fn columns_of_one_name_and_type_are_compared_and_all_others_are_named() {
    let comparable = comparable();
    assert_eq!(comparable.dimensions(), ["page"]);
    assert_eq!(
        comparable.left_out,
        [
            "dimension channel is in the former definition alone",
            "measure added is BIGINT in the former definition, DOUBLE in the other",
            "measure most is in the newer definition alone",
        ]
    );
    let same = Comparable::between(edits_view(NEWER).view("v").unwrap(), edits_view(NEWER).view("v").unwrap());
    assert_eq!((same.dimensions(), same.left_out.len()), (vec!["page"], 0));
}

#[test]
fn measures_are_found_wherever_they_stand_and_judged_by_the_weaker_class() {
    let former = RecordBatch::try_from_iter([
        ("page", texts(&["a", "b"])),
        ("n", whole(&[2, 5])),
        ("added", whole(&[7, 8])),
        ("users", whole(&[100, 4])),
    ]);
    let newer = RecordBatch::try_from_iter([
        ("page", texts(&["a"])),
        ("added", Arc::new(Float64Array::from(vec![3.5])) as ArrayRef),
        ("n", whole(&[3])),
        ("users", whole(&[101])),
        ("most", whole(&[9])),
    ]);
    let found = comparable().compare(&former.unwrap(), &newer.unwrap(), 10).unwrap();
    let told: Vec<_> = found.measures.iter().map(|measure| (measure.measure.as_str(), measure.different)).collect();
    // 100 and 101 users of page a are within the bound of the sketch; page b is gone.
    assert_eq!((found.groups, told), (2, vec![("n", 2), ("users", 1)]));
    let worst = &found.measures[0].worst[0];
    assert_eq!(
        (worst.in_words().as_str(), worst.before.as_deref(), worst.difference),
        ("page = b", Some("5"), Some(5.0))
    );
}
